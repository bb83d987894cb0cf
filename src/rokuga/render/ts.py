"""Writing one MPEG-TS segment so that it continues the one before (ISO/IEC 13818-1)."""

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from types import TracebackType
from typing import BinaryIO, Literal, Self

import av
from av.packet import Packet
from av.stream import Stream

PACKET = 188
NULL_PACKET = b"\x47\x1f\xff\x10" + b"\xff" * 184
LEAST_PACKETS = 20
PID_BITS = bytes(value & 0x1F for value in range(256))
"""of a packet's second byte"""
COUNTED_ON = [bytes(value & 0xF0 | (value + shift) & 15 for value in range(256)) for shift in range(16)]
"""A packet's fourth byte, the continuity counter moved on by so many."""
BUFFER_BYTES = 256 * 1024
Codec = Literal["h264", "aac"]
TIME_BASE = Fraction(1, 90_000)
TABLES_SECONDS = "10"
"""PAT, PMT and SDT stand at the beginning of each segment. FFmpeg's habit of every 0.1 s is for broadcasts that one tunes in to, and
costs 20 kb/s."""


class ContinuousFile:
    """Takes a muxer's output, lets the continuity counters (§2.4.3.3) run on from those given, and hashes what it writes.

    A fresh muxer begins all counters at 0; a reader that goes through the playlist would take that for lost packets.
    """

    def __init__(self, file: BinaryIO, counters: Mapping[int, int]) -> None:
        self._file = file
        self._shift = {pid: (last + 1) & 15 for pid, last in counters.items()}
        self._rest = b""
        self._hash = hashlib.sha256()
        self.counters = dict(counters)
        """the last counter of each PID"""
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        whole = bytearray(self._rest + data)
        end = len(whole) // PACKET * PACKET
        self._rest = bytes(whole[end:])
        del whole[end:]
        fourth = whole[3::PACKET]
        at = 0
        for (high, low), run in groupby(zip(whole[1::PACKET].translate(PID_BITS), whole[2::PACKET], strict=True)):
            pid = high << 8 | low
            after = at + len(list(run))
            fourth[at:after] = fourth[at:after].translate(COUNTED_ON[self._shift.get(pid, 0)])
            self.counters[pid] = fourth[after - 1] & 15
            at = after
        whole[3::PACKET] = fourth
        self._hash.update(whole)
        self._file.write(whole)
        self.size += end
        return len(data)

    def finish(self) -> None:
        """Fill up a very small file: FFmpeg does not recognise one of 10 packets."""
        padding = NULL_PACKET * max(0, LEAST_PACKETS - self.size // PACKET)
        self._hash.update(padding)
        self._file.write(padding)
        self.size += len(padding)


class TsMuxer:
    """Elementary streams into a ContinuousFile. Times are in 90 kHz and may exceed 33 bits: they wrap in the file.

    A stream is declared in the file whether or not it has a packet there.
    """

    def __init__(self, file: ContinuousFile, codecs: Sequence[Codec]) -> None:
        # FFmpeg's habit is to hand over each packet at once.
        options = {"pat_period": TABLES_SECONDS, "sdt_period": TABLES_SECONDS, "flush_packets": "0"}
        self._container = av.open(file, "w", "mpegts", options, buffer_size=BUFFER_BYTES)
        self._streams: dict[Codec, Stream] = {c: self._container.add_mux_stream(c, rate=48_000 if c == "aac" else None) for c in codecs}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.close()

    def mux(self, codec: Codec, data: bytes, pts: int, keyframe: bool) -> None:
        """One access unit, or AAC frames with ADTS headers. Raises av.FFmpegError; a stream's ``pts`` must rise."""
        packet: Packet[Stream] = Packet(data)
        packet.time_base = TIME_BASE
        packet.pts = packet.dts = pts
        packet.is_keyframe = keyframe
        packet.stream = self._streams[codec]
        self._container.mux_one(packet)
