"""VP8 frames from RTP (RFC 7741). Pure.

Frames come out as the encoder made them (RFC 6386 §9.1): what FFmpeg's decoders take.
"""

from rokuga.capture.picture import PictureDepacketizer
from rokuga.capture.rtp import MalformedPacket

X, S, PARTITION = 0x80, 0x10, 0x07
I, L, T, K = 0x80, 0x40, 0x20, 0x10  # noqa: E741 as the RFC names them
LONG_PICTURE_ID = 0x80
KEYFRAME_CODE = b"\x9d\x01\x2a"
KEYFRAME_HEAD = 10


def read_descriptor(payload: bytes) -> tuple[int, bool]:
    """The length of the payload descriptor (RFC 7741 §4.2), and whether a frame begins here. Raises MalformedPacket."""
    try:
        first = payload[0]
        size = 1
        if first & X:
            extension = payload[1]
            size = 2
            if extension & I:
                size += 2 if payload[size] & LONG_PICTURE_ID else 1
            if extension & L:
                size += 1
            if extension & (T | K):
                size += 1
    except IndexError:
        raise MalformedPacket("VP8 payload descriptor cut off") from None
    if size >= len(payload):
        raise MalformedPacket("VP8 payload descriptor without anything behind it")
    return size, bool(first & S) and not first & PARTITION


def temporal_layer(payload: bytes) -> int:
    """The number of the temporal layer (TID) of the frame that a packet is of; 0 where the packet names none."""
    if len(payload) < 2 or not payload[0] & X or not payload[1] & T:
        return 0
    extension, at = payload[1], 2
    if extension & I:
        at += 2 if payload[at : at + 1] >= b"\x80" else 1
    if extension & L:
        at += 1
    return payload[at] >> 6 if at < len(payload) else 0


class Vp8Depacketizer(PictureDepacketizer):
    """See PictureDepacketizer."""

    def _begins(self, payload: bytes) -> bool:
        return read_descriptor(payload)[1]

    def _reset(self) -> None:
        pass

    def _add(self, payload: bytes) -> None:
        size, begins = read_descriptor(payload)
        if begins is bool(self._data):
            raise MalformedPacket("VP8 frame without its beginning, or with two")
        self._data += payload[size:]

    def _finish(self) -> bool:
        # The lowest bit of the frame tag is 0 in a key frame, which then has a start code and its size (RFC 6386 §9.1).
        self._keyframe = not self._data[0] & 1
        if self._keyframe and (self._data[3:6] != KEYFRAME_CODE or len(self._data) < KEYFRAME_HEAD):
            self.malformed += 1
            return False
        return True
