"""Packets for the depacketizers' tests: numbering, feeding with losses, and the smallest packetizers that do the formats justice."""

from collections.abc import Iterator
from dataclasses import dataclass

from rokuga.capture.av1 import leb128, read_leb128
from rokuga.capture.buffer import Lost, Packet
from rokuga.capture.depacketize import AccessUnit, Depacketizer, Output


@dataclass
class Source:
    """Numbers and stamps packets; pictures are 3000 ticks apart."""

    sequence: int = 1
    time: int = 0

    def picture(self, *payloads: bytes, marker: bool = True) -> list[Packet]:
        self.time += 3000
        packets = []
        for n, payload in enumerate(payloads):
            packets.append(Packet(self.sequence, self.time, marker and n == len(payloads) - 1, payload, self.sequence * 1000))
            self.sequence += 1
        return packets


def feed(depacketizer: Depacketizer, packets: list[Packet], missing: set[int] | None = None) -> Output:
    """Packets in order; those in ``missing`` are told as lost, a run as one."""
    out: Output = []
    run: list[int] = []
    for packet in packets:
        if missing and packet.sequence in missing:
            run.append(packet.sequence)
            continue
        if run:
            out += depacketizer.lost(Lost(run[0], run[-1], 3))
            run = []
        out += depacketizer.push(packet)
    if run:
        out += depacketizer.lost(Lost(run[0], run[-1], 3))
    return out


def units(out: Output) -> list[AccessUnit]:
    """The pictures of it."""
    return [item for item in out if isinstance(item, AccessUnit)]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def vp8(frame: bytes, size: int = 1000, descriptor: bytes = b"\x80\x80\x91\x23") -> list[bytes]:
    """Payloads of a frame (RFC 7741); ``descriptor`` without the S bit, by default with a picture id of 15 bits."""
    parts = pieces(frame, size)
    return [bytes((descriptor[0] | (0x10 if n == 0 else 0),)) + descriptor[1:] + part for n, part in enumerate(parts)]


def vp9(frame: bytes, size: int = 1000, descriptor: bytes = b"\x80\x91\x23") -> list[bytes]:
    """Payloads of a layer frame (RFC 9628); ``descriptor`` without the B and E bits, by default non-flexible with 15 bits of picture id."""
    parts = pieces(frame, size)
    last = len(parts) - 1
    return [
        bytes((descriptor[0] | (0x08 if n == 0 else 0) | (0x04 if n == last else 0),)) + descriptor[1:] + part
        for n, part in enumerate(parts)
    ]


def obus(unit: bytes) -> Iterator[bytes]:
    """Those of a temporal unit in low-overhead format, without temporal delimiter and without their sizes."""
    at = 0
    while at < len(unit):
        head = 2 if unit[at] & 4 else 1
        assert unit[at] & 2
        size, start = read_leb128(unit, at + head)
        if unit[at] >> 3 & 15 != 2:
            yield bytes((unit[at] & ~2,)) + unit[at + 1 : at + head] + unit[start : start + size]
        at = start + size


def av1(parts: list[bytes], size: int = 1000, counted: bool = True, first: bool = False) -> list[bytes]:
    """Payloads of a temporal unit's OBUs: as many as go into a packet, cut where it is full. ``first``: of a coded video sequence."""
    packets: list[tuple[list[bytes], bool, bool]] = []
    elements: list[bytes] = []
    room, continues = size, False
    for part in parts:
        rest = part
        while True:
            if counted and len(elements) == 3:
                packets.append((elements, continues, False))
                elements, room, continues = [], size, False
            if len(rest) <= room:
                elements.append(rest)
                room -= len(rest)
                break
            if room:
                elements.append(rest[:room])
                rest = rest[room:]
            # What was cut goes on in the next packet; otherwise this OBU begins there.
            packets.append((elements, continues, rest is not part))
            elements, room, continues = [], size, rest is not part
    packets.append((elements, continues, False))
    payloads = []
    for n, (held, z, y) in enumerate(packets):
        head = z << 7 | y << 6 | (len(held) if counted else 0) << 4 | (first and n == 0) << 3
        sized = [leb128(len(e)) + e for e in held]
        if counted:
            sized[-1] = held[-1]
        payloads.append(bytes((head,)) + b"".join(sized))
    return payloads
