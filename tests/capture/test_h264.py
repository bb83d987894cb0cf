"""H.264 access units from packets: the forms of RFC 6184, and what losses do to them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rokuga.capture.buffer import Lost, Packet
from rokuga.capture.depacketize import AccessUnit, AudioDepacketizer, Spoiled
from rokuga.capture.h264 import START_CODE, H264Depacketizer
from tests.capture.packets import Source, feed

AUD = b"\x09\xf0"
SPS, PPS, SEI = b"\x67sps", b"\x68pps", b"\x06sei"
IDR = b"\x65\x88" + b"i" * 50
SLICE = b"\x41\x9a" + b"p" * 50
SECOND_SLICE = b"\x41\x01" + b"q" * 30
"""first_mb_in_slice is not 0"""


def annex_b(*units: bytes) -> bytes:
    return b"".join(START_CODE + u for u in units)


def stap(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(u).to_bytes(2, "big") + u for u in units)


def fragments(unit: bytes, size: int = 20) -> list[bytes]:
    head, rest = unit[0], unit[1:]
    parts = [rest[at : at + size] for at in range(0, len(rest), size)]
    return [
        bytes((head & 0xE0 | 28, (head & 0x1F) | (0x80 if n == 0 else 0) | (0x40 if n == len(parts) - 1 else 0))) + part
        for n, part in enumerate(parts)
    ]


def test_single_units_aggregates_and_fragments_make_the_same_picture() -> None:
    whole = annex_b(SPS, PPS, IDR)
    reserved = [bytes((part[0], part[1] | 0x20)) + part[2:] for part in fragments(IDR)]
    forms = [[SPS, PPS, IDR], [stap(SPS, PPS), IDR], [stap(SPS, PPS), *fragments(IDR)], [SPS, PPS, *reserved], [stap(SPS, PPS, IDR)]]
    for form in forms:
        packets = Source().picture(*form)
        (unit,) = feed(H264Depacketizer(), packets)
        assert unit == AccessUnit(3000, packets[0].arrival_ns, packets[-1].arrival_ns, True, whole)


def test_pictures_of_several_slices_and_their_kinds() -> None:
    source = Source()
    packets = source.picture(AUD, SPS, PPS, IDR, IDR) + source.picture(AUD, SLICE, SECOND_SLICE) + source.picture(SLICE)
    units = feed(H264Depacketizer(), packets)
    assert [(u.rtp_time, u.keyframe, u.data) for u in units if isinstance(u, AccessUnit)] == [
        (3000, True, annex_b(AUD, SPS, PPS, IDR, IDR)),
        (6000, False, annex_b(AUD, SLICE, SECOND_SLICE)),
        (9000, False, annex_b(SLICE)),
    ]


def test_a_new_timestamp_ends_a_picture_without_marker() -> None:
    source = Source()
    packets = source.picture(SLICE, marker=False) + source.picture(SLICE)
    assert [u.rtp_time for u in feed(H264Depacketizer(), packets) if isinstance(u, AccessUnit)] == [3000, 6000]


def test_arrivals_are_the_earliest_and_the_latest_packet() -> None:
    packets = Source().picture(SPS, *fragments(IDR))
    late = Packet(packets[0].sequence, packets[0].rtp_time, False, packets[0].payload, 10**9)
    (unit,) = feed(H264Depacketizer(), [late, *packets[1:]])
    assert isinstance(unit, AccessUnit)
    assert (unit.first_arrival_ns, unit.last_arrival_ns) == (packets[1].arrival_ns, 10**9)


def test_a_missing_fragment_costs_its_picture_and_no_other() -> None:
    source = Source()
    first, second, third = source.picture(SLICE), source.picture(*fragments(SLICE)), source.picture(SLICE)
    for lost in second[:-1]:
        out = feed(H264Depacketizer(), first + second + third, {lost.sequence})
        assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit]
        assert out[1] == Spoiled(lost.sequence, lost.sequence, 6000, "repair-failed", 3)


def test_a_missing_end_costs_the_picture_and_the_next_when_that_may_lack_its_beginning() -> None:
    source = Source()
    first, second, third = source.picture(*fragments(SLICE)), source.picture(SECOND_SLICE), source.picture(SLICE)
    out = feed(H264Depacketizer(), first + second + third, {first[-1].sequence})
    assert [o.rtp_time for o in out if isinstance(o, Spoiled)] == [3000, 6000]
    assert [o.rtp_time for o in out if isinstance(o, AccessUnit)] == [9000]


def test_whole_pictures_missing_spoil_none_that_evidently_begins_after_them() -> None:
    source = Source()
    first, gone, key = source.picture(SLICE), source.picture(SLICE), source.picture(stap(SPS, PPS), *fragments(IDR))
    out = feed(H264Depacketizer(), first + gone + key, {gone[0].sequence})
    assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit]
    assert out[1] == Spoiled(2, 2, -1, "repair-failed", 3)


def test_an_idr_slice_behind_a_hole_may_have_lost_its_parameter_sets() -> None:
    source = Source()
    first, key = source.picture(SLICE), source.picture(stap(SPS, PPS), IDR)
    out = feed(H264Depacketizer(), first + key, {key[0].sequence})
    assert [type(o) for o in out] == [AccessUnit, Spoiled]
    assert out[1] == Spoiled(2, 2, 6000, "repair-failed", 3)


def test_a_lost_delimiter_costs_no_picture() -> None:
    source = Source()
    first, second = source.picture(AUD, SLICE), source.picture(AUD, SLICE)
    out = feed(H264Depacketizer(), first + second, {second[0].sequence})
    assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit]
    assert isinstance(out[2], AccessUnit)
    assert out[2].data == annex_b(SLICE)


def test_two_holes_around_a_probe_are_both_named() -> None:
    """A probe between them leaves no packet: two losses follow each other."""
    depacketizer = H264Depacketizer()
    source = Source()
    assert depacketizer.lost(Lost(0, 0, 0)) == []
    assert depacketizer.lost(Lost(2, 2, 0)) == []
    out = feed(depacketizer, source.picture(SLICE))
    assert [type(o) for o in out] == [Spoiled, Spoiled, AccessUnit]


def test_the_rest_of_a_picture_that_began_before_us_is_nothing() -> None:
    source = Source()
    rest, next_one = source.picture(*fragments(IDR)[1:]), source.picture(SLICE)
    depacketizer = H264Depacketizer()
    assert [o.rtp_time for o in feed(depacketizer, rest + next_one) if isinstance(o, AccessUnit)] == [6000]
    assert depacketizer.malformed == 0
    assert len(feed(H264Depacketizer(), source.picture(SECOND_SLICE) + source.picture(SLICE))) == 1


def test_malformed_packets_cost_their_picture_are_counted_and_nothing_else() -> None:
    bad = [
        b"\x78",
        b"\x78\x00\x09ab",
        b"\x78\x00\x00",
        b"\x7c",
        b"\x7c\x85",
        b"\x7c\x05abc",
        b"\x7c\xc5abc",
        b"\x79abc",
        b"\x60abc",
        b"\x7f",
    ]
    for payload in bad:
        depacketizer = H264Depacketizer()
        source = Source()
        out = feed(depacketizer, source.picture(SLICE) + source.picture(SPS, payload, IDR) + source.picture(SLICE))
        assert [type(o) for o in out] == [AccessUnit, Spoiled, AccessUnit], payload
        assert out[1] == Spoiled(2, 4, 6000, "incomplete")
        assert depacketizer.malformed == 1


def test_a_fragmented_unit_without_end_is_incomplete() -> None:
    source = Source()
    out = feed(H264Depacketizer(), source.picture(SPS, fragments(IDR)[0]) + source.picture(SLICE))
    assert [type(o) for o in out] == [Spoiled, AccessUnit]


def test_a_picture_larger_than_any_is_refused() -> None:
    depacketizer = H264Depacketizer()
    source = Source()
    huge = fragments(b"\x65" + bytes(9 * 1024 * 1024), 60_000)
    assert [type(o) for o in feed(depacketizer, source.picture(SPS, *huge))] == [Spoiled]
    assert depacketizer.malformed == 1


def test_flush_names_what_has_no_end() -> None:
    depacketizer = H264Depacketizer()
    source = Source()
    feed(depacketizer, source.picture(SLICE, marker=False))
    assert depacketizer.flush() == [Spoiled(1, 1, 3000, "incomplete")]
    depacketizer.lost(Lost(2, 3, 0))
    assert depacketizer.flush() == [Spoiled(2, 3, -1, "network", 0)]
    assert depacketizer.flush() == []


@given(st.binary(min_size=1, max_size=60))
def test_any_payload_is_taken(payload: bytes) -> None:
    depacketizer = H264Depacketizer()
    depacketizer.push(Packet(0, 0, True, SLICE, 0))
    out = depacketizer.push(Packet(1, 1, True, payload, 0))
    assert len(out) == 1


REST = [PPS, SEI, IDR, SECOND_SLICE]
"""units that do not show a beginning"""


@pytest.mark.live
@settings(max_examples=200)
@given(st.data())
def test_only_whole_pictures_come_out_and_every_spoiled_one_is_named(data: st.DataObject) -> None:
    source = Source()
    pictures: dict[int, tuple[bytes, set[int]]] = {}
    packets: list[Packet] = []
    for _ in range(data.draw(st.integers(1, 12))):
        units = [data.draw(st.sampled_from([AUD, SPS, SLICE])), *data.draw(st.lists(st.sampled_from(REST), max_size=3))]
        payloads: list[bytes] = []
        for unit in units:
            payloads += fragments(unit) if len(unit) > 20 and data.draw(st.booleans()) else [unit]
        made = source.picture(*payloads)
        packets += made
        pictures[source.time] = annex_b(*units), {p.sequence for p in made}
    missing = data.draw(st.sets(st.sampled_from([p.sequence for p in packets])))
    depacketizer = H264Depacketizer()
    out = feed(depacketizer, packets, missing) + depacketizer.flush()
    whole = {o.rtp_time: o.data for o in out if isinstance(o, AccessUnit)}
    named = {o.rtp_time for o in out if isinstance(o, Spoiled)}
    for time, (bytes_, sequences) in pictures.items():
        if sequences.isdisjoint(missing):
            assert whole[time] == bytes_  # each begins evidently, so no neighbour's loss costs it
        else:
            assert time not in whole
            assert time in named or sequences <= missing or min(sequences) in missing or max(sequences) in missing
    lost = {s for o in out if isinstance(o, Spoiled) for s in range(o.first_sequence, o.last_sequence + 1)}
    assert lost == missing


def test_audio_packets_are_frames_and_losses_are_told() -> None:
    depacketizer = AudioDepacketizer()
    assert depacketizer.push(Packet(1, 960, True, b"opus", 5)) == [AccessUnit(960, 5, 5, False, b"opus")]
    assert depacketizer.lost(Lost(2, 4, 0)) == [Spoiled(2, 4, -1, "network", 0)]
    assert depacketizer.flush() == []
