"""No peak above the ceiling, no change where there is none, and nothing remembered for long."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rokuga.render.mix.limiter import CEILING, CELL, limit, reach
from rokuga.render.mix.sound import PRE_BLOCKS
from tests.render.mix.voices import rms, speech

RATES = [48_000, 44_100, 16_000]


def limited(sound: NDArray[np.float32], rate: int = 48_000) -> NDArray[np.float32]:
    copy = sound.copy()
    limit(copy, rate)
    return copy


def loud(cells: int, channels: int, seed: int) -> NDArray[np.float32]:
    """Noise whose level jumps about between nothing and thirty times full scale."""
    random = np.random.default_rng(seed)
    level = np.repeat(10 ** random.uniform(-3, 1.5, cells // 20 + 1), 20 * CELL)[: cells * CELL]
    return (random.uniform(-1, 1, (cells * CELL, channels)) * level[:, None]).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.sampled_from([1, 2]), st.integers(0, 2**32 - 1), st.sampled_from(RATES))
def test_nothing_comes_out_above_the_ceiling(cells: int, channels: int, seed: int, rate: int) -> None:
    sound = loud(cells, channels, seed)
    out = limited(sound, rate)
    assert np.abs(out).max() <= CEILING * (1 + 1e-6)
    assert (np.sign(out) == np.sign(sound)).all()
    assert (np.abs(out) <= np.abs(sound)).all()


def test_what_fits_is_not_touched() -> None:
    sound = (speech(3) * 1.39).astype(np.float32)[:, None]
    assert 0.69 < np.abs(sound).max() <= CEILING
    assert (limited(sound) == sound).all()


@pytest.mark.parametrize("rate", RATES)
def test_a_peak_is_forgotten_after_the_reach(rate: int) -> None:
    sound = np.full((rate // CELL * CELL, 1), 0.5, np.float32)
    peak = len(sound) // 2
    sound[peak] = 30
    changed = np.flatnonzero(limited(sound, rate) != sound)
    before, after = reach(rate)
    assert peak - after < changed[0] < peak - after // 2
    assert peak + before // 2 < changed[-1] < peak + before
    assert before <= PRE_BLOCKS[rate] * 1024
    assert after <= 1024


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 500), st.sampled_from(RATES))
def test_a_part_is_limited_as_in_the_whole(seed: int, cut: int, rate: int) -> None:
    sound = loud(800, 2, seed)
    before, after = reach(rate)
    begin, end = cut * CELL, len(sound) - 64 * CELL
    part = limited(sound[begin:end], rate)
    assert (part[before:-after] == limited(sound, rate)[begin + before : end - after]).all()


def test_the_gain_moves_slowly_and_not_with_the_wave() -> None:
    """A steady tone of 60 Hz at three times full scale is only made smaller."""
    tone = (3 * np.sin(2 * np.pi * 60 * np.arange(48_000) / 48_000)).astype(np.float32)[:, None]
    out = limited(tone)[4_800:-4_800]
    assert rms(out - tone[4_800:-4_800] * np.float32(CEILING / 3)) < 0.001
