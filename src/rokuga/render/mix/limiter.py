"""A peak limiter that looks ahead and soon forgets: its gain at a sample depends on the sound ``reach`` around that alone.

So a segment that begins with that much of the sound before it is limited as if it had never been cut off. Where nothing exceeds the
ceiling, the gain is exactly 1 and no sample changes.
"""

import numpy as np
from numpy.typing import NDArray

CEILING = 0.7
"""Highest absolute value (full scale is 1) that is let through: -3 dB, for AAC's coding noise comes on top."""
CELL = 32
"""The gain is computed once for so many samples, and linear in between."""
AHEAD_MS = 5
"""before a peak the gain is lowered"""
HOLD_MS = 12
"""and stays down behind it: longer than half a period of the lowest voice, so that the gain does not follow the waveform"""
RELEASE_MS = 40
"""from nothing back to 1; a smaller reduction is over sooner in proportion"""


def reach(rate: int) -> tuple[int, int]:
    """How many samples before and after a sample may have a say in its gain."""
    ahead, hold, release = _cells(rate)
    return (ahead + hold + release + 2) * CELL, (ahead + 2) * CELL


def limit(sound: NDArray[np.float32], rate: int) -> None:
    """Lowers in place what exceeds the ceiling. ``sound``: (samples, channels), a multiple of `CELL` samples; beyond it is silence.

    Cells are counted from its beginning, so this must be a multiple of `CELL` in the numbering that all segments share.
    """
    cells = sound.reshape(-1, CELL, sound.shape[1])
    peaks = np.maximum(cells.max(axis=(1, 2)), -cells.min(axis=(1, 2)))
    if not peaks.size or peaks.max() <= CEILING:
        return
    gains = _gains(peaks, rate)
    lowered = (gains[:-1] < 1) | (gains[1:] < 1)
    begin, end = gains[:-1][lowered, None], gains[1:][lowered, None]
    slope = np.arange(CELL, dtype=np.float32) / np.float32(CELL)
    cells[lowered] *= (begin + (end - begin) * slope)[:, :, None]


def _gains(peaks: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Gains at the borders of the cells, one more than there are cells; none is above what either neighbour allows."""
    ahead, hold, release = _cells(rate)
    allowed = np.minimum(1, np.float32(CEILING) / np.maximum(peaks, np.float32(CEILING)))
    # Of both neighbours; and it must be possible to be low when the sound begins.
    allowed = np.pad(allowed, (ahead + 1, 1), constant_values=1)
    allowed = np.minimum(allowed[:-1], allowed[1:])
    padded = np.pad(allowed, (hold, ahead), constant_values=1)
    held = np.lib.stride_tricks.sliding_window_view(padded, hold + 1 + ahead).min(axis=1)
    risen = held.copy()
    for step in range(1, release):
        np.minimum(risen[step:], held[:-step] + np.float32(step / release), out=risen[step:])
    # The mean over the time ahead makes ramps of the steps down. All values that it takes in have seen the peak that is to come.
    count = len(peaks) + 1
    total = np.zeros(count, np.float32)
    for step in range(ahead + 1):
        total += risen[step : step + count]
    gains: NDArray[np.float32] = np.minimum(1, total / np.float32(ahead + 1), dtype=np.float32)
    return gains


def _cells(rate: int) -> tuple[int, int, int]:
    ahead, hold, release = (max(1, round(ms * rate / 1000 / CELL)) for ms in (AHEAD_MS, HOLD_MS, RELEASE_MS))
    return ahead, hold, release
