"""The receive buffer of one track: packets in, in any order; packets and losses out, in order. Pure.

Sequence numbers and timestamps are unwrapped. A track is held back only while a hole in it is being repaired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rokuga.capture.rtp import NOT_TOLD, MalformedPacket, RtpPacket

MS = 1_000_000
RETRY_NS = 70 * MS
"""Janus resends a packet at most once in 200 ms and ignores NACKs in between. Asking more often than that costs next to nothing
and gets the packet resent whenever that is possible, though NACKs are lost and jitter moves them."""
NACK_FOR_NS = 1050 * MS
"""Janus keeps a packet for 1000 ms: a NACK that comes later is in vain."""
FINAL_NS = 1500 * MS
"""A hole this old is a loss: who had the packet has it no more, and half a second of jitter is over, too."""
MAX_PACKETS = 16384
MAX_BYTES = 16 * 1024 * 1024
"""Bounds of what is held back; a keyframe of 2 MB is 1,800 packets. Beyond them the oldest hole is given up."""
MAX_JUMP = 3000
"""A sequence number further off than this is believed only when the next packet follows it (RFC 3550 §A.1)."""
MAX_DRIFT = 0.1
MAX_DRIFT_SECONDS = 1.0
"""A source that could not be heard for a while has moved its timestamps by that while, as exactly as the two together say."""


class Packet(NamedTuple):
    """A media packet in order. ``sequence`` and ``rtp_time`` are unwrapped, ``arrival_ns`` is monotonic; the rest as in RtpPacket."""

    sequence: int
    rtp_time: int
    marker: bool
    payload: bytes
    arrival_ns: int
    orientation: int = NOT_TOLD


@dataclass(frozen=True, slots=True)
class Lost:
    """Packets that will not come any more, both ends included. ``tries``: how often the first was asked for."""

    first: int
    last: int
    tries: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The source began anew: sequence numbers and timestamps before and after have nothing to do with each other."""


Event = Packet | Lost | Restarted


@dataclass(slots=True)
class Counters:
    received: int = 0
    bytes: int = 0
    repaired: int = 0
    lost: int = 0
    duplicates: int = 0
    late: int = 0
    """came after they had been given up"""
    empty: int = 0
    """padding probes: they count in the sequence and carry nothing"""
    malformed: int = 0
    restarts: int = 0


@dataclass(slots=True)
class _Hole:
    since_ns: int
    tries: int = 0
    asked_ns: int = 0


def _signed(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


class ReceiveBuffer:
    """One SSRC with its retransmissions. Feed it (``push…``), then take ``poll`` and ``nacks`` at the same instant.

    ``flush`` gives up all holes at once. Times are monotonic ns and must not run backwards between calls; ``clock_rate`` is that of
    the RTP timestamps, ticks a second.
    """

    def __init__(self, clock_rate: int = 90_000) -> None:
        self._clock_rate = clock_rate
        self.counters = Counters()
        self._packets: dict[int, Packet] = {}
        self._held_bytes = 0
        self._holes: dict[int, _Hole] = {}
        self._next: int | None = None
        self._first = 0
        self._highest = 0
        self._timestamp = 0
        self._arrival_ns = 0
        """of the packet with that timestamp"""
        self._suspect: tuple[RtpPacket, int] | None = None
        self._ready: list[Event] = []

    @property
    def highest(self) -> int:
        """Extended highest sequence number received, for receiver reports."""
        return self._highest

    @property
    def expected(self) -> int:
        """How many packets should have come since the source began."""
        return 0 if self._next is None else self._highest - self._first + 1

    @property
    def last_arrival_ns(self) -> int:
        """When the last packet came that was believed, monotonic; 0: none yet."""
        return self._arrival_ns

    @property
    def held(self) -> int:
        """Packets that wait for a hole in front of them."""
        return len(self._packets)

    @property
    def missing(self) -> bool:
        """Whether packets are missing that may still come."""
        return bool(self._holes)

    def waits_ns(self, now_ns: int) -> int:
        """How long the oldest hole has been waited for."""
        oldest = next(iter(self._holes.values()), None)
        return 0 if oldest is None else now_ns - oldest.since_ns

    def push(self, packet: RtpPacket, arrival_ns: int) -> None:
        """A packet of the media SSRC."""
        self.push_all([(packet, arrival_ns)])

    def push_all(self, packets: Sequence[tuple[RtpPacket, int]]) -> None:
        """Packets of the media SSRC, each with its arrival, in the order in which they came."""
        at = self._push_next(packets, 0)
        while at < len(packets):
            self._push_other(*packets[at])
            at = self._push_next(packets, at + 1)

    def _push_next(self, packets: Sequence[tuple[RtpPacket, int]], at: int) -> int:
        """Those from ``at`` on that are next in order while nothing is missing, as nearly all are: no need to look anything up.

        Returns where the first one is that is not.
        """
        begin = sequence = self._next
        if at == len(packets) or sequence is None or begin is None or sequence != self._highest + 1:
            return at
        timestamp, size, empty, ready = self._timestamp, 0, 0, self._ready
        arrival_ns = self._arrival_ns
        for (_, _, number, time, marker, payload, orientation), came_ns in packets[at:] if at else packets:
            if number != sequence & 0xFFFF:
                break
            timestamp += ((time - timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            arrival_ns = came_ns
            if payload:
                size += len(payload)
                # As Packet(...) does it, without the Python function in between.
                ready.append(tuple.__new__(Packet, (sequence, timestamp, marker, payload, came_ns, orientation)))
            else:
                empty += 1
            sequence += 1
        count = sequence - begin
        if count:
            self._suspect = None
            self._next, self._highest, self._timestamp, self._arrival_ns = sequence, sequence - 1, timestamp, arrival_ns
            self.counters.received += count
            self.counters.bytes += size
            self.counters.empty += empty
        return at + count

    def push_rtx(self, packet: RtpPacket, arrival_ns: int) -> None:
        """A packet of the retransmission SSRC (RFC 4588 §4). Raises MalformedPacket."""
        if not packet.payload:
            return  # a padding probe: there is no original
        if len(packet.payload) < 2:
            self.counters.malformed += 1
            raise MalformedPacket("retransmission without the original sequence number")
        if self._next is None:
            return
        original = int.from_bytes(packet.payload[:2], "big")
        sequence = self._highest + _signed(original - self._highest, 16)
        if abs(sequence - self._highest) <= MAX_JUMP:
            self._insert(sequence, packet, packet.payload[2:], arrival_ns)

    def poll(self, now_ns: int) -> list[Event]:
        """What is in order now, and what is lost for good."""
        events, self._ready = self._ready, []
        if self._packets or self._holes:
            self._release(events, now_ns, False)
        return events

    def flush(self) -> list[Event]:
        """Everything that is held, with all holes given up."""
        events, self._ready = self._ready, []
        if self._next is not None:
            self._release(events, 0, True)
        return events

    def nacks(self, now_ns: int) -> list[int]:
        """The 16-bit sequence numbers to ask for now, in order."""
        due = []
        for sequence, hole in self._holes.items():
            if hole.tries and now_ns - hole.asked_ns < RETRY_NS:
                continue
            if hole.tries and now_ns - hole.since_ns > NACK_FOR_NS:
                continue
            hole.tries += 1
            hole.asked_ns = now_ns
            due.append(sequence & 0xFFFF)
        return due

    def _begin(self, sequence: int, timestamp: int) -> None:
        self._next = self._first = sequence
        self._highest = sequence - 1
        self._timestamp = timestamp

    def _push_other(self, packet: RtpPacket, arrival_ns: int) -> None:
        """The first one, or one that is out of order, or one behind a hole."""
        if self._next is None:
            self._begin(packet.sequence, packet.timestamp)
        sequence = self._highest + _signed(packet.sequence - self._highest, 16)
        if abs(sequence - self._highest) > MAX_JUMP:
            self._jump(packet, arrival_ns)
            return
        self._suspect = None
        self._insert(sequence, packet, packet.payload, arrival_ns)

    def _insert(self, sequence: int, packet: RtpPacket, payload: bytes, arrival_ns: int) -> None:
        assert self._next is not None
        if sequence < self._next:
            if sequence < self._first:
                self.counters.late += 1  # reordered across our very first packet
            else:
                self.counters.duplicates += 1
            return
        if sequence in self._packets:
            self.counters.duplicates += 1
            return
        hole = self._holes.pop(sequence, None)
        if hole is not None and hole.tries:
            self.counters.repaired += 1
        for missing in range(self._highest + 1, sequence):
            self._holes[missing] = _Hole(arrival_ns)
        self._highest = max(self._highest, sequence)
        self._timestamp += _signed(packet.timestamp - self._timestamp, 32)
        self._arrival_ns = arrival_ns
        self._packets[sequence] = Packet(sequence, self._timestamp, packet.marker, payload, arrival_ns, packet.orientation)
        self._held_bytes += len(payload)
        self.counters.received += 1
        self.counters.bytes += len(payload)

    def _jump(self, packet: RtpPacket, arrival_ns: int) -> None:
        suspect = self._suspect
        if suspect is None or (suspect[0].sequence + 1) & 0xFFFF != packet.sequence:
            self._suspect = packet, arrival_ns
            return
        self._suspect = None
        self._release(self._ready, 0, True)
        sequence = self._after_outage(*suspect)
        if sequence is None:
            self._ready.append(Restarted())
            self.counters.restarts += 1
            sequence = suspect[0].sequence
            self._begin(sequence, suspect[0].timestamp)
        self._insert(sequence, suspect[0], suspect[0].payload, suspect[1])
        self._insert(sequence + 1, packet, packet.payload, arrival_ns)

    def _after_outage(self, packet: RtpPacket, arrival_ns: int) -> int | None:
        """The unwrapped sequence number, if this is the same source after a long silence; None if it began anew.

        Of what is missing, the oldest is lost: nobody keeps that much. The rest become holes.
        """
        assert self._next is not None
        seconds = (arrival_ns - self._arrival_ns) / 1e9
        moved = _signed(packet.timestamp - self._timestamp, 32) / self._clock_rate
        missing = (packet.sequence - self._next) & 0xFFFF
        if missing >= 0x8000 or abs(moved - seconds) > MAX_DRIFT_SECONDS + MAX_DRIFT * seconds:
            return None
        sequence = self._next + missing
        first, self._next = self._next, sequence - MAX_JUMP + 1
        self._highest = self._next - 1
        self.counters.lost += self._next - first
        self._ready.append(Lost(first, self._next - 1, 0))
        return sequence

    def _release(self, events: list[Event], now_ns: int, everything: bool) -> None:
        assert self._next is not None
        while True:
            packet = self._packets.pop(self._next, None)
            if packet is not None:
                self._held_bytes -= len(packet.payload)
                self._next += 1
                if packet.payload:
                    events.append(packet)
                else:
                    self.counters.empty += 1
                continue
            hole = self._holes.get(self._next)
            if hole is None:
                return
            full = len(self._packets) > MAX_PACKETS or self._held_bytes > MAX_BYTES
            if not (everything or full or now_ns - hole.since_ns >= FINAL_NS):
                return
            first, tries = self._next, hole.tries
            while hole is not None and (everything or full or now_ns - hole.since_ns >= FINAL_NS):
                del self._holes[self._next]
                self._next += 1
                self.counters.lost += 1
                hole = self._holes.get(self._next)
            events.append(Lost(first, self._next - 1, tries))
