"""How phones are held: told in some packets' header extension, known of every picture that comes out."""

import struct
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga.capture.buffer import Packet, ReceiveBuffer
from rokuga.capture.depacketize import AccessUnit, Output
from rokuga.capture.h264 import H264Depacketizer
from rokuga.capture.rtp import RtpPacket, parse
from rokuga.capture.track import DEPACKETIZERS
from tests.capture.packets import av1, vp8, vp9
from tests.capture.test_av1 import INTER, KEY, SEQUENCE
from tests.capture.test_h264 import IDR, PPS, SLICE, SPS, fragments
from tests.capture.test_vpx import VP8_INTER, VP8_KEY, VP9_INTER, VP9_KEY

SSRC, RTX_SSRC, NUMBER = 77, 78, 13
IDS = {SSRC: NUMBER, RTX_SSRC: NUMBER}


def wire(sequence: int, time: int, payload: bytes, marker: bool, told: int | None, ssrc: int = SSRC) -> bytes:
    """An RTP packet; ``told`` is the byte of the header extension, which stands behind one of another kind."""
    head = struct.pack("!BBHII", 0x80 if told is None else 0x90, marker << 7 | 96, sequence & 0xFFFF, time, ssrc)
    extension = b"" if told is None else b"\xbe\xde\0\2" + bytes((0x12, 1, 2, 3, NUMBER << 4, told, 0, 0))
    return head + extension + payload


def pictures(codec: str, told: Iterable[int | None]) -> list[list[bytes]]:
    """The packets of pictures, of which the first is a keyframe; ``told``: what each one's last packet says."""
    key = {"h264": [SPS, PPS, *fragments(IDR)], "vp8": vp8(VP8_KEY, 20), "vp9": vp9(VP9_KEY, 20), "av1": av1([SEQUENCE, KEY], 20)}
    inter = {"h264": fragments(SLICE), "vp8": vp8(VP8_INTER, 20), "vp9": vp9(VP9_INTER, 20), "av1": av1([INTER], 20)}
    sequence = 65_530
    made = []
    for number, byte in enumerate(told):
        payloads = inter[codec] if number else key[codec]
        last = len(payloads) - 1
        made.append([wire(sequence + n, 3000 * number, p, n == last, byte if n == last else None) for n, p in enumerate(payloads)])
        sequence += len(payloads)
    return made


def received(codec: str, packets: Iterable[bytes]) -> list[tuple[int, int]]:
    """RTP time and orientation of the pictures that come of packets in that order."""
    buffer, depacketizer = ReceiveBuffer(), DEPACKETIZERS[codec]()
    out: Output = []
    for data in packets:
        packet = parse(data, IDS)
        (buffer.push_rtx if packet.ssrc == RTX_SSRC else buffer.push)(packet, 0)
        for event in buffer.poll(0):
            assert isinstance(event, Packet)
            out += depacketizer.push(event)
    return [(item.rtp_time, item.orientation) for item in out if isinstance(item, AccessUnit)]


@pytest.mark.parametrize("codec", ["h264", "vp8", "vp9", "av1"])
def test_each_picture_is_as_was_told_last(codec: str) -> None:
    told = [1, None, 1, 3, None, 8, None, 8 | 4 | 2, None]
    made = received(codec, [p for packets in pictures(codec, told) for p in packets])
    assert made == [(3000 * n, o) for n, o in enumerate([1, 1, 1, 3, 3, 0, 0, 6, 6])], "8 is the camera's side"
    assert [o for _, o in received(codec, [p for packets in pictures(codec, [None] * 3) for p in packets])] == [0, 0, 0]


@given(st.lists(st.one_of(st.none(), st.integers(0, 15)), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_packets_out_of_order_and_repeated_tell_it_in_order(told: list[int | None], random: Random) -> None:
    in_order = pictures("h264", told)
    first, rest = in_order[0], [p for packets in in_order[1:] for p in packets]
    mixed = [*rest, *random.sample(rest, len(rest) // 2)]
    random.shuffle(mixed)
    assert received("h264", [*first, *mixed]) == received("h264", [p for packets in in_order for p in packets])


def test_what_comes_as_a_retransmission_tells_it_too() -> None:
    first, (*_, lost), last = pictures("h264", [0, 2, None])
    original = parse(lost, IDS)
    again = wire(5, original.timestamp, original.sequence.to_bytes(2, "big") + original.payload, True, 2, RTX_SSRC)
    before = [p for p in pictures("h264", [0, 2])[1] if p != lost]
    assert received("h264", [*first, *before, *last, again]) == [(0, 0), (3000, 2), (6000, 2)]


def test_a_picture_that_is_lost_has_told_it_all_the_same() -> None:
    depacketizer = H264Depacketizer()
    out: Output = []
    for sequence, time, marker, payload, told in (
        (1, 0, True, IDR, 0),
        (2, 3000, False, b"\x7c\x41", None),  # a fragment without beginning: the picture is spoiled
        (3, 3000, True, SLICE, 1),
        (4, 6000, True, SLICE, None),
    ):
        packet: RtpPacket = parse(wire(sequence, time, payload, marker, told), IDS)
        out += depacketizer.push(Packet(sequence, time, packet.marker, packet.payload, 0, packet.orientation))
    assert [(u.rtp_time, u.orientation) for u in out if isinstance(u, AccessUnit)][-1] == (6000, 1)
