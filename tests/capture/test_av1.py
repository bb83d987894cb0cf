"""AV1 temporal units from packets: aggregation, fragments, what is added and left out, and what losses do."""

import pytest

from rokuga.capture.av1 import Av1Depacketizer, elements, leb128, read_leb128
from rokuga.capture.depacketize import AccessUnit, Spoiled
from rokuga.capture.rtp import MalformedPacket
from tests.capture.packets import Source, av1, feed, obus, units

SEQUENCE = b"\x08\x00" + b"s" * 8
STILL_SEQUENCE = b"\x08\x18" + b"s" * 8
KEY = b"\x30\x10" + b"k" * 50
INTER = b"\x30\x30" + b"p" * 50
HIDDEN = b"\x30\x20" + b"h" * 30
SHOW = b"\x18\x80"
DELIMITER = b"\x10"


def sized(*parts: bytes) -> bytes:
    """As they come out: each OBU with its size."""
    out = b""
    for part in parts:
        head = 2 if part[0] & 4 else 1
        out += bytes((part[0] | 2,)) + part[1:head] + leb128(len(part) - head) + part[head:]
    return out


@pytest.mark.parametrize(("value", "data"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300_000, b"\xe0\xa7\x12")])
def test_leb128(value: int, data: bytes) -> None:
    assert leb128(value) == data
    assert read_leb128(b"x" + data + b"y", 1) == (value, 1 + len(data))
    assert read_leb128(data[:-1] + bytes((data[-1] | 0x80, 0)), 0) == (value, len(data) + 1)  # padded
    with pytest.raises(MalformedPacket):
        read_leb128(data[:-1], 0)
    with pytest.raises(MalformedPacket):
        read_leb128(b"\x80" * 9, 0)


@pytest.mark.parametrize("counted", [True, False])
def test_obus_aggregated_and_cut_make_the_same_unit(counted: bool) -> None:
    parts = [SEQUENCE, KEY, HIDDEN, SHOW]
    for size in (*range(1, 40), 1000):
        packets = Source().picture(*av1(parts, size, counted))
        (unit,) = units(feed(Av1Depacketizer(), packets))
        assert unit == AccessUnit(3000, packets[0].arrival_ns, packets[-1].arrival_ns, True, sized(*parts)), size
        assert list(obus(unit.data)) == parts


def test_sizes_are_kept_delimiters_and_tile_lists_left_out_extensions_passed_on() -> None:
    extended = b"\x34\x08\x30" + b"e" * 20
    parts = [DELIMITER, b"\x12\x00", sized(SEQUENCE), b"\x40tiles", sized(KEY), extended, sized(extended)]
    (unit,) = units(feed(Av1Depacketizer(), Source().picture(*av1(parts, counted=False))))
    assert unit.data == sized(SEQUENCE, KEY, extended, extended)


@pytest.mark.parametrize(
    ("parts", "keyframe"),
    [
        ([SEQUENCE, KEY], True),
        ([STILL_SEQUENCE, b"\x30\xff"], True),
        ([SEQUENCE, b"\x18\x10h", b"\x20tiles"], True),
        ([KEY], False),
        ([INTER], False),
        ([SEQUENCE, INTER], False),
        ([SEQUENCE, b"\x30\x00hidden"], False),
        ([SEQUENCE, SHOW], False),
        ([HIDDEN, KEY, SEQUENCE], False),
    ],
)
def test_keyframes_are_where_a_decoder_can_begin(parts: list[bytes], keyframe: bool) -> None:
    (unit,) = units(feed(Av1Depacketizer(), Source().picture(*av1([*parts], first=True))))
    assert unit.keyframe is keyframe


def test_a_unit_is_joined_only_at_an_evident_beginning() -> None:
    source = Source()
    packets = source.picture(*av1([INTER])) + source.picture(*av1([SEQUENCE, KEY])) + source.picture(*av1([INTER]))
    assert [o.rtp_time for o in feed(Av1Depacketizer(), packets)] == [6000, 9000]
    packets = Source().picture(*av1([b"\x28metadata", KEY], first=True))
    assert len(units(feed(Av1Depacketizer(), packets))) == 1


def test_a_missing_packet_costs_its_unit_and_the_next_that_may_lack_its_beginning() -> None:
    source = Source()
    pictures = [source.picture(*av1(parts, 30)) for parts in ([SEQUENCE, KEY], [INTER], [INTER], [INTER], [SEQUENCE, KEY])]
    packets = [p for picture in pictures for p in picture]
    lost = pictures[1][0].sequence
    out = feed(Av1Depacketizer(), packets, {lost})
    assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit, AccessUnit, AccessUnit]
    assert out[1] == Spoiled(lost, lost, 6000, "repair-failed", 3)
    lost = pictures[1][-1].sequence
    out = feed(Av1Depacketizer(), packets, {lost})
    assert [o.rtp_time for o in out if isinstance(o, Spoiled)] == [6000, 9000]
    assert [u.rtp_time for u in units(out)] == [3000, 12000, 15000]
    whole = {p.sequence for p in pictures[3]}
    out = feed(Av1Depacketizer(), packets, whole)
    assert out[3] == Spoiled(min(whole), max(whole), -1, "repair-failed", 3)
    assert [u.rtp_time for u in units(out)] == [3000, 6000, 9000, 15000]


BAD = {
    "aggregation header only": b"\x10",
    "fragment of nothing": b"\x90abc",
    "announced too few": b"\x20\x05" + INTER[:5],
    "element cut off": b"\x00\x09abc",
    "empty element": b"\x00\x00",
    "size cut off": b"\x00\x80",
    "forbidden bit": b"\x10\xb0\x30",
    "extension cut off": b"\x10\x34",
    "wrong size": b"\x10\x32\x09\x30",
    "empty frame": b"\x10\x30",
    "empty sequence header": b"\x10\x08",
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_malformed_packets_cost_their_unit_are_counted_and_nothing_else(payload: bytes) -> None:
    source = Source()
    depacketizer = Av1Depacketizer()
    key = av1([SEQUENCE, KEY])
    packets = source.picture(*key) + source.picture(*av1([INTER]), payload, *av1([INTER])) + source.picture(*key)
    out = feed(depacketizer, packets)
    assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit]
    assert out[1] == Spoiled(2, 4, 6000, "incomplete")
    assert depacketizer.malformed == 1


def test_more_elements_than_announced() -> None:
    with pytest.raises(MalformedPacket):
        elements(b"\x30\x01a\x01b")
    assert elements(b"\x30\x01a\x01bc") == [b"a", b"b", b"c"]
    assert elements(b"\x00\x01a\x01b") == [b"a", b"b"]


def test_a_fragment_without_end_and_a_unit_without_frame_are_incomplete() -> None:
    source = Source()
    packets = source.picture(*av1([SEQUENCE, KEY])) + source.picture(*av1([INTER], 20)[:-1]) + source.picture(*av1([SEQUENCE]))
    assert [type(o) for o in feed(Av1Depacketizer(), packets)] == [AccessUnit, Spoiled, Spoiled]
