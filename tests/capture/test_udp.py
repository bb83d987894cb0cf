"""Sockets read in batches: what arrives when, and who gets it."""

import asyncio
import socket

import pytest
from aioice.ice import Connection, StunProtocol

from rokuga import clock
from rokuga.capture.datagrams import Datagrams
from rokuga.capture.udp import BATCH, UdpPath, arrival_ns, local_addresses

MS = 1_000_000


def test_a_stamp_becomes_monotonic_and_a_step_of_the_wall_clock_stays_within_the_drain() -> None:
    assert arrival_ns(1_000_000, -900_000, 50_000, 200_000) == 100_000
    assert arrival_ns(0, 5, 50_000, 200_000) == 200_000
    hour = 3_600_000_000_000
    assert arrival_ns(1_000_000, -900_000 - hour, 50_000, 200_000) == 50_000
    assert arrival_ns(1_000_000, -900_000 + hour, 50_000, 200_000) <= 200_000 + 5 * MS


def test_the_local_address_is_the_one_on_the_route() -> None:
    assert local_addresses(["127.0.0.1", "127.0.0.2", "host.local"]) == ["127.0.0.1"]


class Seen(StunProtocol):
    def __init__(self) -> None:
        super().__init__(Connection(ice_controlling=False))
        self.datagrams: list[bytes] = []

    def datagram_received(self, data: bytes | str, addr: object) -> None:
        assert isinstance(data, bytes)
        self.datagrams.append(data)


async def test_packets_carry_the_time_of_their_arrival_not_of_their_reading() -> None:
    media: list[tuple[bytes, int]] = []
    protocol = Seen()
    path = UdpPath("127.0.0.1", protocol, Datagrams(), lambda came: media.extend((bytes(data), at) for data, at in came))
    path.batch()
    sent = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for n in range(5):
            before = clock.monotonic_ns()
            out.sendto(bytes([128, n]), path.name)
            sent.append((before, clock.monotonic_ns()))  # whoever shares the machine may come in between
            await asyncio.sleep(0.02)
        for first in (0, 3, 20, 63, 64, 127, 192):
            out.sendto(bytes([first]), path.name)
    assert media == []
    path.drain()
    assert [data for data, _ in media] == [bytes([128, n]) for n in range(5)]
    assert protocol.datagrams == [b"\x00", b"\x03", b"\x14", b"\x3f"]
    for (_, arrival), (before, after) in zip(media, sent, strict=True):
        assert before - 5 * MS < arrival < after + 5 * MS
    await protocol.close()
    assert path.is_closing()


async def test_before_batching_packets_are_read_as_they_come() -> None:
    came = asyncio.Event()
    protocol = Seen()
    path = UdpPath("127.0.0.1", protocol, Datagrams(), lambda media: came.set())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"\x80", path.name)
        await asyncio.wait_for(came.wait(), 5)
    await protocol.close()


async def test_a_burst_is_taken_in_within_one_tick() -> None:
    media: list[bytes] = []
    protocol = Seen()
    path = UdpPath("127.0.0.1", protocol, Datagrams(), lambda came: media.extend(bytes(data) for data, _ in came))
    path.batch()
    count = 3 * BATCH + 7
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(count):
            out.sendto(b"\x80" * 1200, path.name)
    path.drain()
    assert len(media) == BATCH
    while len(media) < count:
        before = len(media)
        await asyncio.sleep(0)
        assert len(media) > before
    await protocol.close()


async def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(OSError, match="assign"):
        UdpPath("192.0.2.77", Seen(), Datagrams(), lambda media: None)
