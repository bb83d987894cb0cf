"""VP9 frames from RTP (RFC 9628), flexible and non-flexible mode. Pure.

All spatial layers of an instant are one picture. A single one comes out as the encoder made it; several come out as a superframe
with its index (VP9 bitstream specification, Annex B), of which decoders show the last.
"""

from rokuga.capture.picture import PictureDepacketizer
from rokuga.capture.rtp import MalformedPacket

I, P, L, F, B, E, V = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02  # noqa: E741 as the RFC names them
LONG_PICTURE_ID = 0x80
MORE_REFERENCES = 0x01
MAX_REFERENCES = 3
MAX_LAYERS = 8
SUPERFRAME = 0b11000000
FRAME_MARKER = 0b10


def read_descriptor(payload: bytes) -> tuple[int, int]:
    """The length of the payload descriptor (RFC 9628 §4.2) and the spatial layer's number. Raises MalformedPacket."""
    try:
        first = payload[0]
        size, layer = 1, 0
        if first & I:
            size += 2 if payload[size] & LONG_PICTURE_ID else 1
        if first & L:
            layer = payload[size] >> 1 & 7
            size += 1 if first & F else 2  # without flexible mode TL0PICIDX follows
        if first & F and first & P:
            references, more = 0, True
            while more:
                more = bool(payload[size] & MORE_REFERENCES)
                size += 1
                references += 1
                if references > MAX_REFERENCES:
                    raise MalformedPacket("VP9 frame with too many references")
        if first & V:
            size = _scalability_structure(payload, size)
    except IndexError:
        raise MalformedPacket("VP9 payload descriptor cut off") from None
    if size >= len(payload):
        raise MalformedPacket("VP9 payload descriptor without anything behind it")
    return size, layer


def _scalability_structure(payload: bytes, at: int) -> int:
    """Where it ends (RFC 9628 §4.2.1). Raises IndexError."""
    head = payload[at]
    at += 1
    if head & 0x10:  # Y: width and height of each layer
        at += 4 * ((head >> 5) + 1)
    if head & 0x08:  # G: a picture group
        pictures = payload[at]
        at += 1
        for _ in range(pictures):
            at += 1 + (payload[at] >> 2 & 3)
    return at


def is_keyframe(frame: bytes) -> bool:
    """Whether its uncompressed header says so (VP9 bitstream specification §6.2). Raises MalformedPacket."""
    first = frame[0]
    if first >> 6 != FRAME_MARKER:
        raise MalformedPacket("not a VP9 frame")
    # Bits: profile low, profile high, [reserved if profile is 3], show_existing_frame, frame_type.
    shift = 2 if first & 0x30 != 0x30 else 1
    show_existing, inter = first >> (shift + 1) & 1, first >> shift & 1
    return not show_existing and not inter


class Vp9Depacketizer(PictureDepacketizer):
    """See PictureDepacketizer."""

    def _begins(self, payload: bytes) -> bool:
        return bool(payload[0] & B) and read_descriptor(payload)[1] == 0

    def _reset(self) -> None:
        self._layer = -1
        """the spatial layer that came last, -1: none"""
        self._inside = False
        """whether its frame has begun and not ended"""
        self._sizes: list[int] = []
        self._start = 0

    def _add(self, payload: bytes) -> None:
        size, layer = read_descriptor(payload)
        if bool(payload[0] & B) is self._inside or (layer <= self._layer if payload[0] & B else layer != self._layer):
            raise MalformedPacket("VP9 layer frame out of place")
        if payload[0] & B:
            if not self._sizes:
                self._keyframe = is_keyframe(payload[size:])
            self._layer = layer
            self._start = len(self._data)
        self._data += payload[size:]
        self._inside = not payload[0] & E
        if not self._inside:
            self._sizes.append(len(self._data) - self._start)

    def _finish(self) -> bool:
        if self._inside or not self._sizes:
            return False
        if len(self._sizes) > 1:
            width = (max(self._sizes).bit_length() + 7) // 8
            marker = bytes((SUPERFRAME | (width - 1) << 3 | (len(self._sizes) - 1),))
            self._data += marker + b"".join(n.to_bytes(width, "little") for n in self._sizes) + marker
        return True
