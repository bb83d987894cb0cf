"""RTP packets (RFC 3550 §5.1): what the receive path needs of their headers. Pure."""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from rokuga.errors import RokugaError

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_PLAIN = 0x80
"""first byte of a packet of version 2 without padding, extension and contributing sources"""
_ONE_BYTE, _TWO_BYTE, _TWO_BYTE_MASK = 0xBEDE, 0x1000, 0xFFF0
_PADDING, _STOP = 0, 15
_TURN_MASK = 7
"""Rotation (two bits) and flip of the byte that TS 26.114 §7.4.5 defines. Which camera it is has no use here."""
NOT_TOLD = -1


class MalformedPacket(RokugaError):
    """A packet contradicts its own format: it is dropped and counted, never guessed at."""


class RtpPacket(NamedTuple):
    """One packet without padding and header extensions. ``sequence`` has 16 bits, ``timestamp`` 32 (clock rate units).

    ``orientation`` is its picture's, as in the journal's Frame; NOT_TOLD in nearly all.
    """

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    orientation: int = NOT_TOLD


def is_rtcp(data: bytes | memoryview) -> bool:
    """Whether a packet of a muxed transport is RTCP (RFC 5761 §4); ``data`` holds at least 2 bytes."""
    return 192 <= data[1] <= 223


def parse(data: bytes, orientation_ids: Mapping[int, int] | None = None) -> RtpPacket:
    """Read one packet. ``orientation_ids``: SSRC → number of the header extension urn:3gpp:video-orientation. Raises MalformedPacket."""
    if len(data) < 12:
        raise MalformedPacket("RTP header cut off")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first == _PLAIN:
        payload, orientation = data[12:], NOT_TOLD
    else:
        number = orientation_ids.get(ssrc, 0) if orientation_ids else 0
        payload, orientation = _unwrapped(data, first, number)
    # As RtpPacket(...) does it, without the Python function in between.
    return tuple.__new__(RtpPacket, (ssrc, second & 0x7F, sequence, timestamp, second >= 0x80, payload, orientation))


def _unwrapped(data: bytes, first: int, orientation_id: int) -> tuple[bytes, int]:
    """What is behind contributing sources and header extension, and in front of padding; and the orientation, if told."""
    if first >> 6 != 2:
        raise MalformedPacket("not RTP version 2")
    orientation = NOT_TOLD
    start, end = 12 + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if end < start + 4:
            raise MalformedPacket("RTP header extension cut off")
        profile, words = _EXTENSION.unpack_from(data, start)
        block, start = start + 4, start + 4 + 4 * words
        told = extension(profile, data[block:start], orientation_id) if orientation_id else None
        if told:
            orientation = told[0] & _TURN_MASK
    if first & 0x20:
        end -= data[-1]
        if data[-1] == 0:
            raise MalformedPacket("RTP padding of no length")
    if start > end:
        raise MalformedPacket("RTP header or padding longer than the packet")
    return data[start:end], orientation


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
