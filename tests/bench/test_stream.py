"""What the users of the benches send, packet by packet."""

import struct
from dataclasses import dataclass, field, replace

from aiortc.codecs.h264 import h264_depayload
from aiortc.rtp import HeaderExtensionsMap, RtcpByePacket, RtcpPacket, RtcpSdesPacket, RtcpSrPacket, RtpPacket, unwrap_rtx
from bench.stream import HISTORY, Line, Stream

from rokuga.publish import Clip, Unit
from rokuga.publish.clip import nal_units

ZERO = 1000.0
UTC_NS = 1_700_000_000_250_000_000
LINE = Line(kind="video", ssrc=7, rtx_ssrc=8, payload_type=100, rtx_type=101, mid="1", mid_id=1, cname="somebody")
SMALL = (
    b"\x00\x00\x00\x01" + bytes([0x67, 2, 3]) + b"\x00\x00\x00\x01" + bytes([0x68, 4]) + b"\x00\x00\x00\x01" + bytes([0x65]) + b"key" * 30
)
LARGE = b"\x00\x00\x00\x01" + bytes([0x41]) + b"picture." * 500
CLIP = Clip(
    seconds=0.2,
    video=(Unit(0, SMALL, True), Unit(6000, LARGE, False), Unit(12000, LARGE, False)),
    audio=tuple(Unit(n * 960, bytes([n + 1]) * 100) for n in range(10)),
)


@dataclass
class Wire:
    """Everything that was sent, in order."""

    sent: list[bytes] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)

    def rtp(self, packets: list[bytes]) -> None:
        self.sent += packets

    def rtcp(self, packet: bytes) -> None:
        self.reports.append(packet)

    @property
    def packets(self) -> list[RtpPacket]:
        return [RtpPacket.parse(data, HeaderExtensionsMap()) for data in self.sent]


def run(stream: Stream, until: float, begin: float = 0.0) -> None:
    """To that time of the clip, 10 ms at a time."""
    for tick in range(round(begin * 100), round(until * 100) + 1):
        stream.send_due(ZERO + tick / 100, UTC_NS + tick * 10_000_000)


def pictures(packets: list[RtpPacket]) -> list[tuple[int, list[bytes]]]:
    """RTP time and NAL units of each."""
    found, data = [], b""
    for packet in packets:
        data += h264_depayload(packet.payload)
        if packet.marker:
            found.append((packet.timestamp, list(nal_units(data))))
            data = b""
    assert not data, "a picture without an end"
    return found


def test_all_units_go_in_order_round_after_round() -> None:
    wire = Wire()
    run(Stream(LINE, CLIP, wire, ZERO), 0.5)
    packets = wire.packets
    assert {(p.payload_type, p.ssrc) for p in packets} == {(100, 7)}
    assert [p.sequence_number for p in packets] == [packets[0].sequence_number + n & 0xFFFF for n in range(len(packets))]
    got = pictures(packets)
    assert [nals for _, nals in got] == [list(nal_units(data)) for data in (SMALL, LARGE, LARGE) * 2 + (SMALL, LARGE)]
    times = [time - got[0][0] & 0xFFFFFFFF for time, _ in got]
    assert times == [0, 6000, 12000, 18000, 24000, 30000, 36000, 42000]


def test_nothing_goes_before_its_time() -> None:
    wire = Wire()
    stream = Stream(replace(LINE, kind="audio"), CLIP, wire, ZERO)
    stream.send_due(ZERO - 0.001, UTC_NS)
    assert wire.sent == []
    stream.send_due(ZERO + 0.0399, UTC_NS)
    assert [p.payload[0] for p in wire.packets] == [1, 2]
    assert stream.due == ZERO + 0.04


def test_a_late_stream_begins_with_a_keyframe_and_so_does_one_after_a_pause() -> None:
    wire, paused, sent = Wire(), False, list[Unit]()
    stream = Stream(LINE, CLIP, wire, ZERO, 0.05, lambda: paused, sent)
    run(stream, 0.3)
    paused = True
    run(stream, 0.5, 0.31)
    paused = False
    run(stream, 0.61, 0.51)
    assert [unit.pts for unit in sent] == [18_000, 24_000, 54_000]
    assert [unit.key for unit in sent] == [True, False, True]
    assert len(pictures(wire.packets)) == 3


def test_the_mid_is_said_in_each_packet() -> None:
    wire = Wire()
    run(Stream(LINE, CLIP, wire, ZERO), 0.2)
    assert all(data[:1] == b"\x90" and data[12:20] == b"\xbe\xde\x00\x01\x101\x00\x00" for data in wire.sent)
    without = Wire()
    run(Stream(replace(LINE, mid_id=0), CLIP, without, ZERO), 0.2)
    assert [p.payload for p in without.packets] == [p.payload for p in wire.packets]
    assert all(data[:1] == b"\x80" for data in without.sent)


def test_reports_hold_one_instant_in_both_clocks() -> None:
    """Sound and picture of a clip are in step by them, within a tick of the slower clock."""
    begins = []
    for line, rate in ((replace(LINE, kind="audio"), 48_000), (LINE, 90_000)):
        wire = Wire()
        run(Stream(line, CLIP, wire, ZERO), 10)
        origin = wire.packets[0].timestamp
        assert 6 <= len(wire.reports) <= 20
        for data in wire.reports:
            report, description = RtcpPacket.parse(data)
            assert isinstance(report, RtcpSrPacket)
            assert isinstance(description, RtcpSdesPacket)
            assert (report.ssrc, description.chunks[0].ssrc, description.chunks[0].items) == (7, 7, [(1, b"somebody")])
            info = report.sender_info
            wall = (info.ntp_timestamp >> 32) - 2_208_988_800 + (info.ntp_timestamp & 0xFFFFFFFF) / 2**32
            begins.append(wall - (info.rtp_timestamp - origin & 0xFFFFFFFF) / rate)
        last = RtcpPacket.parse(wire.reports[-1])[0]
        assert isinstance(last, RtcpSrPacket)
        assert 0 < last.sender_info.packet_count <= len(wire.sent)
        assert 0 < last.sender_info.octet_count <= sum(len(p.payload) for p in wire.packets)
    assert all(abs(begin - UTC_NS / 1e9) < 0.0001 for begin in begins)


def test_what_was_lost_is_sent_again() -> None:
    wire = Wire()
    stream = Stream(LINE, CLIP, wire, ZERO)
    run(stream, 0.2)
    before = wire.packets
    stream.lost([before[1].sequence_number, before[0].sequence_number - 1 & 0xFFFF, before[3].sequence_number])
    again = wire.packets[len(before) :]
    assert [(p.ssrc, p.payload_type) for p in again] == [(8, 101)] * 2
    assert again[1].sequence_number == again[0].sequence_number + 1 & 0xFFFF
    assert [bytes(unwrap_rtx(p, payload_type=100, ssrc=7).serialize()) for p in again] == [bytes(before[n].serialize()) for n in (1, 3)]


def test_without_rtx_it_is_sent_as_it_was_and_what_is_old_is_forgotten() -> None:
    wire = Wire()
    stream = Stream(replace(LINE, kind="audio", rtx_type=None), CLIP, wire, ZERO)
    run(stream, 3)
    sent = [*wire.sent]
    numbers = [p.sequence_number for p in wire.packets]
    stream.lost([numbers[-HISTORY - 1], numbers[-HISTORY], numbers[-1]])
    assert wire.sent[len(sent) :] == [sent[-HISTORY], sent[-1]]


def test_the_end_is_said() -> None:
    wire = Wire()
    Stream(LINE, CLIP, wire, ZERO).bye()
    (packet,) = RtcpPacket.parse(wire.reports[0])
    assert isinstance(packet, RtcpByePacket)
    assert packet.sources == [7]
    assert struct.unpack("!BBHI", wire.reports[0]) == (0x81, 203, 1, 7)
