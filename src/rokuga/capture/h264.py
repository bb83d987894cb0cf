"""H.264 access units from RTP (RFC 6184, packetization modes 0 and 1). Pure.

A new timestamp begins an access unit, the marker ends it. It comes out as Annex B with 4-byte start codes, each NAL unit as it
was sent. An access unit in which a packet is missing, or may be, is dropped whole.
"""

from rokuga.capture.buffer import Lost, Packet
from rokuga.capture.depacketize import AccessUnit, Output, Spoiled, cause_of
from rokuga.capture.rtp import MalformedPacket

START_CODE = b"\0\0\0\1"
IDR, SPS, AUD = 5, 7, 9
STAP_A, FU_A = 24, 28
MAX_BYTES = 8 * 1024 * 1024
"""A picture larger than this is no picture."""


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


class H264Depacketizer:
    """Feed ``push`` and ``lost`` in order of sequence."""

    def __init__(self) -> None:
        self.malformed = 0
        self._gap: list[tuple[Lost, bool]] = []
        """lost since the last packet, each with whether an access unit was open (which it spoiled already)"""
        self._first = True
        self._tail = False
        """whether the open access unit is the rest of one that began before we came: neither a frame nor a loss"""
        self._open = False
        self._rtp_time = 0
        self._first_sequence = self._last_sequence = 0
        self._first_arrival = self._last_arrival = 0
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._fragment = False
        """whether a fragmented NAL unit is under way"""
        self._keyframe = False
        self._broken = False
        self._spoilers: list[Lost] = []

    def push(self, packet: Packet) -> Output:
        out: Output = []
        if self._open and packet.rtp_time != self._rtp_time:
            out += self._end()
        if not self._open:
            self._begin(packet)
            self._open = True
            self._tail = self._first and not begins_access_unit(packet.payload)
            self._first = False
            if self._gap and not begins_access_unit(packet.payload):
                self._spoilers = [lost for lost, _ in self._gap]
            else:
                out += [_spoiled(lost, -1) for lost, told in self._gap if not told]
        self._gap.clear()
        self._last_sequence = packet.sequence
        self._first_arrival = min(self._first_arrival, packet.arrival_ns)
        self._last_arrival = max(self._last_arrival, packet.arrival_ns)
        if not (self._spoilers or self._broken or self._tail):
            try:
                self._add(packet.payload)
            except MalformedPacket:
                self.malformed += 1
                self._broken = True
        if packet.marker:
            out += self._end()
        return out

    def lost(self, lost: Lost) -> Output:
        """A hole spoils the open access unit; whether it also spoils the next one, the next packet tells."""
        if self._open:
            self._spoilers.append(lost)
        self._gap.append((lost, self._open))
        return []

    def flush(self) -> Output:
        out: Output = []
        if self._open:
            self._broken = True  # neither marker nor a later timestamp: its end is missing
            out = self._end()
        out += [_spoiled(lost, -1) for lost, told in self._gap if not told]
        self._gap.clear()
        return out

    def _begin(self, packet: Packet) -> None:
        self._rtp_time = packet.rtp_time
        self._first_sequence = self._last_sequence = packet.sequence
        self._first_arrival = self._last_arrival = packet.arrival_ns
        self._chunks = []
        self._bytes = 0
        self._fragment = False
        self._keyframe = False
        self._broken = False
        self._spoilers = []

    def _end(self) -> Output:
        self._open = False
        if self._spoilers:
            return [_spoiled(lost, self._rtp_time) for lost in self._spoilers]
        if self._tail:
            return []
        if self._broken or self._fragment:
            return [Spoiled(self._first_sequence, self._last_sequence, self._rtp_time, "incomplete")]
        data = b"".join(self._chunks)
        return [AccessUnit(self._rtp_time, self._first_arrival, self._last_arrival, self._keyframe, data)]

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
        start, end, kind = payload[1] & 0x80, payload[1] & 0x40, payload[1] & 0x1F
        if bool(start) == self._fragment or (start and end) or not 1 <= kind <= 23:
            raise MalformedPacket("fragment out of place")
        if start:
            self._unit(kind, bytes((payload[0] & 0xE0 | kind,)) + payload[2:])
        else:
            self._chunk(payload[2:])
        self._fragment = not end

    def _unit(self, kind: int, unit: bytes) -> None:
        self._keyframe = self._keyframe or kind == IDR
        self._chunks.append(START_CODE)
        self._chunk(unit)

    def _chunk(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            raise MalformedPacket("an access unit larger than any picture")
        self._chunks.append(data)


def _spoiled(lost: Lost, rtp_time: int) -> Spoiled:
    return Spoiled(lost.first, lost.last, rtp_time, cause_of(lost), lost.tries)
