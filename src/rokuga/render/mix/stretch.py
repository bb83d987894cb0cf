"""A little more or less time for the same sound: resampling of one packet whose neighbours are known, so that no border is heard."""

from functools import lru_cache
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

REACH = 8
"""samples of the neighbours that are looked at, on either side"""


def stretch(sound: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """``sound`` but for the `REACH` samples at both ends, in ``length`` samples: (samples, channels). The first stays what it is.

    Windowed sinc of 16 taps. It filters nothing out, so it is for lengths that are at most some percent different.
    """
    places, weights = _taps(len(sound) - 2 * REACH, length)
    stretched = np.empty((length, sound.shape[1]), np.float32)
    for channel, samples in enumerate(sound.T):
        stretched[:, channel] = np.einsum("ts,ts->s", samples[places], weights)
    return stretched


@lru_cache(maxsize=64)
def _taps(samples: int, length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Which samples go into each that comes out, and with which weights: both (taps, length)."""
    taps = range(1 - REACH, REACH + 1)
    places, weights = [], []
    for index in range(length):
        whole, rest = divmod(index * samples, length)
        row = [_weight(tap - rest / length) for tap in taps]
        places.append([REACH + whole + tap for tap in taps])
        weights.append([weight / sum(row) for weight in row])
    return np.array(places, np.intp).T.copy(), np.array(weights, np.float32).T.copy()


def _weight(distance: float) -> float:
    if distance == 0:
        return 1.0
    if abs(distance) >= REACH:
        return 0.0
    return sin(pi * distance) / (pi * distance) * (0.5 + 0.5 * cos(pi * distance / REACH))
