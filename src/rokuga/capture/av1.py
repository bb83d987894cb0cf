"""AV1 temporal units from RTP (AOMedia, "RTP Payload Format For AV1", version 1.0). Pure.

They come out as low-overhead bitstream (AV1 specification §5.2), each OBU with its size, without temporal delimiters: what
dav1d takes, one temporal unit at a time, and what MP4 and Matroska store.
"""

from rokuga.capture.picture import PictureDepacketizer
from rokuga.capture.rtp import MalformedPacket

Z, Y, N = 0x80, 0x40, 0x08
SEQUENCE_HEADER, TEMPORAL_DELIMITER, FRAME_HEADER, FRAME, TILE_LIST = 1, 2, 3, 6, 8
FORBIDDEN, HAS_EXTENSION, HAS_SIZE = 0x80, 0x04, 0x02
MAX_LEB128 = 5
"""bytes: sizes beyond 32 bits are none"""


def read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number (AV1 specification §4.10.5) and where it ends. Raises MalformedPacket."""
    value = 0
    for n, byte in enumerate(data[at : at + MAX_LEB128]):
        value |= (byte & 0x7F) << (7 * n)
        if not byte & 0x80:
            return value, at + n + 1
    raise MalformedPacket("AV1 size cut off or too large")


def leb128(value: int) -> bytes:
    """The shortest form of a number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def elements(payload: bytes) -> list[bytes]:
    """The OBUs and fragments of OBUs in a packet (§4.3, §4.4). Raises MalformedPacket."""
    count = payload[0] >> 4 & 3
    found: list[bytes] = []
    at = 1
    while at < len(payload):
        if count and len(found) == count:
            raise MalformedPacket("more AV1 OBU elements than announced")
        size = len(payload) - at
        if len(found) + 1 != count:
            size, at = read_leb128(payload, at)
        if size == 0 or at + size > len(payload):
            raise MalformedPacket("an AV1 OBU element is empty or cut off")
        found.append(payload[at : at + size])
        at += size
    if not found or (count and len(found) != count):
        raise MalformedPacket("fewer AV1 OBU elements than announced")
    return found


class Av1Depacketizer(PictureDepacketizer):
    """See PictureDepacketizer."""

    def _begins(self, payload: bytes) -> bool:
        # An inter frame may have lost one that is not shown, of the same temporal unit.
        if payload[0] & Z:
            return False
        return bool(payload[0] & N) or elements(payload)[0][0] >> 3 & 0x0F in (SEQUENCE_HEADER, TEMPORAL_DELIMITER)

    def _reset(self) -> None:
        self._part = bytearray()
        """a fragmented OBU that is under way"""
        self._still = False
        """reduced_still_picture_header of the sequence header, in which all frames are key frames"""
        self._sequence = False
        self._frames = 0

    def _add(self, payload: bytes) -> None:
        if bool(payload[0] & Z) != bool(self._part):
            raise MalformedPacket("a fragment of an AV1 OBU out of place")
        parts = elements(payload)
        for n, part in enumerate(parts):
            self._part += part
            if n == len(parts) - 1 and payload[0] & Y:
                self._limit(len(self._data) + len(self._part))
                return
            obu = bytes(self._part)
            self._part.clear()
            self._obu(obu)

    def _finish(self) -> bool:
        return not self._part and self._frames > 0

    def _obu(self, obu: bytes) -> None:
        """A whole one, with or without its size (AV1 specification §5.3)."""
        kind = obu[0] >> 3 & 0x0F
        head = 2 if obu[0] & HAS_EXTENSION else 1
        if obu[0] & FORBIDDEN or len(obu) < head:
            raise MalformedPacket("not an AV1 OBU")
        at = head
        if obu[0] & HAS_SIZE:
            size, at = read_leb128(obu, head)
            if at + size != len(obu):
                raise MalformedPacket("an AV1 OBU of another size than it says")
        if kind in (TEMPORAL_DELIMITER, TILE_LIST):
            return  # must not be sent, and be ignored if they are (§5)
        content = obu[at:]
        if kind == SEQUENCE_HEADER:
            if not content:
                raise MalformedPacket("an empty AV1 sequence header")
            self._sequence = True
            self._still = bool(content[0] & 0x08)
        elif kind in (FRAME, FRAME_HEADER):
            if not content:
                raise MalformedPacket("an empty AV1 frame")
            self._frame(content[0])
        self._data.append(obu[0] | HAS_SIZE)
        self._data += obu[1:head] + leb128(len(content)) + content

    def _frame(self, first: int) -> None:
        """Its first byte: show_existing_frame, frame_type (2 bits, 0: key frame), show_frame (AV1 specification §5.9.2)."""
        if not self._frames:
            self._keyframe = self._sequence and (self._still or first & 0xF0 == 0x10)
        self._frames += 1
