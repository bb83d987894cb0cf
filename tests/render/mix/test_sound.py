"""Mixed sound through the real codecs: who is heard, how loud, when, and what is not heard."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext

from rokuga.render import sound
from rokuga.render.decode import OpusDecoder
from rokuga.render.mix.sound import mixed_frames, reach
from rokuga.render.mix.stretch import REACH, stretch
from rokuga.render.plan import Ref
from tests.render.material import beeping_pcm
from tests.render.mix.voices import (
    LOOKAHEAD,
    FloatArray,
    Mix,
    amplitude,
    heard,
    opus_packets,
    rms,
    sine,
    speech,
    steepest,
)

pytestmark = pytest.mark.live

MUTED = b"\x78\x00\x00\x00"
OUTPUTS = [(48_000, 2), (48_000, 1), (44_100, 2), (16_000, 1)]
HALF_DB = 10 ** (0.5 / 20)
QUIET = 0.01


def conversation(rate: int, channels: int, bit_rate: int = 64_000, lossy: bool = True) -> Mix:
    """Three talk, with losses; one comes and goes; one is loud enough for the limiter and has a clock that is not right."""
    mix = Mix(rate, channels, bit_rate)
    for number in range(3):
        lost = range(100 + 30 * number, 103 + 30 * number) if lossy else range(0)
        mix.track(opus_packets(speech(5, number)), at=217 * number, lost=lost)
    mix.track(opus_packets(speech(1.5, 7)), at=60_007)
    return mix.track(opus_packets(1.8 * speech(5, 9)), at=48_000, lengths=(960, 961, 960, 958))


def loudest_block(sound: FloatArray) -> float:
    return max(rms(block) for block in np.split(sound, len(sound) // 1024))


def test_a_voice_alone_is_as_loud_as_it_was() -> None:
    wave = speech(4)
    out = Mix().track(opus_packets(wave)).heard(3)
    assert 1 / HALF_DB < rms(out[4_800:]) / rms(wave[4_800 - LOOKAHEAD : len(out) - LOOKAHEAD]) < HALF_DB


@pytest.mark.parametrize(("rate", "channels"), OUTPUTS)
def test_all_tracks_are_heard_at_their_level(rate: int, channels: int) -> None:
    mix = Mix(rate, channels)
    levels = {300 + 271 * n: 0.03 + 0.008 * n for n in range(9)}
    for number, (tone, level) in enumerate(levels.items()):
        mix.track(opus_packets(sine(tone, 3, level, number)), at=number * 333)
    out = mix.heard(2.5)[rate // 2 :]
    for tone, level in levels.items():
        for channel in range(channels):
            assert 1 / HALF_DB < amplitude(out[:, channel], tone, rate) / level < HALF_DB, tone


@pytest.mark.parametrize(("rate", "channels"), OUTPUTS)
@pytest.mark.parametrize("at", [1_024, 12_345, 20_001])
def test_a_beep_is_heard_at_its_time(rate: int, channels: int, at: int) -> None:
    wave = np.concatenate([np.zeros(24_000), sine(1_000, 0.2)])
    mix = Mix(rate, channels).track(opus_packets(wave), at=at).track([MUTED] * 60)
    out = np.abs(mix.heard(1.3)[:, 0])
    onset = int(np.flatnonzero(out > 0.1)[0]) / rate
    assert abs(onset - (at + 24_000 + LOOKAHEAD) / 48_000) < 0.002


def test_stereo_stays_on_its_sides_beside_mono() -> None:
    sides = np.stack([sine(700, 2, 0.2), sine(1_100, 2, 0.2)], axis=1)
    mix = Mix(channels=2, bit_rate=128_000).track(opus_packets(sides, 128_000)).track(opus_packets(sine(1_700, 2, 0.2)))
    out = mix.heard(1.8)[24_000:]
    levels = [[amplitude(out[:, channel], tone, 48_000) for tone in (700, 1_100, 1_700)] for channel in (0, 1)]
    assert np.allclose(levels, [[0.2, 0, 0.2], [0, 0.2, 0.2]], atol=0.012)


@pytest.mark.parametrize("codec", ["pcmu", "pcma", "g722"])
def test_telephone_codecs_are_heard(codec: Literal["pcmu", "pcma", "g722"]) -> None:
    out = Mix().track(beeping_pcm(codec, 2), codec=codec).heard(1.8)[:, 0]
    assert abs(amplitude(out[48_480:52_320], 1_000, 48_000) / (12_000 / 32_768) - 1) < 0.06
    assert rms(out[60_000:]) < QUIET


@pytest.mark.parametrize(("rate", "channels"), OUTPUTS)
def test_segments_join_as_if_never_cut(rate: int, channels: int) -> None:
    """Whatever the border, with next to no coding noise in the way."""
    mix = conversation(rate, channels, 6 * rate * channels, lossy=False)
    count = 4 * rate // 1024
    whole = mix.frames(0, count)
    uncut = heard(whole, rate, channels)
    for border in range(10, count - 10, 7):
        joined = heard(whole[border - 8 : border] + mix.frames(border, 8), rate, channels)[4 * 1024 :]
        difference = joined - uncut[(border - 4) * 1024 : (border + 8) * 1024]
        assert loudest_block(difference) < 0.02, border


@pytest.mark.parametrize(("rate", "channels"), OUTPUTS)
def test_a_seam_is_not_worse_than_the_coding_elsewhere(rate: int, channels: int) -> None:
    mix = conversation(rate, channels)
    count = 4 * rate // 1024
    whole = mix.frames(0, count)
    exact = heard(replace(mix, bit_rate=6 * rate * channels).frames(0, count), rate, channels)
    noise = loudest_block(heard(whole, rate, channels) - exact)
    for border in range(10, count - 10, 7):
        joined = heard(whole[border - 8 : border] + mix.frames(border, 8), rate, channels)[4 * 1024 :]
        assert loudest_block(joined - exact[(border - 4) * 1024 : (border + 8) * 1024]) < 2 * noise, border


@pytest.mark.parametrize(("rate", "channels"), OUTPUTS)
@pytest.mark.parametrize("kind", ["noise", "tones", "one tone"])
def test_nothing_clips_when_25_are_loud(rate: int, channels: int, kind: str) -> None:
    mix = Mix(rate, channels)
    for number in range(25):
        noise = np.random.default_rng(number).uniform(-1, 1, 72_000)
        tones = {"tones": 200 + 137 * number, "one tone": 440}
        mix.track(opus_packets(sine(tones[kind], 1.5, 0.99) if kind in tones else noise))
    out = np.abs(mix.heard(1.2)[2_048:])
    assert 0.4 < out.max() < 0.99


def test_joins_leaves_and_holes_do_not_click() -> None:
    tone = opus_packets(sine(450, 3, 0.3))
    mix = Mix().track(tone[20:100], at=30_011, lost=[*range(20, 23), *range(50, 70)])
    out = mix.heard(3)
    slope = steepest(out[32_000:45_000])
    assert 0.3 * 2 * np.pi * 450 / 48_000 * 0.9 < slope
    assert steepest(out) < 1.5 * slope
    assert rms(out[:29_000]) < QUIET
    assert rms(out[30_011 + 80 * 960 + 4_800 :]) < QUIET


def test_lost_sound_is_made_up_for_60_ms_and_then_fades() -> None:
    out = Mix().track(opus_packets(sine(450, 3, 0.3)), lost=range(60, 80)).heard(2)
    level = rms(out[40_000:57_000])
    lost = 60 * 960 + LOOKAHEAD
    assert rms(out[lost : lost + 2_880]) > level / 3
    assert rms(out[lost + 3_840 + 1_024 : lost + 20 * 960 - 1_024]) < QUIET
    assert rms(out[lost + 22 * 960 : lost + 30 * 960]) > 0.9 * level


@pytest.mark.parametrize("length", [956, 959, 961, 964])
def test_stretching_keeps_the_tone(length: int) -> None:
    out = Mix(bit_rate=128_000).track(opus_packets(sine(1_000, 4, 0.3)), lengths=(length,)).heard(3)[24_000:-24_000, 0]
    expected = 1_000 * 960 / length
    assert abs(expected / 1_000 - 1) < 0.005
    assert abs(amplitude(out, expected, 48_000) - 0.3) < 0.01
    phase = np.unwrap(np.angle(np.convolve(out * np.exp(-2j * np.pi * 1_000 * np.arange(len(out)) / 48_000), np.ones(480), "valid")))
    assert abs(1_000 + (phase[-1] - phase[0]) / (2 * np.pi) / (len(phase) - 1) * 48_000 - expected) < 0.05


def test_some_stretched_packets_are_where_they_belong() -> None:
    lengths = (960, 964, 960, 957, 961)
    wave = sine(1_000, 4, 0.3)
    out = Mix(bit_rate=250_000).track(opus_packets(wave, 128_000), lengths=lengths).heard(3)[:, 0]
    borders = np.cumsum([0, *lengths * 40])
    place = np.interp(np.arange(len(out)), borders, 960 * np.arange(len(borders))) - LOOKAHEAD
    ideal = 0.3 * np.sin(2 * np.pi * 1_000 * place / 48_000)
    assert np.abs(out - ideal)[24_000:].max() < 0.01


@pytest.mark.parametrize("frequency", [440, 5_000, 12_000])
def test_stretched_packets_go_over_into_each_other(frequency: float) -> None:
    wave = np.sin(2 * np.pi * frequency * np.arange(-REACH, 2_880 + REACH) / 48_000).astype(np.float32)[:, None]
    out = np.concatenate([stretch(wave[at : at + 960 + 2 * REACH], 961) for at in (0, 960, 1_920)])[:, 0]
    ideal = np.sin(2 * np.pi * frequency * np.arange(3 * 961) * 960 / 961 / 48_000)
    assert np.abs(out - ideal).max() < 0.01


def test_a_packet_that_comes_too_early_goes_over_without_a_click() -> None:
    tone = opus_packets(sine(450, 3, 0.3))
    mix = Mix().track(tone[:60]).track(tone[:60], at=60 * 960 - 300)
    mix.tracks = [mix.tracks[0] + mix.tracks[1]]
    out = mix.heard(2)
    # While they sound together, two tones are up to twice as steep.
    assert steepest(out[40_000:]) < 2.2 * steepest(out[10_000:40_000])
    assert steepest(out[70_000:]) < 1.1 * steepest(out[10_000:40_000])


def test_bad_and_unreadable_packets_move_nothing() -> None:
    wave = np.concatenate([sine(450, 1), np.zeros(24_000), sine(1_000, 0.5)])
    mix = Mix().track(opus_packets(wave))
    for number in (10, 11, 30):
        mix.data[mix.tracks[0][number].ref.position] = b"\x7b\xff\xff\xff\xff\xff\xff" if number == 30 else b""
    out = np.abs(mix.heard(1.8)[60_000:, 0])
    assert abs(int(np.flatnonzero(out > 0.1)[0]) + 60_000 - 72_000 - LOOKAHEAD) < 96


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts packets decoded and blocks encoded."""
    count = {"decoded": 0, "encoded": 0}
    decode, encode = OpusDecoder.decode, sound._encode

    def counting_decode(self: OpusDecoder, packets: Sequence[tuple[bytes, int]]) -> bytes:
        count["decoded"] += len(packets)
        return decode(self, packets)

    def counting_encode(encoder: AudioCodecContext, number: int, blocks: bytes, channels: int) -> Iterable[tuple[int, bytes]]:
        count["encoded"] += len(blocks) // (4_096 * channels)
        return encode(encoder, number, blocks, channels)

    for rate, channels in OUTPUTS:
        sound._silent_frame(channels, rate, 64_000)
    monkeypatch.setattr(OpusDecoder, "decode", counting_decode)
    monkeypatch.setattr(sound, "_encode", counting_encode)
    return count


@pytest.mark.parametrize(("rate", "channels"), OUTPUTS)
def test_silence_is_neither_decoded_nor_encoded(work: dict[str, int], rate: int, channels: int) -> None:
    mix = Mix(rate, channels)
    for _ in range(25):
        mix.track([MUTED] * 500)
    assert rms(mix.heard(9)) == 0
    assert work == {"decoded": 0, "encoded": sound.EDGE_BLOCKS}


def test_only_those_who_talk_cost(work: dict[str, int]) -> None:
    mix = Mix().track(opus_packets(sine(450, 1, 0.3)) + [MUTED] * 200)
    for _ in range(24):
        mix.track([MUTED] * 250)
    assert rms(mix.heard(4)[4_800:40_000]) > 0.1
    assert work["decoded"] <= 51
    assert work["encoded"] < 60


def test_a_segment_takes_what_is_in_reach_alone() -> None:
    mix = conversation(48_000, 2)
    plan = mix.plan(100, 20)
    before, after = reach(48_000)
    low, high = 100 * 1_024 - before, 120 * 1_024 + after
    assert all(low < v.at + v.length and v.at < high for track in plan.voices for v in track)
    assert before / 48_000 < 0.2
    assert after / 48_000 < 0.1


def test_nobody_is_there() -> None:
    assert set(Mix(44_100, 2).frames(5, 30)) == {sound._silent_frame(2, 44_100, 64_000)}


def digest() -> str:
    mix = conversation(44_100, 2)
    return hashlib.sha256(b"".join(mix.frames(40, 60))).hexdigest()


def test_the_same_plan_gives_the_same_bytes_in_another_process() -> None:
    command = [sys.executable, "-c", "from tests.render.mix.test_sound import digest; print(digest())"]
    other = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()
    assert other == digest() == digest()


def test_what_is_silent_is_not_even_read() -> None:
    mix = Mix().track([MUTED] * 100)
    read: list[Ref] = []

    def payload(ref: Ref) -> bytes:
        read.append(ref)
        return mix.payload(ref)

    mixed_frames(mix.plan(0, 60), payload)
    assert not read
