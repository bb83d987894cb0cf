"""RTCP as a receiver needs it (RFC 3550 §6, RFC 4585 §6): reports, NACK, PLI; and sender reports in. Pure."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NTP_UNIX_SECONDS = 2_208_988_800
"""from 1900-01-01 to 1970-01-01"""

CLAIMED_RTT_SECONDS = 0.9
"""How much round-trip time our receiver reports claim on top of the true one. It is not true, on purpose.

Janus keeps no packet for retransmission until the reports give it a round-trip time of at least 1 ms, and then keeps
RTT + 100 ms, 1000 ms at most. On one machine or a fast network the true time is below 1 ms, so every NACK would be ignored
for ever; with 0.9 s Janus keeps the most that it can from the first report on. A recorder can afford to wait for it.
"""
_CLAIM = int(CLAIMED_RTT_SECONDS * 65536)


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The middle 32 bits of the NTP time in a sender report, which is what LSR echoes."""

    ssrc: int
    ntp_middle: int
    rtp_time: int


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What we tell about one source. ``lsr`` and ``dlsr`` as on the wire (units of 1/65536 s); jitter is of no use to Janus."""

    ssrc: int
    fraction_lost: int
    lost: int
    highest_sequence: int
    lsr: int
    dlsr: int


def first_lsr(utc_ns: int) -> int:
    """LSR of the first report, before any sender report came: our wall clock minus the claimed round trip (DLSR is 0)."""
    ntp = (utc_ns // 1_000_000_000 + _NTP_UNIX_SECONDS) * 65536 + utc_ns % 1_000_000_000 * 65536 // 1_000_000_000
    return (ntp - _CLAIM) & 0xFFFFFFFF


def later_lsr(report: SenderReport) -> int:
    """LSR that answers a sender report, moved back by the claimed round trip."""
    return (report.ntp_middle - _CLAIM) & 0xFFFFFFFF


def dlsr(elapsed_ns: int) -> int:
    """Delay since the last sender report in units of 1/65536 s."""
    return min(max(elapsed_ns, 0) * 65536 // 1_000_000_000, 0xFFFFFFFF)


def receiver_report(sender_ssrc: int, blocks: Iterable[ReportBlock]) -> bytes:
    """A receiver report with at most 31 blocks."""
    body = bytearray()
    count = 0
    for b in blocks:
        lost = min(max(b.lost, 0), 0x7FFFFF)
        body += struct.pack("!IIIIII", b.ssrc, b.fraction_lost << 24 | lost, b.highest_sequence & 0xFFFFFFFF, 0, b.lsr, b.dlsr)
        count += 1
    return struct.pack("!BBHI", 0x80 | count, 201, 1 + 6 * count, sender_ssrc) + bytes(body)


def nack(sender_ssrc: int, media_ssrc: int, sequences: Iterable[int]) -> bytes:
    """A generic NACK for these 16-bit sequence numbers, given in sending order (RFC 4585 §6.2.1); empty without any."""
    items: list[tuple[int, int]] = []
    for sequence in sequences:
        if items:
            pid, mask = items[-1]
            ahead = (sequence - pid) & 0xFFFF
            if 1 <= ahead <= 16:
                items[-1] = (pid, mask | 1 << (ahead - 1))
                continue
        items.append((sequence, 0))
    if not items:
        return b""
    body = b"".join(struct.pack("!HH", pid, mask) for pid, mask in items)
    return struct.pack("!BBHII", 0x81, 205, 2 + len(items), sender_ssrc, media_ssrc) + body


def pli(sender_ssrc: int, media_ssrc: int) -> bytes:
    """A picture loss indication (RFC 4585 §6.3.1): please send a keyframe."""
    return struct.pack("!BBHII", 0x81, 206, 2, sender_ssrc, media_ssrc)


def sender_reports(data: bytes) -> Iterator[SenderReport]:
    """The sender reports in a compound packet; reading stops at the first part that is cut off."""
    at = 0
    while len(data) - at >= 4:
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            return
        if kind == 200 and words >= 6:
            ssrc, seconds, fraction, rtp_time = struct.unpack_from("!IIII", data, at + 4)
            yield SenderReport(ssrc, (seconds & 0xFFFF) << 16 | fraction >> 16, rtp_time)
        at = end
