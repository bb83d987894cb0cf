"""RTP and RTCP on the wire."""

import struct

import pytest
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRrPacket, RtcpRtpfbPacket, RtcpSenderInfo, RtcpSrPacket, pack_header_extensions
from aiortc.rtp import RtpPacket as Reference
from hypothesis import given
from hypothesis import strategies as st

from rokuga.capture import rtcp
from rokuga.capture.rtp import NOT_TOLD, MalformedPacket, extension, is_rtcp, parse

EXTENSION = b"\x90\x60\x00\x07\x00\x00\x00\x09\x00\x00\x00\x05\xbe\xde\x00\x01\x10\xff\x00\x00payload"


def test_header_fields_and_payload() -> None:
    reference = Reference(payload_type=107, marker=1, sequence_number=65535, timestamp=4_000_000_000, ssrc=77, payload=b"abc")
    packet = parse(reference.serialize())
    assert (packet.payload_type, packet.marker, packet.sequence, packet.timestamp, packet.ssrc) == (107, True, 65535, 4_000_000_000, 77)
    assert packet.payload == b"abc"


def test_extensions_sources_and_padding_are_not_payload() -> None:
    assert parse(EXTENSION).payload == b"payload"
    sources = bytes([0x82]) + EXTENSION[1:12] + b"\0" * 8 + b"payload"
    assert parse(sources).payload == b"payload"
    padded = bytes([0xB0]) + EXTENSION[1:] + b"\0\0\3"
    assert parse(padded).payload == b"payload"
    probe = bytes([0xA0]) + EXTENSION[1:12] + b"\0" * 254 + b"\xff"
    assert parse(probe).payload == b""


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80" * 11, b"\x40" + bytes(11), b"\x90" + bytes(11), b"\x8f" + bytes(11), b"\xa0" + bytes(11), b"\xa0" + bytes(11) + b"\x02"],
    ids=["empty", "short", "version", "extension", "sources", "padding of none", "padding beyond"],
)
def test_what_contradicts_itself_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse(data)


ONE_BYTE, TWO_BYTE = 0xBEDE, 0x1000
elements = st.lists(st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)), max_size=6)


@given(elements, st.sampled_from([ONE_BYTE, TWO_BYTE, TWO_BYTE | 5]), st.integers(1, 14), st.data())
def test_an_extension_is_found_among_others(sent: list[tuple[int, bytes]], profile: int, number: int, data: st.DataObject) -> None:
    block = b""
    for found, value in sent:
        head = bytes((found << 4 | len(value) - 1,)) if profile == ONE_BYTE else bytes((found, len(value)))
        block += bytes(data.draw(st.integers(0, 3))) + head + value
    assert extension(profile, block, number) == next((value for found, value in sent if found == number), None)


def test_extensions_as_another_implementation_writes_them() -> None:
    for values in ([(3, b"\x05")], [(1, b"mid"), (3, b"\x06")], [(20, b"x" * 17), (3, b"\x07"), (2, b"")]):
        profile, block = pack_header_extensions(values)
        assert extension(profile, block, 3) == values[-1 if values[-1][0] == 3 else 1][1]
        assert extension(profile, block, 4) is None


@pytest.mark.parametrize(
    ("profile", "block"),
    [
        (ONE_BYTE, b"\x31\x05"),
        (ONE_BYTE, b"\xf0\x00\x30\x05"),
        (ONE_BYTE, b"\x01\x00\x00\x30\x05"),
        (TWO_BYTE, b"\x03"),
        (TWO_BYTE, b"\x03\x02\x05"),
        (0x2000, b"\x30\x05\x00\x00"),
        (ONE_BYTE, b""),
    ],
    ids=["cut off", "behind number 15", "behind padding with a length", "no length", "cut off", "of another kind", "empty"],
)
def test_extensions_that_are_none_are_not_guessed_at(profile: int, block: bytes) -> None:
    assert extension(profile, block, 3) is None


@given(st.integers(0, 65535), st.binary(max_size=60), st.integers(1, 255))
def test_any_extension_block_is_read(profile: int, block: bytes, number: int) -> None:
    found = extension(profile, block, number)
    assert found is None or found in block


def test_the_orientation_is_read_where_the_offer_has_a_number_for_it() -> None:
    def packet(profile: int, block: bytes, marker: int) -> bytes:
        head = bytes((0x90, marker << 7 | 96)) + bytes(6) + (77).to_bytes(4, "big")
        return head + struct.pack("!HH", profile, len(block) // 4) + block + b"payload"

    for byte in range(16):
        for marker in (False, True):
            for profile, block in ((ONE_BYTE, bytes((0x10, 0xFF, 0x30, byte))), (TWO_BYTE, bytes((3, 1, byte, 0)))):
                data = packet(profile, block, marker)
                told = parse(data, {77: 3})
                assert (told.marker, told.payload) == (marker, b"payload")
                assert told.orientation == byte & 7, "the camera bit is left out"
                assert [parse(data, ids).orientation for ids in (None, {}, {78: 3}, {77: 4})] == [NOT_TOLD] * 4
    assert parse(EXTENSION, {5: 1}).orientation == 7
    with pytest.raises(MalformedPacket):
        parse(EXTENSION[:-9], {5: 1})


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        packet = parse(data)
    except MalformedPacket:
        return
    assert data.endswith(packet.payload) or data[0] & 0x20


def test_rtcp_is_told_from_rtp() -> None:
    assert is_rtcp(rtcp.pli(1, 2))
    assert not is_rtcp(Reference(payload_type=96, marker=1).serialize())


def test_receiver_report_as_another_implementation_reads_it() -> None:
    block = rtcp.ReportBlock(ssrc=9, fraction_lost=64, lost=300, highest_sequence=65536 + 7, lsr=123, dlsr=456)
    (report,) = RtcpPacket.parse(rtcp.receiver_report(5, [block]))
    assert isinstance(report, RtcpRrPacket)
    assert report.ssrc == 5
    (seen,) = report.reports
    assert (seen.ssrc, seen.fraction_lost, seen.packets_lost, seen.highest_sequence) == (9, 64, 300, 65543)
    assert (seen.lsr, seen.dlsr) == (123, 456)


@given(st.lists(st.integers(0, 300), unique=True, min_size=1).map(sorted), st.integers(0, 65535))
def test_nack_names_exactly_the_missing(offsets: list[int], start: int) -> None:
    missing = [(start + o) & 0xFFFF for o in offsets]
    (feedback,) = RtcpPacket.parse(rtcp.nack(5, 9, missing))
    assert isinstance(feedback, RtcpRtpfbPacket)
    assert (feedback.fmt, feedback.ssrc, feedback.media_ssrc) == (1, 5, 9)
    assert sorted(s & 0xFFFF for s in feedback.lost) == sorted(missing)


def test_nothing_missing_needs_no_nack() -> None:
    assert rtcp.nack(5, 9, []) == b""


def test_pli() -> None:
    (feedback,) = RtcpPacket.parse(rtcp.pli(5, 9))
    assert isinstance(feedback, RtcpPsfbPacket)
    assert (feedback.fmt, feedback.ssrc, feedback.media_ssrc) == (1, 5, 9)


def test_sender_reports_are_found_in_a_compound_packet() -> None:
    info = RtcpSenderInfo(ntp_timestamp=0x1111_2222_3333_4444, rtp_timestamp=90_000, packet_count=1, octet_count=2)
    data = rtcp.pli(1, 2) + bytes(RtcpSrPacket(ssrc=8, sender_info=info))
    assert list(rtcp.sender_reports(data)) == [rtcp.SenderReport(8, 0x2222_3333, 90_000)]
    assert list(rtcp.sender_reports(data[:-1])) == []


def round_trip(lsr: int, dlsr: int, now_ntp_middle: int) -> float:
    """What the sender computes (RFC 3550 §6.4.1), in seconds."""
    return ((now_ntp_middle - lsr - dlsr) & 0xFFFFFFFF) / 65536


def test_the_first_report_claims_the_round_trip_that_makes_janus_keep_packets() -> None:
    utc_ns = 1_790_000_000_500_000_000
    middle = ((utc_ns // 10**9 + 2_208_988_800) << 16 | 1 << 15) & 0xFFFFFFFF
    assert round_trip(rtcp.first_lsr(utc_ns), 0, middle) == pytest.approx(0.9, abs=0.001)


@given(st.integers(0, 2**32 - 1), st.floats(0, 10))
def test_later_reports_claim_it_on_top_of_the_true_one(sent: int, waited: float) -> None:
    report = rtcp.SenderReport(8, sent, 0)
    now = (sent + round(waited * 65536)) & 0xFFFFFFFF
    assert round_trip(rtcp.later_lsr(report), rtcp.dlsr(round(waited * 1e9)), now) == pytest.approx(0.9, abs=0.001)


def test_pli_layout() -> None:
    assert struct.unpack("!BBHII", rtcp.pli(1, 2)) == (0x81, 206, 2, 1, 2)
