"""VP8 and VP9 frames from packets: the payload descriptors of RFC 7741 and RFC 9628, and what losses do."""

import pytest

from rokuga.capture.depacketize import AccessUnit, Spoiled
from rokuga.capture.picture import PictureDepacketizer
from rokuga.capture.rtp import MalformedPacket
from rokuga.capture.vp8 import Vp8Depacketizer
from rokuga.capture.vp8 import read_descriptor as read_vp8
from rokuga.capture.vp9 import Vp9Depacketizer, is_keyframe
from rokuga.capture.vp9 import read_descriptor as read_vp9
from tests.capture.packets import Source, feed, units, vp8, vp9
from tests.capture.pictures import decode, encode

VP8_KEY = b"\x10\x02\x00\x9d\x01\x2a\x40\x01\xb4\x00" + b"k" * 50
VP8_INTER = b"\x11\x02\x00" + b"p" * 50
VP9_KEY = b"\x82\x49\x83\x42" + b"k" * 50
VP9_INTER = b"\x86\x00" + b"p" * 50


@pytest.mark.parametrize(
    ("payload", "size"),
    [
        (b"\x10x", 1),
        (b"\x90\x00x", 2),
        (b"\x90\x80\x11x", 3),
        (b"\x90\x80\x91\x11x", 4),
        (b"\x90\x40\x05x", 3),
        (b"\x90\x20\x05x", 3),
        (b"\x90\x10\x05x", 3),
        (b"\x90\xf0\x91\x11\x05\x06x", 6),
    ],
    ids=["none", "empty", "7 bits", "15 bits", "TL0PICIDX", "TID", "KEYIDX", "all"],
)
def test_vp8_descriptors(payload: bytes, size: int) -> None:
    assert read_vp8(payload) == (size, True)
    for cut in range(size + 1):
        with pytest.raises(MalformedPacket):
            read_vp8(payload[:cut])


def test_a_vp8_partition_is_no_beginning_but_the_first() -> None:
    assert read_vp8(b"\x10x")[1]
    assert not read_vp8(b"\x11x")[1]
    assert not read_vp8(b"\x00x")[1]


@pytest.mark.parametrize(
    ("payload", "size", "layer"),
    [
        (b"\x08x", 1, 0),
        (b"\x88\x11x", 2, 0),
        (b"\x88\x91\x11x", 3, 0),
        (b"\x28\x04\x09x", 3, 2),
        (b"\x38\x04x", 2, 2),
        (b"\x58\x02x", 2, 0),
        (b"\x58\x03\x05\x06x", 4, 0),
        (b"\x18x", 1, 0),
        (b"\x0a\x00x", 2, 0),
        (b"\x0a\x10\x01\x40\x00\xb4x", 6, 0),
        (b"\x0a\x30" + b"\x01\x40\x00\xb4" * 2 + b"x", 10, 0),
        (b"\x0a\x08\x02\x04\x01\x08\x01\x02x", 8, 0),
        (b"\xfa\x91\x11\x23\x03\x04\x18\x01\x40\x00\xb4\x01\x0c\x01\x02\x03x", 16, 1),
    ],
    ids=[
        "none",
        "7 bits",
        "15 bits",
        "layers",
        "layers, flexible",
        "a reference",
        "three references",
        "flexible, no reference",
        "empty structure",
        "size",
        "two sizes",
        "picture group",
        "all",
    ],
)
def test_vp9_descriptors(payload: bytes, size: int, layer: int) -> None:
    assert read_vp9(payload) == (size, layer)
    for cut in range(size + 1):
        with pytest.raises(MalformedPacket):
            read_vp9(payload[:cut])


def test_vp9_keyframes_are_told_by_the_frame_header() -> None:
    assert is_keyframe(VP9_KEY)
    assert not is_keyframe(VP9_INTER)
    assert not is_keyframe(b"\x88")  # shows a frame that exists
    assert is_keyframe(b"\xb0")  # profile 3 has a reserved bit in front
    assert not is_keyframe(b"\xb2")
    assert not is_keyframe(b"\xb4")
    with pytest.raises(MalformedPacket):
        is_keyframe(b"\x42")


def test_vp8_frames_whole_and_in_pieces() -> None:
    source = Source()
    packets = source.picture(*vp8(VP8_KEY, 20)) + source.picture(*vp8(VP8_INTER)) + source.picture(*vp8(VP8_INTER, 7, b"\x00"))
    made = units(feed(Vp8Depacketizer(), packets))
    assert [(u.rtp_time, u.keyframe, u.data) for u in made] == [(3000, True, VP8_KEY), (6000, False, VP8_INTER), (9000, False, VP8_INTER)]
    assert (made[0].first_arrival_ns, made[0].last_arrival_ns) == (packets[0].arrival_ns, packets[2].arrival_ns)


def test_vp8_partitions_of_their_own_packets() -> None:
    packets = Source().picture(b"\x10" + VP8_INTER[:20], b"\x00" + VP8_INTER[20:30], b"\x11" + VP8_INTER[30:])
    assert [u.data for u in units(feed(Vp8Depacketizer(), packets))] == [VP8_INTER]


def test_vp9_frames_whole_and_in_pieces_in_both_modes() -> None:
    source = Source()
    packets = source.picture(*vp9(VP9_KEY, 20, b"\x82\x11\x10\x01\x40\x00\xb4"))
    packets += source.picture(*vp9(VP9_INTER, 9, b"\xe0\x91\x23\x00\x05")) + source.picture(*vp9(VP9_INTER, 60, b"\xd0\x91\x24\x02"))
    made = units(feed(Vp9Depacketizer(), packets))
    assert [(u.rtp_time, u.keyframe, u.data) for u in made] == [(3000, True, VP9_KEY), (6000, False, VP9_INTER), (9000, False, VP9_INTER)]


def test_spatial_layers_of_vp9_become_a_superframe_that_decoders_split() -> None:
    lower, upper = encode("libvpx-vp9", count=2)
    layers = vp9(lower, 1000, b"\xa0\x11\x00\x07") + vp9(upper, 1000, b"\xa0\x11\x03\x07")
    (unit,) = units(feed(Vp9Depacketizer(), Source().picture(*layers)))
    assert unit.keyframe
    assert unit.data.startswith(lower + upper)
    assert len(decode("vp9", [unit.data])) == 2
    assert len(decode("vp9", [lower + upper])) < 2
    assert len(decode("libvpx-vp9", [unit.data])) == 1


@pytest.mark.parametrize(
    ("make", "frame"),
    [(lambda f: vp8(f, 20), VP8_INTER), (lambda f: vp9(f, 20), VP9_INTER)],
    ids=["vp8", "vp9"],
)
def test_a_missing_packet_costs_its_frame_and_no_other(make: object, frame: bytes) -> None:
    assert callable(make)
    depacketizer = Vp8Depacketizer if frame is VP8_INTER else Vp9Depacketizer
    for number in range(3):
        source = Source()
        first, second, third = (source.picture(*make(frame)) for _ in range(3))
        lost = second[number].sequence
        out = feed(depacketizer(), first + second + third, {lost})
        # Without its last packet a frame is spoiled, but the next one begins evidently.
        assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit]
        assert out[1] == Spoiled(lost, lost, 6000, "repair-failed", 3)
    out = feed(depacketizer(), first + second + third, {p.sequence for p in second})
    assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit]
    assert out[1] == Spoiled(4, 6, -1, "repair-failed", 3)


def test_the_rest_of_a_frame_that_began_before_us_is_nothing() -> None:
    source = Source()
    out = feed(Vp8Depacketizer(), source.picture(*vp8(VP8_KEY, 20)[1:]) + source.picture(*vp8(VP8_INTER)))
    assert [u.rtp_time for u in out] == [6000]
    source = Source()
    out = feed(Vp9Depacketizer(), source.picture(*vp9(VP9_KEY, 20)[1:]) + source.picture(*vp9(VP9_INTER)))
    assert [u.rtp_time for u in out] == [6000]


@pytest.mark.parametrize(
    ("depacketizer", "payloads"),
    [
        (Vp8Depacketizer, [b"\x10" + VP8_INTER, b"\x80"]),
        (Vp8Depacketizer, [b"\x10" + VP8_INTER, b"\x10" + VP8_INTER]),
        (Vp8Depacketizer, [b"\x10\x10\x02\x00abc\x40\x01\xb4\x00"]),
        (Vp8Depacketizer, [b"\x10" + VP8_KEY[:8]]),
        (Vp9Depacketizer, [b"\x0c" + VP9_INTER, b"\x80"]),
        (Vp9Depacketizer, [b"\x0c" + VP9_INTER, b"\x04" + VP9_INTER]),
        (Vp9Depacketizer, [b"\x08" + VP9_INTER, b"\x0c" + VP9_INTER]),
        (Vp9Depacketizer, [b"\x0c" + VP9_INTER, b"\x0c" + VP9_INTER]),
        (Vp9Depacketizer, [b"\x28\x00\x00" + VP9_INTER, b"\x24\x02\x00" + VP9_INTER]),
        (Vp9Depacketizer, [b"\x0cabc"]),
        (Vp9Depacketizer, [b"\x5c\x01\x01\x01\x00" + VP9_INTER]),
    ],
    ids=[
        "vp8 cut off",
        "vp8 two beginnings",
        "vp8 key frame without code",
        "vp8 key frame too short",
        "vp9 cut off",
        "vp9 behind the end",
        "vp9 two beginnings",
        "vp9 layer twice",
        "vp9 layer changes inside",
        "vp9 no frame",
        "vp9 too many references",
    ],
)
def test_malformed_packets_cost_their_frame_are_counted_and_nothing_else(
    depacketizer: type[PictureDepacketizer], payloads: list[bytes]
) -> None:
    source = Source()
    good = b"\x10" + VP8_INTER if depacketizer is Vp8Depacketizer else b"\x0c" + VP9_INTER
    under_test = depacketizer()
    out = feed(under_test, source.picture(good) + source.picture(*payloads) + source.picture(good))
    assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit]
    assert out[1] == Spoiled(2, 1 + len(payloads), 6000, "incomplete")
    assert under_test.malformed == 1


def test_a_vp9_frame_without_its_end_is_incomplete() -> None:
    source = Source()
    packets = source.picture(*vp9(VP9_INTER)) + source.picture(b"\x08" + VP9_INTER) + source.picture(*vp9(VP9_INTER))
    assert [type(o) for o in feed(Vp9Depacketizer(), packets)] == [AccessUnit, Spoiled, AccessUnit]
