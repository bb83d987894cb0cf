"""A UDP socket of our own under aioice: read in batches, with the kernel's receive time stamps.

aiortc would wake up for each packet and stamp it when it is read. A recorder needs no low latency: once the connection is up, a
tick drains each socket, and only STUN and DTLS reach aioice; media never does.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aioice.ice import StunProtocol

from rokuga import clock
from rokuga.capture.datagrams import ROOM, SO_TIMESTAMPNS, Datagrams

SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 4 * 1024 * 1024
"""More than a second of any stream: a stalled event loop loses nothing."""
CALLS = 4
"""so many in one drain: then it is the turn of others"""
BATCH = CALLS * ROOM
_AHEAD_NS = 5_000_000
"""a drain takes this long at most: packets may come while it runs"""

MediaHandler = Callable[[Sequence[tuple[memoryview, int]]], None]
"""Called with encrypted RTP and RTCP packets, which are its own to write into until it returns, and their arrivals, monotonic ns."""


def arrival_ns(stamp_ns: int, offset_ns: int, earliest_ns: int, now_ns: int) -> int:
    """When a packet came, monotonic: its wall clock stamp plus the offset of this drain; ``now_ns`` for one without stamp (0).

    A step of the wall clock between arrival and reading would show up in full, so the result is held between the last drain that
    found the socket empty and now.
    """
    if not stamp_ns:
        return now_ns
    arrival, latest_ns = stamp_ns + offset_ns, now_ns + _AHEAD_NS
    if earliest_ns <= arrival <= latest_ns:
        return arrival
    return earliest_ns if arrival < earliest_ns else latest_ns


def local_addresses(remote: Iterable[str]) -> list[str]:
    """This machine's addresses on the routes to ``remote`` (nothing is sent): no other is worth a candidate."""
    found: dict[str, None] = {}
    for address in remote:
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        except ValueError:
            continue  # a name (mDNS): not for us
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, 9))
            except OSError:
                continue  # no route
            found[probe.getsockname()[0]] = None
    return list(found)


class UdpPath(asyncio.DatagramTransport):
    """One bound socket; aioice's StunProtocol sits on it. Until ``batched`` is set, packets are read as they come."""

    def __init__(self, address: str, protocol: StunProtocol, datagrams: Datagrams, on_media: MediaHandler) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._datagrams = datagrams
        self._on_media = on_media
        self._closed = False
        self._batched = False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._socket.bind((address, 0))
        except OSError:
            self._socket.close()
            raise
        self._emptied_ns = clock.monotonic_ns()
        protocol.connection_made(self)
        self._loop.add_reader(self._socket, self.drain)

    @property
    def name(self) -> tuple[str, int]:
        """Address and port it is bound to."""
        name: tuple[Any, ...] = self._socket.getsockname()
        return name[0], name[1]

    def batch(self) -> None:
        """From now on packets wait for ``drain``."""
        if not self._batched and not self._closed:
            self._batched = True
            self._loop.remove_reader(self._socket)

    def drain(self) -> None:
        """Read what is there; goes on at once in the next turn of the event loop if that is a lot."""
        if self._closed:
            return
        now = clock.monotonic_ns()
        offset = now - clock.utc_ns()
        earliest, latest = self._emptied_ns, now + _AHEAD_NS
        for _ in range(CALLS):
            try:
                received = self._datagrams.receive(self._socket)
            except OSError as error:
                self._protocol.error_received(error)  # an ICMP answer to something that we sent
                continue
            media = []
            for number, (data, stamp) in enumerate(received):
                # RFC 7983: 0-3 STUN, 20-63 DTLS, 128-191 RTP and RTCP.
                first = data[0] if data else -1
                if 128 <= first <= 191:
                    arrival = stamp + offset
                    if not earliest <= arrival <= latest:
                        arrival = arrival_ns(stamp, offset, earliest, now)
                    media.append((data, arrival))
                elif 0 <= first <= 3 or 20 <= first <= 63:
                    self._protocol.datagram_received(bytes(data), self._datagrams.sender(number))
            if media:
                self._on_media(media)
            if self._closed:
                return
            if len(received) < ROOM:
                self._emptied_ns = now
                return
        if self._batched:
            self._loop.call_soon(self.drain)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send at once; what the kernel has no room for is lost, as on any network."""
        if self._closed:
            return
        try:
            self._socket.sendto(data, addr)
        except BlockingIOError:
            return
        except OSError as error:
            self._protocol.error_received(error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self._socket, "sockname": self.name}.get(name, default)

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._batched:
            self._loop.remove_reader(self._socket)
        self._socket.close()
        self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close
