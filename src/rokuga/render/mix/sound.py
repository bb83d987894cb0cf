"""All tracks of a MixAudio in one sound: decoded, added, limited, encoded. Its bytes depend on the plan alone."""

from fractions import Fraction

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from rokuga.render.audio import BLOCK, POST_BLOCKS, RATE
from rokuga.render.mix import limiter
from rokuga.render.mix.bus import Bus
from rokuga.render.mix.plan import MixAudio
from rokuga.render.sound import LAYOUTS, Payload, encoded

PRE_BLOCKS = {48_000: 4, 44_100: 4, 16_000: 3}
"""AAC frames that the encoder is given before those kept: longer ones at 16 kHz, so fewer."""
CONVERGING = 3_840
"""Sound that an Opus decoder is given before that is used: 80 ms (RFC 7845 §4.6)."""
GRID = {48_000: 1, 44_100: 160, 16_000: 3}
"""Multiples of so many samples at 48 kHz are whole samples at the rate: resampling begins at one."""
FILTER = 160
"""Samples at 48 kHz that the resampler looks at, at most, before and after."""


def reach(rate: int) -> tuple[int, int]:
    """How much of the sound (samples at 48 kHz) before and after its frames a segment must be given to be joined to others.

    The limiter needs no more: it has forgotten what was before, and seen what comes, within the blocks that are there for the encoder.
    """
    before, after = (-(-blocks * BLOCK * RATE // rate) + FILTER for blocks in (PRE_BLOCKS[rate], POST_BLOCKS))
    return before + CONVERGING, after


def mixed_frames(plan: MixAudio, payload: Payload) -> list[bytes]:
    """The plan's AAC frames with ADTS headers, one for each of ``plan.pts``. Silence is neither decoded nor encoded."""
    sound = _sound(plan, payload)
    blocks = (block.tobytes() for block in sound.reshape(-1, BLOCK, plan.channels))
    return encoded(blocks, len(plan.pts), plan.channels, plan.rate, plan.bit_rate, PRE_BLOCKS[plan.rate])


def _sound(plan: MixAudio, payload: Payload) -> NDArray[np.float32]:
    """The mix, limited, of all blocks that the encoder is given: (samples, channels)."""
    rate = plan.rate
    begin = BLOCK * (plan.first - PRE_BLOCKS[rate])
    count = BLOCK * (PRE_BLOCKS[rate] + len(plan.pts) + POST_BLOCKS)
    # Where resampling begins may not depend on the segment.
    low = (begin * RATE // rate - FILTER) // GRID[rate] * GRID[rate]
    high = -(-(begin + count) * RATE // rate) + FILTER
    bus = Bus(low, high - low, plan.channels)
    for voices in plan.voices:
        bus.add(voices, payload)
    sound = bus.sum()
    if rate != RATE:
        sound = _resampled(sound, rate)
    skipped = begin - low * rate // RATE
    sound = sound[skipped : skipped + count]
    limiter.limit(sound, rate)
    return sound


def _resampled(sound: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """The same sound at another rate. Its first sample is the first of what comes out."""
    channels = sound.shape[1]
    frame = AudioFrame("flt", LAYOUTS[channels], len(sound))
    frame.sample_rate = RATE
    frame.time_base = Fraction(1, RATE)
    frame.pts = 0
    frame.planes[0].update(sound.tobytes())
    resampler = AudioResampler("flt", LAYOUTS[channels], rate)
    out = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([np.frombuffer(bytes(f.planes[0]), np.float32, f.samples * channels) for f in out]).reshape(-1, channels)
