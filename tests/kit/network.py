"""Two network namespaces with a bad network between them: a TUN device in each, and a relay that moves packets by our rules.

Nothing has a name or an address outside: namespaces and devices vanish with the file descriptors that hold them, however the
test ends. Only UDP is impaired, so that signalling over TCP is not what a test is about.
"""

import asyncio
import ctypes
import fcntl
import heapq
import itertools
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.impair import CALM, PASSED, Conditions, Impairment

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
NEAR, FAR = "10.77.0.1", "10.77.0.2"
UDP = 17
PACKET = 2048
BATCH = 64
"""packets read at a time, so that the rest of the event loop has its turn"""

_libc = ctypes.CDLL(None, use_errno=True)


def available() -> bool:
    """Whether this process may make such networks: it takes root and TUN."""
    return os.geteuid() == 0 and Path("/dev/net/tun").exists()


class Namespace:
    """A network namespace of our own with one address. ``entered``: sockets and children made within belong to it.

    Only the calling thread enters it; what other tasks of the event loop open meanwhile belongs to it, too.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        with ExitStack() as undo:
            outside = _own_namespace()
            undo.callback(os.close, outside)
            _call("unshare", CLONE_NEWNET)
            undo.callback(_call, "setns", outside, CLONE_NEWNET)
            self._fd = _own_namespace()
            self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("16sH22x", b"tun", IFF_TUN | IFF_NO_PI))
            lines = ["link set lo up", "link set dev tun addrgenmode none", "link set dev tun up", f"addr add {address}/30 dev tun"]
            for line in lines:
                subprocess.run(["ip", *line.split()], check=True)

    @contextmanager
    def entered(self) -> Iterator[None]:
        outside = _own_namespace()
        try:
            _call("setns", self._fd, CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", outside, CLONE_NEWNET)
        finally:
            os.close(outside)

    def close(self) -> None:
        os.close(self.tun)
        os.close(self._fd)


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


@dataclass(frozen=True, slots=True)
class Sent:
    """An RTP packet that was sent into the network, and what became of it. SRTP leaves headers readable (RFC 3711 §3.1)."""

    time: float
    """the event loop's, which is CLOCK_MONOTONIC"""
    ssrc: int
    payload_type: int
    sequence: int
    rtp_time: int
    fate: str

    @property
    def dropped(self) -> bool:
        return self.fate != PASSED


@dataclass
class Line:
    """One direction. Set ``conditions`` whenever they shall change; ``sent`` is every RTP packet in order of sending."""

    impairment: Impairment
    sent: list[Sent] = field(default_factory=list)

    @property
    def conditions(self) -> Conditions:
        return self.impairment.conditions

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        self.impairment.conditions = conditions

    def of(self, ssrc: int) -> list[Sent]:
        return [packet for packet in self.sent if packet.ssrc == ssrc]

    def dropped(self) -> list[Sent]:
        return [packet for packet in self.sent if packet.dropped]

    def calm(self) -> None:
        self.conditions = CALM

    def take(self, packet: bytes, now: float) -> tuple[float, ...]:
        """When this IPv4 packet arrives."""
        if packet[9] != UDP:
            return (now,)
        fate, arrivals = self.impairment.decide(now, len(packet))
        at = 4 * (packet[0] & 0x0F) + 8
        if len(packet) >= at + 12 and packet[at] >> 6 == 2 and not 192 <= packet[at + 1] <= 223:
            _, kind, sequence, rtp_time, ssrc = struct.unpack_from("!BBHII", packet, at)
            self.sent.append(Sent(now, ssrc, kind & 0x7F, sequence, rtp_time, fate))
        return arrivals


class Network:
    """``async with``: namespaces ``near`` and ``far``, lines ``down`` (near to far) and ``up`` (far to near)."""

    def __init__(self, seed: int) -> None:
        self.down = Line(Impairment(seed))
        self.up = Line(Impairment(seed + 1))
        self.near: Namespace
        self.far: Namespace
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        with ExitStack() as stack:
            self.near, self.far = Namespace(NEAR), Namespace(FAR)
            stack.callback(self.near.close)
            stack.callback(self.far.close)
            for source, target, line in ((self.near, self.far, self.down), (self.far, self.near, self.up)):
                stack.callback(_Relay(source.tun, target, line).close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()


class _Relay:
    """Moves the packets of one direction. Anything that is not IPv4 for the other side goes nowhere."""

    def __init__(self, source: int, target: Namespace, line: Line) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._target = target.tun
        self._destination = bytes(int(part) for part in target.address.split("."))
        self._line = line
        self._waiting: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(source, self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._source)
        if self._timer is not None:
            self._timer.cancel()

    def _read(self) -> None:
        now = self._loop.time()
        for _ in range(BATCH):
            try:
                packet = os.read(self._source, PACKET)
            except BlockingIOError:
                break
            if packet[0] >> 4 == 4 and packet[16:20] == self._destination:
                for arrival in self._line.take(packet, now):
                    heapq.heappush(self._waiting, (arrival, next(self._order), packet))
        self._deliver()

    def _deliver(self) -> None:
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            try:
                os.write(self._target, heapq.heappop(self._waiting)[2])
            except BlockingIOError:
                continue  # no room on the other side: lost, as anywhere
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._deliver)
