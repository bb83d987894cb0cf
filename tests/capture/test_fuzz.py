"""Bytes and texts from elsewhere: read, or refused with the typed error; nothing that is sent makes memory grow without bound."""

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rokuga.capture import picture, rtcp
from rokuga.capture.buffer import Lost, Packet, ReceiveBuffer, Restarted
from rokuga.capture.depacketize import AccessUnit, Depacketizer, Output, Spoiled
from rokuga.capture.picture import MAX_GAPS
from rokuga.capture.rtp import NOT_TOLD, MalformedPacket, RtpPacket, parse
from rokuga.capture.sdp import SdpError, make_answer, parse_offer
from rokuga.capture.track import DEPACKETIZERS
from tests.capture.packets import av1, obus, vp8, vp9
from tests.capture.test_av1 import HIDDEN, INTER, KEY, SEQUENCE
from tests.capture.test_h264 import AUD, IDR, PPS, SLICE, SPS, fragments, stap
from tests.capture.test_sdp import LOCAL, OFFER
from tests.capture.test_vpx import VP8_INTER, VP8_KEY, VP9_INTER, VP9_KEY

pytestmark = pytest.mark.live

VIDEO = ("h264", "vp8", "vp9", "av1")
GOOD = {
    "h264": [stap(SPS, PPS), IDR, AUD, SLICE, *fragments(IDR), *fragments(SLICE)],
    "vp8": [*vp8(VP8_KEY), *vp8(VP8_INTER), *vp8(VP8_KEY, 20), *vp8(VP8_INTER, 20)],
    "vp9": [
        *vp9(VP9_KEY),
        *vp9(VP9_INTER),
        *vp9(VP9_INTER, 20),
        *vp9(VP9_KEY, 20, b"\x82\x11\x18\x01\x40\x00\xb4\x01\x08\x01\x02"),
        *vp9(VP9_INTER, 30, b"\xf0\x91\x23\x02\x05\x06"),
    ],
    "av1": [*av1([SEQUENCE, KEY]), *av1([INTER]), *av1([SEQUENCE, HIDDEN, KEY], 20, first=True), *av1([HIDDEN, INTER], 25, False)],
}
each_video = pytest.mark.parametrize("codec", VIDEO)


@st.composite
def damaged(draw: st.DrawFn, good: list[bytes]) -> bytes:
    """A packet's payload, most often one that is almost right; never empty, for such packets go no further than the buffer."""
    payload = bytearray(draw(st.sampled_from(good)))
    match draw(st.integers(0, 4)):
        case 0:
            payload[draw(st.integers(0, min(len(payload), 12) - 1))] = draw(st.integers(0, 255))
        case 1:
            del payload[draw(st.integers(1, len(payload))) :]
        case 2:
            at = draw(st.integers(0, len(payload)))
            payload[at:at] = draw(st.binary(max_size=4))
        case 3:
            payload = bytearray(draw(st.binary(min_size=1, max_size=40)))
    return bytes(payload)


@each_video
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_depacketizers_take_anything(codec: str, data: st.DataObject) -> None:
    depacketizer = DEPACKETIZERS[codec]()
    sequence, time, spent = 0, 0, 0
    out: Output = []
    for payload in data.draw(st.lists(damaged(GOOD[codec]), max_size=30)):
        step = data.draw(st.sampled_from(["next", "next", "next", "hole", "picture", "picture"]))
        if step == "hole":
            out += depacketizer.lost(Lost(sequence, sequence + 1, 1))
            sequence += 2
        time += 3000 if step == "picture" else 0
        out += depacketizer.push(Packet(sequence, time, data.draw(st.booleans()), payload, sequence))
        sequence += 1
        spent += len(payload)
    out += depacketizer.flush()
    check(codec, out)
    assert sum(len(item.data) for item in out if isinstance(item, AccessUnit)) <= 5 * spent  # a NAL unit of one byte gets a start code
    assert depacketizer.flush() == []


def check(codec: str, out: Output) -> None:
    """What holds of all that comes out."""
    for item in out:
        if isinstance(item, Spoiled):
            assert item.first_sequence <= item.last_sequence
            continue
        assert item.data
        assert item.first_arrival_ns <= item.last_arrival_ns
        assert 0 <= item.orientation <= 7
        match codec:
            case "h264":
                assert item.data.startswith(b"\0\0\0\1")
            case "vp8":
                assert not item.keyframe or item.data[3:6] == b"\x9d\x01\x2a"
            case "vp9":
                assert item.data[0] >> 6 == 2
            case "av1":
                kinds = [obu[0] >> 3 & 15 for obu in obus(item.data)]
                assert {3, 6} & set(kinds)
                assert not item.keyframe or 1 in kinds


packets = st.builds(
    RtpPacket,
    ssrc=st.just(1),
    payload_type=st.just(96),
    sequence=st.one_of(st.integers(0, 40), st.integers(0, 65535)),
    timestamp=st.one_of(st.integers(0, 10).map(lambda n: n * 3000), st.integers(0, 2**32 - 1)),
    marker=st.booleans(),
    orientation=st.one_of(st.just(NOT_TOLD), st.integers(0, 7)),
    payload=st.one_of(st.just(b""), st.binary(max_size=20)),
)


@each_video
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(packets, st.integers(0, 3), st.integers(0, 10**9)), max_size=40))
def test_a_track_takes_any_packets_in_any_order(codec: str, arrivals: list[tuple[RtpPacket, int, int]]) -> None:
    buffer = ReceiveBuffer()
    depacketizer = DEPACKETIZERS[codec]()
    now = 0

    def take(depacketizer: Depacketizer) -> Depacketizer:
        for event in buffer.poll(now) if now else buffer.flush():
            if isinstance(event, Restarted):
                check(codec, depacketizer.flush())
                depacketizer = DEPACKETIZERS[codec]()
            else:
                check(codec, depacketizer.lost(event) if isinstance(event, Lost) else depacketizer.push(event))
        return depacketizer

    for packet, how, pause in arrivals:
        now += pause
        try:
            if how:
                buffer.push(packet, now)
            else:
                buffer.push_rtx(packet, now)
        except MalformedPacket:
            continue
        depacketizer = take(depacketizer)
        assert buffer.held <= len(arrivals)
        for sequence in buffer.nacks(now):
            assert 0 <= sequence <= 0xFFFF
    now = 0
    check(codec, take(depacketizer).flush())


def endless(payloads: Iterable[bytes], marker: bool = False) -> Iterator[Packet]:
    """One picture without end: the payloads, the last of them again and again."""
    sequence = count()
    last = b""
    for last in payloads:
        yield Packet(next(sequence), 0, marker, last, 0)
    while True:
        yield Packet(next(sequence), 0, marker, last, 0)


BIG = bytes(1500)
LARGEST = 100_000
ENDLESS: dict[str, Callable[[], Iterator[Packet]]] = {
    "h264": lambda: endless([b"\x7c\x87" + BIG, b"\x7c\x07" + BIG]),
    "h264 of tiny units": lambda: endless([b"\x67", b"\x78" + b"\x00\x01\x67" * 500]),
    "vp8": lambda: endless([b"\x10" + VP8_KEY, b"\x00" + BIG]),
    "vp9": lambda: endless([b"\x08" + VP9_KEY, b"\x00" + BIG]),
    "av1": lambda: endless([b"\x58" + KEY, b"\xd0" + BIG]),
    "av1 of tiny units": lambda: endless([b"\x18" + SEQUENCE, b"\x00" + b"\x02\x30\x30" * 500]),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_picture_without_end_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MAX_BYTES", LARGEST)
    depacketizer = DEPACKETIZERS[name.split()[0]]()
    stream = ENDLESS[name]()
    tracemalloc.start()
    try:
        for _ in range(300):
            assert depacketizer.push(next(stream)) == []
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert depacketizer.malformed == 1
    assert now < 20_000
    assert most < 4 * LARGEST
    assert [type(o) for o in depacketizer.flush()] == [Spoiled]


@each_video
@pytest.mark.parametrize("packets_between", [True, False])
def test_holes_without_end_are_told_and_forgotten(codec: str, packets_between: bool) -> None:
    depacketizer = DEPACKETIZERS[codec]()
    told = 0
    tracemalloc.start()
    try:
        for sequence in range(0, 10_000, 2):
            told += len(depacketizer.lost(Lost(sequence, sequence, 0)))
            if packets_between:
                told += len(depacketizer.push(Packet(sequence + 1, 0, False, GOOD[codec][0], 0)))
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
    assert told >= 5000 - MAX_GAPS
    assert told + len(depacketizer.flush()) == 5000


@settings(max_examples=300)
@given(st.integers(0x80, 0xBF), st.binary(max_size=80))
def test_rtp_of_the_right_version_is_read_or_refused(first: int, rest: bytes) -> None:
    data = bytes((first,)) + rest
    try:
        packet = parse(data, dict.fromkeys([int.from_bytes(data[8:12], "big")], 1))
    except MalformedPacket:
        return
    assert packet.payload in data
    assert packet.marker == data[1] >> 7
    assert packet.orientation == NOT_TOLD or (data[0] & 0x10 and packet.orientation in range(8))
    assert 0 <= packet.sequence <= 0xFFFF


report = st.builds(
    lambda count, kind, words, body: bytes((0x80 | count, kind)) + words.to_bytes(2, "big") + body,
    st.integers(0, 31),
    st.sampled_from([200, 201, 202, 205, 206, 0, 255]),
    st.one_of(st.integers(0, 8), st.just(0xFFFF)),
    st.binary(max_size=40),
)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.lists(report, max_size=8).map(b"".join)))
def test_rtcp_is_read_as_far_as_it_can_be(data: bytes) -> None:
    found = list(rtcp.sender_reports(data))
    assert len(found) <= len(data) // 28
    for each in found:
        rtcp.later_lsr(each)


LINES = OFFER.splitlines()
odd = st.one_of(
    st.text(max_size=20), st.sampled_from(["", "-1", "4294967296", "9" * 5000, "٣", "m=audio", "m=video 9 X 1 2", "a=mid:", "a=ssrc:"])
)


@st.composite
def offers(draw: st.DrawFn) -> str:
    """An offer with some lines dropped, doubled, cut, or with words of another kind in them."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case 2:
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case 3:
                words = lines[at].replace(":", ": ").replace("/", "/ ").split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(odd)
                lines[at] = " ".join(words).replace(": ", ":").replace("/ ", "/")
            case 4:
                lines[at] = draw(odd)
        if not lines:
            break
    return "\r\n".join(lines)


@settings(max_examples=500)
@given(st.one_of(st.text(max_size=200), offers()))
def test_any_offer_is_read_and_answered_or_refused(text: str) -> None:
    try:
        offer = parse_offer(text)
    except SdpError:
        return
    accept = {}
    for media in offer.media:
        assert 0 <= media.ssrc <= 0xFFFFFFFF
        assert 0 <= media.rtx_ssrc <= 0xFFFFFFFF
        for codec in media.codecs:
            assert 0 <= codec.payload_type <= 127
            assert codec.clock_rate > 0
            accept[media.mid] = codec.payload_type, 1
    answer = make_answer(offer, LOCAL, accept)
    assert answer.count("\r\nm=") == len(offer.media)
