"""H.264 access units from RTP (RFC 6184, packetization modes 0 and 1). Pure.

Access units come out as Annex B with 4-byte start codes, each NAL unit as it was sent.
"""

from rokuga.capture.picture import PictureDepacketizer
from rokuga.capture.rtp import MalformedPacket

START_CODE = b"\0\0\0\1"
IDR, SPS, AUD = 5, 7, 9
STAP_A, FU_A = 24, 28


def begins_access_unit(payload: bytes) -> bool:
    """Whether nothing that matters can precede this packet in its access unit (RFC 6184 §5.2, H.264 §7.4.1.2.3).

    True for an access unit delimiter, an SPS, and the first slice of a picture that is no IDR (an IDR may have lost its SPS).
    """
    kind = payload[0] & 0x1F
    at = 0
    if kind == STAP_A:
        at = 3
        if len(payload) <= at:
            return False
        kind = payload[at] & 0x1F
    elif kind == FU_A:
        if len(payload) < 3 or not payload[1] & 0x80:
            return False
        kind = payload[1] & 0x1F
        at = 1
    # first_mb_in_slice is an Exp-Golomb number: its first bit is set if it is 0.
    return kind in (AUD, SPS) or (kind == 1 and len(payload) > at + 1 and bool(payload[at + 1] & 0x80))


class H264Depacketizer(PictureDepacketizer):
    """See PictureDepacketizer."""

    def _begins(self, payload: bytes) -> bool:
        return begins_access_unit(payload)

    def _reset(self) -> None:
        self._fragment = False
        """whether a fragmented NAL unit is under way"""

    def _finish(self) -> bool:
        return not self._fragment

    def _add(self, payload: bytes) -> None:
        kind = payload[0] & 0x1F
        if kind == FU_A:
            self._add_fragment(payload)
            return
        if self._fragment:
            raise MalformedPacket("a fragmented NAL unit has no end")
        if kind == STAP_A:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                if size == 0 or at + 2 + size > len(payload):
                    raise MalformedPacket("an aggregated NAL unit is cut off or empty")
                self._unit(payload[at + 2] & 0x1F, payload[at + 2 : at + 2 + size])
                at += 2 + size
            if at == 1:
                raise MalformedPacket("an aggregation packet without NAL units")
        elif 1 <= kind <= 23:
            self._unit(kind, payload)
        else:
            raise MalformedPacket(f"packet type {kind} is not for packetization modes 0 and 1")

    def _add_fragment(self, payload: bytes) -> None:
        if len(payload) < 3:
            raise MalformedPacket("fragment cut off")
        header = payload[1]
        kind = header & 0x1F
        start, end = header >= 0x80, header & 0x40
        if start is self._fragment or (start and end) or not 1 <= kind <= 23:
            raise MalformedPacket("fragment out of place")
        if start:
            self._unit(kind, bytes((payload[0] & 0xE0 | kind,)) + payload[2:])
        else:
            self._data += payload[2:]
        self._fragment = not end

    def _unit(self, kind: int, unit: bytes) -> None:
        self._keyframe = self._keyframe or kind == IDR
        self._data += START_CODE
        self._data += unit
