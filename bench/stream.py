"""A clip as RTP and RTCP packets of one sender, made of pieces that are packed once for all senders of the clip."""

import functools
import math
import random
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.rtp import pack_header_extensions

from rokuga.publish import Clip, Unit
from rokuga.publish.clip import VIDEO_CLOCK, Kind, clock_of

HISTORY = 100
"""Units that are kept for retransmission: two seconds of sound, more of pictures."""
_HEADER = struct.Struct("!BBHII")
_REPORT = struct.Struct("!BBHIIIIII")
_NTP_UNIX_SECONDS = 2_208_988_800
_SECOND_NS = 1_000_000_000
_SR, _SDES, _BYE, _CNAME = 200, 202, 203, 1


class Packed(NamedTuple):
    """A unit, its time in seconds, and its RTP payloads (RFC 6184, RFC 7587)."""

    unit: Unit
    seconds: float
    payloads: list[bytes]


@functools.cache
def packed(clip: Clip, kind: Kind) -> tuple[Packed, ...]:
    """All units of that kind."""
    clock = clock_of(kind)
    if kind == "audio":
        return tuple(Packed(unit, unit.pts / clock, [unit.data]) for unit in clip.audio)
    return tuple(Packed(unit, unit.pts / clock, _h264(unit)) for unit in clip.video)


def _h264(unit: Unit) -> list[bytes]:
    packet = av.Packet(unit.data)
    packet.pts, packet.time_base = unit.pts, Fraction(1, VIDEO_CLOCK)
    return H264Encoder().pack(packet)[0]


@dataclass(frozen=True)
class Line:
    """What was agreed on for an m-line.

    ``mid_id`` is the header extension's, 0 for none; nobody here reads others. Without ``rtx_type`` lost packets are sent as they were.
    """

    kind: Kind
    ssrc: int
    rtx_ssrc: int
    payload_type: int
    rtx_type: int | None
    mid: str
    mid_id: int
    cname: str


class Way(Protocol):
    """Where packets go; they are not encrypted yet. Raises ConnectionError when it is gone."""

    def rtp(self, packets: list[bytes]) -> None: ...

    def rtcp(self, packet: bytes) -> None: ...


class Stream:
    """What one sender sends, round after round.

    ``zero`` is when the clip's time is 0, on the clock of ``send_due``, in seconds. A unit goes when its time has come, never before;
    late ones are sent, not dropped. Units before ``begin`` seconds of the clip's time are left out, and pictures begin with a keyframe,
    also after a pause. ``sent`` is what was handed over, if asked for.
    """

    def __init__(
        self,
        line: Line,
        clip: Clip,
        way: Way,
        zero: float,
        begin: float = 0.0,
        paused: Callable[[], bool] = lambda: False,
        sent: list[Unit] | None = None,
    ) -> None:
        self._line = line
        self._way = way
        self._zero = zero
        self._begin = zero + begin
        self._paused = paused
        self._sent = sent
        self._units = packed(clip, line.kind)
        self.due = zero + self._units[0].seconds if self._units else math.inf
        """When the next unit has to go."""
        self._clock = clock_of(line.kind)
        self._clip_seconds = clip.seconds
        self._clip_ticks = round(clip.seconds * self._clock)
        self._next = self._round = 0
        self._wait_for_key = True
        self._origin = random.getrandbits(32)
        # In the lower half: a wrap among the first packets breaks SRTP's decryption when they are lost.
        self._sequence, self._rtx_sequence = random.getrandbits(15), random.getrandbits(15)
        self._packets = self._octets = 0
        self._report_at = self._begin + random.uniform(0.5, 1.5)
        self._history: deque[tuple[int, int, list[bytes]]] = deque(maxlen=HISTORY)
        profile, extensions = pack_header_extensions([(line.mid_id, line.mid.encode())] if line.mid_id else [])
        self._extensions = struct.pack("!HH", profile, len(extensions) // 4) + extensions if extensions else b""
        self._first = 0x90 if extensions else 0x80
        item = bytes([_CNAME, len(line.cname)]) + line.cname.encode()
        item += bytes(4 - len(item) % 4)
        self._description = struct.pack("!BBHI", 0x81, _SDES, 1 + len(item) // 4, line.ssrc) + item

    def send_due(self, now: float, utc_ns: int) -> None:
        """All units up to ``now``, which is ``utc_ns`` on the wall, and a sender report if it is time for one."""
        while self.due <= now:
            unit, _, payloads = self._units[self._next]
            if self._paused():
                self._wait_for_key = True
            elif self.due >= self._begin and (unit.key or not self._wait_for_key):
                self._wait_for_key = False
                ticks = unit.pts + self._round * self._clip_ticks
                self._send(payloads, self._origin + ticks & 0xFFFFFFFF)
                if self._sent is not None:
                    self._sent.append(Unit(ticks, unit.data, unit.key))
            self._next += 1
            if self._next == len(self._units):
                self._next = 0
                self._round += 1
            self.due = self._zero + self._units[self._next].seconds + self._round * self._clip_seconds
        if now >= self._report_at and self._packets and not self._paused():
            self._report_at = now + random.uniform(0.5, 1.5)
            self._way.rtcp(self._report(now - self._zero, utc_ns) + self._description)

    def _send(self, payloads: list[bytes], timestamp: int) -> None:
        line, first, sequence, extensions = self._line, self._first, self._sequence, self._extensions
        packets, last = [], len(payloads) - 1
        for n, payload in enumerate(payloads):
            kind = line.payload_type | 0x80 if n == last else line.payload_type
            packets.append(_HEADER.pack(first, kind, sequence + n & 0xFFFF, timestamp, line.ssrc) + extensions + payload)
            self._octets += len(payload)
        self._history.append((sequence, timestamp, payloads))
        self._packets += len(packets)
        self._sequence = sequence + len(packets) & 0xFFFF
        self._way.rtp(packets)

    def _report(self, position: float, utc_ns: int) -> bytes:
        """SR (RFC 3550 section 6.4.1): one instant in both clocks."""
        seconds, rest = divmod(utc_ns, _SECOND_NS)
        timestamp = self._origin + round(position * self._clock) & 0xFFFFFFFF
        ntp = (seconds + _NTP_UNIX_SECONDS & 0xFFFFFFFF, (rest << 32) // _SECOND_NS)
        return _REPORT.pack(0x80, _SR, 6, self._line.ssrc, *ntp, timestamp, self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF)

    def lost(self, numbers: Iterable[int]) -> None:
        """Send again what the receiver misses (RFC 4588), as far back as it is kept."""
        packets = [packet for number in numbers if (packet := self._again(number))]
        if packets:
            self._way.rtp(packets)

    def _again(self, number: int) -> bytes | None:
        line = self._line
        for first, timestamp, payloads in self._history:
            n = number - first & 0xFFFF
            if n >= len(payloads):
                continue
            marker = 0x80 if n == len(payloads) - 1 else 0
            if line.rtx_type is None:
                return _HEADER.pack(self._first, line.payload_type | marker, number, timestamp, line.ssrc) + self._extensions + payloads[n]
            header = _HEADER.pack(self._first, line.rtx_type | marker, self._rtx_sequence, timestamp, line.rtx_ssrc)
            self._rtx_sequence = self._rtx_sequence + 1 & 0xFFFF
            return header + self._extensions + number.to_bytes(2, "big") + payloads[n]
        return None

    def bye(self) -> None:
        """Nothing more comes (RFC 3550 section 6.6)."""
        self._way.rtcp(struct.pack("!BBHI", 0x81, _BYE, 1, self._line.ssrc))
