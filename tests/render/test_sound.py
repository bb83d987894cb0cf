"""Packets to sound: what is lost fades, what is silent costs nothing and is silent."""

import itertools
import random
from array import array
from collections.abc import Iterable, Sequence

import av
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.packet import Packet

from rokuga.journal.reader import Position
from rokuga.journal.records import Frame, TrackOpened
from rokuga.render import sound
from rokuga.render.audio import BLOCK, opus_samples
from rokuga.render.decode import OpusDecoder
from rokuga.render.plan import AudioPlan, Head, LineKey, Ref
from rokuga.render.sound import Payload, aac_frames, decoded, silences
from tests.render.material import EPOCH, SECOND, opus
from tests.render.test_fold import Room
from tests.render.test_media import rms

MUTED = b"\x78\x00\x00\x00"
DTX = b"\x78"


def planned(packets: Iterable[tuple[int, bytes]], blocks: int) -> tuple[AudioPlan, dict[Position, bytes]]:
    """A plan for mono packets of 20 ms, each with its number."""
    data = {Position(1, number): packet for number, packet in packets}
    refs = tuple(Ref(p, len(d), p.offset * 960, samples=960, codec="opus") for p, d in data.items())
    head = Head(LineKey("alice", "main", "audio"), 0, 0, 900_000, 0, 0, False)
    return AudioPlan(head, 0, 0, tuple(900_000 + 1920 * n for n in range(blocks)), refs, 1), data


def frames(packets: Iterable[tuple[int, bytes]], blocks: int) -> list[bytes]:
    plan, data = planned(packets, blocks)
    return aac_frames(plan, lambda ref: data[ref.position])


def whole(plan: AudioPlan, payload: Payload) -> bytes:
    """All that is decoded, from sample time 0 on, with silence between the pieces."""
    sound = bytearray()
    for time, piece in decoded(plan.packets, [p.time for p in plan.packets], payload, 1):
        assert time * 4 >= len(sound)
        sound += bytes(time * 4 - len(sound)) + piece
    return bytes(sound)


def heard(aac: list[bytes]) -> "array[float]":
    decoder = av.CodecContext.create("aac", "r")
    assert isinstance(decoder, AudioCodecContext)
    samples = array("f")
    for data in aac:
        for frame in decoder.decode(Packet(data)):
            assert isinstance(frame, AudioFrame)
            samples.frombytes(bytes(frame.planes[0])[: frame.samples * 4])
    return samples


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts packets decoded and blocks encoded."""
    count = {"decoded": 0, "encoded": 0}
    decode, encode = OpusDecoder.decode, sound._encode

    def counting_decode(self: OpusDecoder, packets: Sequence[tuple[bytes, int]]) -> bytes:
        count["decoded"] += len(packets)
        return decode(self, packets)

    def counting_encode(encoder: AudioCodecContext, number: int, blocks: bytes, channels: int) -> Iterable[tuple[int, bytes]]:
        count["encoded"] += len(blocks) // 4096
        return encode(encoder, number, blocks, channels)

    sound._silent_frame(1, 48_000, sound.BIT_RATE)
    monkeypatch.setattr(OpusDecoder, "decode", counting_decode)
    monkeypatch.setattr(sound, "_encode", counting_encode)
    return count


def test_a_muted_microphone_costs_next_to_nothing(work: dict[str, int]) -> None:
    aac = frames(((n, MUTED) for n in range(500)), 468)
    assert len(aac) == 468
    assert set(aac[4:]) == {sound._silent_frame(1, 48_000, sound.BIT_RATE)}
    assert max(map(abs, heard(aac))) < 1e-3
    assert work["decoded"] < 5
    assert work["encoded"] < 10


def test_sound_around_a_silence_is_as_without_sparing(work: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of beeps, 3 s muted, and again."""
    beeps = opus(10, beep_every=0.2, channels=1)
    packets = [*beeps[:50], *[MUTED] * 150, *beeps[200:300]]
    spared = heard(frames(enumerate(packets), 270))
    assert work["decoded"] < 160
    monkeypatch.setattr(sound, "EDGE_BLOCKS", 10_000)
    monkeypatch.setattr(sound, "SILENT_BYTES", 0)
    whole = heard(frames(enumerate(packets), 270))
    assert len(spared) == len(whole)
    for at in range(0, 270 * 1024 - 1024, 1024):
        difference = array("f", (a - b for a, b in zip(spared[at : at + 1024], whole[at : at + 1024], strict=True)))
        # What the encoder itself adds to a beep (28 dB below it) may differ.
        assert rms(difference) < 0.012, at / 48_000
    assert rms(spared[48_000 * 4 :]) > 0.1


def test_dtx_is_silent_between_the_words(work: dict[str, int]) -> None:
    words = opus(10, beep_every=0.02, tone=450, channels=1)
    noise = opus(10, beep_every=1.0, channels=1)[20]
    packets = [(n, words[n]) for n in range(50)]
    for begin in range(50, 250, 20):
        packets += [(begin, noise), (begin + 1, DTX)] if begin > 50 else [(begin, DTX)]
    packets += [(n, words[n]) for n in range(250, 300)]
    plan, _ = planned(packets, 10)
    assert silences(plan.packets, [p.time for p in plan.packets]) == [False] * 50 + [True] * 19 + [False] * 50
    samples = heard(frames(packets, 280))
    assert rms(samples[: 48_000 - 2048]) > 0.1
    assert rms(samples[48_000 + 4096 : 240_000 - 4096]) == 0
    assert rms(samples[240_000 + 4096 : 280_000]) > 0.1


def test_a_refresh_of_background_noise_is_silent_also_at_the_beginning_of_a_segment() -> None:
    noise = opus(10, beep_every=1.0, channels=1)[20]
    words = opus(10, beep_every=0.02, tone=450, channels=1)
    packets = [(n, words[n]) for n in range(50)] + [(50, DTX)]
    for begin in range(70, 600, 20):
        packets += [(begin, noise), (begin + 1, DTX)]
    room = Room().add(0, TrackOpened(1, "a", "main", "audio", "opus", 48_000, 2))
    data = dict(packets)
    for number in data:
        arrival = EPOCH + round(number * 0.02 * SECOND)
        room.add(number * 0.02, Frame(1, number * 960, arrival, arrival, False, data[number]))
    plans = [plan for _, plan in room.plans(20) if isinstance(plan, AudioPlan)]
    assert len(plans) > 1
    for plan in plans:
        at = [p.time for p in plan.packets]
        # What lies behind the segment's frames is for the encoder alone.
        end = plan.origin + BLOCK * (plan.first + len(plan.pts))
        sounds = [t // 960 for t, silent in zip(at, silences(plan.packets, at), strict=True) if not silent and t < end]
        assert all(number < 50 for number in sounds), sounds


def test_lost_sound_is_made_up_for_60_ms_and_then_fades_without_a_click() -> None:
    tone = opus(2, beep_every=0.02, tone=450, channels=1)
    plan, data = planned([(n, p) for n, p in enumerate(tone) if not 50 <= n < 60], 90)
    samples = array("f", whole(plan, lambda ref: data[ref.position]))
    assert len(samples) == 100 * 960
    level = rms(samples[40_000:48_000])
    assert rms(samples[48_000 : 48_000 + 2880]) > level / 3
    assert not any(samples[48_000 + 3840 : 48_000 + 9600])
    assert rms(samples[48_000 + 9600 + 960 : 48_000 + 9600 + 4800]) > level / 3
    steepest = max(abs(a - b) for a, b in itertools.pairwise(samples[30_000:47_000]))
    assert max(abs(a - b) for a, b in itertools.pairwise(samples[47_000:64_000])) <= 1.5 * steepest


def test_packets_that_are_bad_or_gone_leave_the_length_as_it_is() -> None:
    good = opus(2, channels=1)
    packets = [(n, b"\x7b\xff\xff\xff\xff\xff\xff" if n % 7 == 3 else p) for n, p in enumerate(good)]
    plan, data = planned(packets, 90)
    assert len(whole(plan, lambda ref: b"" if ref.position.offset % 11 == 5 else data[ref.position])) == 100 * 960 * 4


@pytest.mark.parametrize("channels", [1, 2])
def test_packets_decode_together_as_they_do_apart(channels: int) -> None:
    packets = [(p, 960) for p in (*opus(2, channels=channels), *opus(1, channels=channels, bit_rate=192_000))]
    together, apart = OpusDecoder(channels), OpusDecoder(channels)
    assert len({p[0] for p, _ in packets}) < 5
    assert max(len(p) for p, _ in packets) > 252, "lengths of two bytes"
    assert together.decode(packets) == b"".join(apart.decode([p]) for p in packets)


def test_a_bad_packet_does_not_spoil_those_that_are_decoded_with_it() -> None:
    good = [(p, 960) for p in opus(1, channels=1)]
    bad = (good[10][0] + bytes(1_400), 960)
    assert OpusDecoder(1).decode([*good[:10], bad, *good[11:]])[: 10 * 960 * 4] == OpusDecoder(1).decode(good[:10])


def test_hostile_packets_make_no_sound_that_the_encoder_cannot_take() -> None:
    random_ = random.Random(3)
    packets = [bytes((random_.randrange(32) << 3,)) + random_.randbytes(random_.randrange(1, 300)) for _ in range(400)]
    samples = array("f", OpusDecoder(1).decode([(p, opus_samples(p)) for p in packets]))
    assert max(map(abs, samples)) < 2
    assert len(samples) == sum(map(opus_samples, packets))
