"""What the depacketizers of all video codecs share: where pictures begin and end, and what holes do to them. Pure.

A new timestamp begins a picture, the marker ends it. A picture in which a packet is missing, or may be, is dropped whole.
"""

from abc import ABC, abstractmethod

from rokuga.capture.buffer import Lost, Packet
from rokuga.capture.depacketize import INCOMPLETE, AccessUnit, Output, Spoiled, cause_of
from rokuga.capture.rtp import MalformedPacket

MAX_BYTES = 8 * 1024 * 1024
"""A picture larger than this is no picture."""
MAX_GAPS = 64
"""So many holes without a packet between them (padding only) wait for the packet that tells whether they cost its picture."""


class PictureDepacketizer(ABC):
    """Feed ``push`` and ``lost`` in order of sequence. A codec fills ``_data`` and ``_keyframe``."""

    def __init__(self) -> None:
        self.malformed = 0
        self._data = bytearray()
        """what the open picture will be"""
        self._keyframe = False
        self._gap: list[tuple[Lost, bool]] = []
        """lost since the last packet, each with whether a picture was open (which it spoiled)"""
        self._first = True
        self._open = False
        self._useless = False
        """whether nothing comes of the open picture, and that has been said: it is spoiled, or its beginning was before us"""
        self._broken = False
        self._rtp_time = 0
        self._first_sequence = self._last_sequence = 0
        self._first_arrival = self._last_arrival = 0
        self._orientation = 0
        """what was told last: senders tell it with each keyframe and each picture that changes it (TS 26.114 §7.4.5)"""

    def push(self, packet: Packet) -> Output:
        """The next packet in order; never raises on what it holds."""
        sequence, rtp_time, marker, payload, arrival_ns, orientation = packet
        out: Output = []
        if not self._open or rtp_time != self._rtp_time:
            if self._open:
                out = self._end()
            out += self._begin(packet)
        if self._gap:
            self._gap.clear()
        self._last_sequence = sequence
        if arrival_ns > self._last_arrival:
            self._last_arrival = arrival_ns
        elif arrival_ns < self._first_arrival:
            self._first_arrival = arrival_ns
        if not (self._useless or self._broken):
            try:
                self._add(payload)
                self._limit(len(self._data))
            except MalformedPacket:
                self.malformed += 1
                self._broken = True
                self._forget()
        if orientation >= 0:
            self._orientation = orientation
        if marker:
            out += self._end()
        return out

    def lost(self, lost: Lost) -> Output:
        """A hole spoils the open picture; whether it also spoils the next one, the next packet tells."""
        out: Output = []
        self._gap.append((lost, self._open))
        if self._open:
            self._useless = True
            self._forget()
            out.append(_spoiled(lost, self._rtp_time))
        if len(self._gap) > MAX_GAPS:
            oldest, told = self._gap.pop(0)
            out += [] if told else [_spoiled(oldest, -1)]
        return out

    def flush(self) -> Output:
        """Nothing follows: a picture without its end is incomplete."""
        out: Output = []
        if self._open:
            self._broken = True  # neither marker nor a later timestamp: its end is missing
            out = self._end()
        out += [_spoiled(lost, -1) for lost, told in self._gap if not told]
        self._gap.clear()
        return out

    def _begin(self, packet: Packet) -> Output:
        self._open = True
        self._rtp_time = packet.rtp_time
        self._first_sequence = self._last_sequence = packet.sequence
        self._first_arrival = self._last_arrival = packet.arrival_ns
        self._keyframe = False
        self._useless = self._broken = False
        self._forget()
        try:
            evident = self._begins(packet.payload)
        except MalformedPacket:
            evident = False
        first, self._first = self._first, False
        if evident:
            return [_spoiled(lost, -1) for lost, told in self._gap if not told]
        # The rest of a picture that began before we came is neither a frame nor a loss.
        self._useless = first or bool(self._gap)
        return [_spoiled(lost, packet.rtp_time) for lost, _ in self._gap]

    def _end(self) -> Output:
        self._open = False
        if self._useless:
            return []
        if self._broken or not self._finish():
            return [Spoiled(self._first_sequence, self._last_sequence, self._rtp_time, INCOMPLETE)]
        first, last = self._first_arrival, self._last_arrival
        return [AccessUnit(self._rtp_time, first, last, self._keyframe, bytes(self._data), self._orientation)]

    def _limit(self, size: int) -> None:
        if size > MAX_BYTES:
            raise MalformedPacket("larger than any picture")

    def _forget(self) -> None:
        self._data.clear()
        self._reset()

    @abstractmethod
    def _begins(self, payload: bytes) -> bool:
        """Whether nothing that matters can precede this packet in its picture. Raises MalformedPacket."""

    @abstractmethod
    def _reset(self) -> None:
        """A picture begins, or nothing will come of the one that is open: nothing of it is to be kept."""

    @abstractmethod
    def _add(self, payload: bytes) -> None:
        """A packet of the open picture, none missing before it. Raises MalformedPacket."""

    @abstractmethod
    def _finish(self) -> bool:
        """The open picture has ended: whether it is whole, as far as its codec tells."""


def _spoiled(lost: Lost, rtp_time: int) -> Spoiled:
    return Spoiled(lost.first, lost.last, rtp_time, cause_of(lost), lost.tries)
