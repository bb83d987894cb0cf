"""The namespaces and the relay between them, with real sockets."""

import asyncio
import socket
import struct
import time
from pathlib import Path

import pytest

from tests.kit.impair import BLACKOUT, LOSS, PASSED, Conditions
from tests.kit.network import NEAR, Namespace, Network, available

pytestmark = [pytest.mark.live, pytest.mark.skipif(not available(), reason="needs root and /dev/net/tun")]


def socket_in(namespace: Namespace, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
    with namespace.entered():
        made = socket.socket(socket.AF_INET, kind)
    made.setblocking(False)
    made.bind((namespace.address, 0))
    return made


def rtp(sequence: int, ssrc: int = 7, size: int = 1000) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, sequence & 0xFFFF, sequence * 3000, ssrc).ljust(size, b"\0")


async def received(sock: socket.socket, seconds: float = 0.3) -> list[bytes]:
    """All that comes until nothing came for a while."""
    found = []
    loop = asyncio.get_running_loop()
    while True:
        try:
            found.append(await asyncio.wait_for(loop.sock_recv(sock, 2048), seconds))
        except TimeoutError:
            return found


async def test_packets_flow_between_the_namespaces_and_nowhere_else() -> None:
    outside = Path("/proc/thread-self/ns/net").stat().st_ino
    async with Network(1) as network:
        assert Path("/proc/thread-self/ns/net").stat().st_ino == outside
        with socket_in(network.near) as near, socket_in(network.far) as far:
            for number in range(10):
                near.sendto(rtp(number), far.getsockname())
            assert await received(far) == [rtp(number) for number in range(10)]
            far.sendto(b"back", near.getsockname())
            assert await received(near) == [b"back"]
            with pytest.raises(OSError, match="unreachable"):
                far.sendto(b"x", ("192.0.2.1", 9))
        assert [(packet.sequence, packet.ssrc, packet.fate) for packet in network.down.sent] == [(n, 7, PASSED) for n in range(10)]
        assert network.up.sent == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, pytest.raises(OSError, match="assign"):
        probe.bind((NEAR, 0))


async def test_udp_is_impaired_and_tcp_is_not() -> None:
    async with Network(1) as network:
        network.down.conditions = network.up.conditions = Conditions(loss=1)
        with socket_in(network.near, socket.SOCK_STREAM) as server, socket_in(network.far, socket.SOCK_STREAM) as client:
            server.listen()
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(client, server.getsockname()), 10)
            client.sendall(b"over tcp")
            accepted, _ = await loop.sock_accept(server)
            with accepted:
                assert await asyncio.wait_for(loop.sock_recv(accepted, 100), 10) == b"over tcp"
        with socket_in(network.near) as near, socket_in(network.far) as far:
            near.sendto(rtp(1), far.getsockname())
            assert await received(far) == []
            network.down.conditions = Conditions(delay=0.2, duplicate=1)
            near.sendto(rtp(2), far.getsockname())
            begun = time.monotonic()
            assert await received(far, 1) == [rtp(2)] * 2
            assert time.monotonic() - begun > 0.2
            now = asyncio.get_running_loop().time()
            network.down.conditions = Conditions(blackouts=((now, now + 60),))
            near.sendto(rtp(3), far.getsockname())
            assert await received(far) == []
        assert [packet.fate for packet in network.down.sent] == [LOSS, PASSED, BLACKOUT]
        assert [packet.sequence for packet in network.down.dropped()] == [1, 3]


async def test_ten_megabits_a_second_pass_in_time() -> None:
    """1,250 packets of 1,000 bytes a second, with jitter: nothing is lost, and it takes a small part of a core."""
    async with Network(1) as network:
        network.down.conditions = Conditions(jitter=0.1)
        with socket_in(network.near) as near, socket_in(network.far) as far:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            reading = asyncio.create_task(received(far, 1))
            begun, cpu = time.monotonic(), time.process_time()
            for number in range(2500):
                near.sendto(rtp(number), far.getsockname())
                if number % 25 == 24:
                    await asyncio.sleep(max(0.0, begun + number / 1250 - time.monotonic()))
            packets = await reading
            cpu = time.process_time() - cpu
        assert len(packets) == len(set(packets)) == 2500
        assert packets != sorted(packets)
        assert cpu / 2 < 0.5
