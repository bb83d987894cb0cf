"""RTP packets (RFC 3550 §5.1): what the receive path needs of their headers. Pure."""

import struct
from typing import NamedTuple

from rokuga.errors import RokugaError

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_PLAIN = 0x80
"""first byte of a packet of version 2 without padding, extension and contributing sources"""


class MalformedPacket(RokugaError):
    """A packet contradicts its own format: it is dropped and counted, never guessed at."""


class RtpPacket(NamedTuple):
    """One packet without padding and header extensions. ``sequence`` has 16 bits, ``timestamp`` 32 (clock rate units)."""

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes


def is_rtcp(data: bytes | memoryview) -> bool:
    """Whether a packet of a muxed transport is RTCP (RFC 5761 §4); ``data`` holds at least 2 bytes."""
    return 192 <= data[1] <= 223


def parse(data: bytes) -> RtpPacket:
    """Read one packet. Raises MalformedPacket."""
    if len(data) < 12:
        raise MalformedPacket("RTP header cut off")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    payload = data[12:] if first == _PLAIN else _payload(data, first)
    # As RtpPacket(...) does it, without the Python function in between.
    return tuple.__new__(RtpPacket, (ssrc, second & 0x7F, sequence, timestamp, second >= 0x80, payload))


def _payload(data: bytes, first: int) -> bytes:
    """What is behind contributing sources and header extension, and in front of padding."""
    if first >> 6 != 2:
        raise MalformedPacket("not RTP version 2")
    start, end = 12 + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if end < start + 4:
            raise MalformedPacket("RTP header extension cut off")
        start += 4 + 4 * _EXTENSION.unpack_from(data, start)[1]
    if first & 0x20:
        end -= data[-1]
        if data[-1] == 0:
            raise MalformedPacket("RTP padding of no length")
    if start > end:
        raise MalformedPacket("RTP header or padding longer than the packet")
    return data[start:end]
