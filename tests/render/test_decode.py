"""Opus by two decoders: what is heard is what libopus makes of it, whichever had the packets."""

from array import array
from collections.abc import Sequence
from fractions import Fraction
from math import sin

import av
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from rokuga.render import decode
from rokuga.render.decode import OpusDecoder

SAMPLES = 960
"""20 ms"""
ROUNDING = 1e-4
"""-80 dB"""
Packets = list[tuple[bytes, int]]


def opus(application: str, channels: int, seconds: float, bit_rate: int = 48_000, cutoff: int = 20_000) -> Packets:
    """A voice that moves, not the same in both channels."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 48_000, "stereo" if channels == 2 else "mono", "flt", bit_rate
    encoder.options = {"application": application, "cutoff": str(cutoff)}
    packets: Packets = []
    for begin in range(0, round(seconds * 48_000), SAMPLES):
        times = [sample / 48_000 for sample in range(begin, begin + SAMPLES)]
        sound = array("f", (voice(at + channel / 100) for at in times for channel in range(channels)))
        frame = AudioFrame("flt", encoder.layout.name, SAMPLES)
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), begin
        frame.planes[0].update(sound.tobytes())
        packets += [(bytes(packet), SAMPLES) for packet in encoder.encode(frame)]
    return packets


def voice(at: float) -> float:
    return 0.3 * sin(1400 * at + 3 * sin(18 * at)) * (0.6 + 0.4 * sin(11 * at)) + 0.1 * sin(7700 * at)


def by_libopus(packets: Packets, channels: int) -> "array[float]":
    """Of libopus alone, packet by packet; an empty one is lost."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout, decoder.options = 48_000, "stereo" if channels == 2 else "mono", {"request_sample_fmt": "flt"}
    sound = array("f")
    toc = 0
    for data, samples in packets:
        toc = data[0] if data else toc & 0xFC
        for frame in decoder.decode(av.Packet(data or bytes((toc,)))):
            sound.frombytes(bytes(frame.planes[0])[: samples * 4 * channels])
    return sound


def by_ours(packets: Packets, channels: int, together: int = 48) -> "array[float]":
    decoder = OpusDecoder(channels)
    return array("f", b"".join(decoder.decode(run) for run in batched_up(packets, together)))


def batched_up(packets: Packets, together: int) -> list[Packets]:
    return [packets[at : at + together] for at in range(0, len(packets), together)]


def loudest(one: Sequence[float], other: Sequence[float]) -> float:
    """Of the difference."""
    assert len(one) == len(other)
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def decoders(packets: Packets, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which of FFmpeg's decoders were taken, in order."""
    taken: list[str] = []
    make = decode._codec

    def counted(name: str, rate: int, channels: int) -> AudioCodecContext:
        taken.append(name)
        return make(name, rate, channels)

    monkeypatch.setattr(decode, "_codec", counted)
    by_ours(packets, 1)
    return taken


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("coded", [1, 2])
@pytest.mark.parametrize("cutoff", [4_000, 8_000, 12_000, 20_000])
def test_celt_sounds_as_libopus_makes_it(coded: int, channels: int, cutoff: int) -> None:
    packets = opus("lowdelay", coded, 1.0, cutoff=cutoff)
    assert all(data[0] & 0x80 for data, _ in packets)
    wanted = by_libopus(packets, channels)
    assert max(wanted) > 0.2
    assert loudest(by_ours(packets, channels), wanted) < ROUNDING
    assert loudest(by_ours(packets, channels, together=1), wanted) < ROUNDING


def test_celt_alone_does_without_libopus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoders(opus("lowdelay", 1, 1.0), monkeypatch) == ["opus"]


@pytest.mark.parametrize(("bit_rate", "cutoff"), [(16_000, 4_000), (16_000, 8_000), (24_000, 12_000), (24_000, 20_000)])
def test_silk_and_hybrid_are_libopus_from_the_first_packet_on(bit_rate: int, cutoff: int) -> None:
    packets = opus("voip", 1, 1.0, bit_rate, cutoff)
    assert not packets[0][0][0] & 0x80
    assert loudest(by_ours(packets, 1, together=1), by_libopus(packets, 1)) < ROUNDING


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("lost", [(20,), (47, 48), (1,), (10, 30, 31)])
def test_a_hole_is_made_up_and_left_as_libopus_does_it(channels: int, lost: tuple[int, ...]) -> None:
    packets = [(b"" if number in lost else data, samples) for number, (data, samples) in enumerate(opus("lowdelay", 1, 1.2))]
    wanted = by_libopus(packets, channels)
    size = SAMPLES * channels
    made_up = wanted[lost[0] * size : (lost[0] + 1) * size]
    assert max(map(abs, made_up)) > 0.01  # not just silence
    assert loudest(by_ours(packets, channels), wanted) < ROUNDING


def test_a_publisher_who_goes_over_to_silk_in_the_middle() -> None:
    packets = [*opus("lowdelay", 1, 0.6), *opus("voip", 1, 0.6, 16_000, 8_000)]
    assert len({data[0] >> 3 for data, _ in packets}) > 1
    assert loudest(by_ours(packets, 1), by_libopus(packets, 1)) < ROUNDING


def test_a_damaged_packet_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = opus("lowdelay", 1, 1.0)
    damaged = [*packets[:20], (b"", SAMPLES), *packets[21:]]
    for broken in (b"\xff", b"\xff\xff", packets[20][0][:1] + b"\xff" * 2_000, bytes((packets[20][0][0] | 3, 0x3F))):
        sound = by_ours([*packets[:20], (broken, SAMPLES), *packets[21:]], 1)
        assert loudest(sound[: 20 * SAMPLES], by_ours(damaged, 1)[: 20 * SAMPLES]) < ROUNDING
        # What is predicted from the packet before is right again soon after.
        assert loudest(sound[40 * SAMPLES :], by_libopus(packets, 1)[40 * SAMPLES :]) < 0.02
