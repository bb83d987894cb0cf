"""RTP packets (RFC 3550 §5.1): what the receive path needs of their headers. Pure."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from rokuga.errors import RokugaError

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_ONE_BYTE, _TWO_BYTE, _TWO_BYTE_MASK = 0xBEDE, 0x1000, 0xFFF0
_PADDING, _STOP = 0, 15
MARKER = 1
ORIENTED = 16
ORIENTATION_SHIFT = 1
ORIENTATION_MASK = 7
"""Rotation (two bits) and flip of the byte that TS 26.114 §7.4.5 defines. Which camera it is has no use here."""


class MalformedPacket(RokugaError):
    """A packet contradicts its own format: it is dropped and counted, never guessed at."""


@dataclass(slots=True)
class RtpPacket:
    """One packet without padding and header extensions. ``sequence`` has 16 bits, ``timestamp`` 32 (clock rate units).

    ``marker`` is MARKER or 0; in a packet that tells its picture's orientation it has ORIENTED, too, and that orientation (as in the
    journal's Frame) at ORIENTATION_SHIFT. So the few packets that tell it need no field in all the others.
    """

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    marker: int
    payload: bytes


def is_rtcp(data: bytes) -> bool:
    """Whether a packet of a muxed transport is RTCP (RFC 5761 §4); ``data`` holds at least 2 bytes."""
    return 192 <= data[1] <= 223


def parse(data: bytes, orientation_ids: Mapping[int, int] | None = None) -> RtpPacket:
    """Read one packet. ``orientation_ids``: SSRC → number of the header extension urn:3gpp:video-orientation. Raises MalformedPacket."""
    size = len(data)
    if size < 12:
        raise MalformedPacket("RTP header cut off")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise MalformedPacket("not RTP version 2")
    marker = second >> 7
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if size < start + 4:
            raise MalformedPacket("RTP header extension cut off")
        profile, words = _EXTENSION.unpack_from(data, start)
        block, start = start + 4, start + 4 + 4 * words
        if orientation_ids and ssrc in orientation_ids:
            told = extension(profile, data[block:start], orientation_ids[ssrc])
            if told:
                marker |= ORIENTED | (told[0] & ORIENTATION_MASK) << ORIENTATION_SHIFT
    end = size
    if first & 0x20:
        end -= data[-1]
        if data[-1] == 0:
            raise MalformedPacket("RTP padding of no length")
    if start > end:
        raise MalformedPacket("RTP header or padding longer than the packet")
    return RtpPacket(ssrc, second & 0x7F, sequence, timestamp, marker, data[start:end])


def extension(profile: int, block: bytes, number: int) -> bytes | None:
    """The first element of that number in a header extension (RFC 8285 §4.2, §4.3); None if there is none, or only a part of it."""
    two_byte = profile & _TWO_BYTE_MASK == _TWO_BYTE
    if not two_byte and profile != _ONE_BYTE:
        return None
    at = 0
    while at < len(block):
        head = block[at]
        at += 1
        if head == _PADDING:
            continue
        if two_byte:
            found, size = head, block[at] if at < len(block) else 0
            at += 1
        else:
            found, size = head >> 4, (head & 0x0F) + 1
            if found in (_PADDING, _STOP):
                return None
        if found == number:
            return block[at : at + size] if at + size <= len(block) else None
        at += size
    return None
