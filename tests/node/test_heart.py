"""The heartbeat: fencing, adoption, and an end that is told until it is known."""

import asyncio
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from rokuga import clock
from rokuga.control.model import Beat
from rokuga.node import heart as module
from rokuga.node.heart import Heart


class FakeClient:
    """Activities by token; ``fault`` is raised while it is set."""

    def __init__(self) -> None:
        self.fault: RPCStatusCode | None = None
        self.beats: list[bytes] = []
        self.ends: list[tuple[bytes, str]] = []

    def get_async_activity_handle(self, *, task_token: bytes) -> "FakeHandle":
        return FakeHandle(self, task_token)


class FakeHandle:
    def __init__(self, client: FakeClient, token: bytes) -> None:
        self._client = client
        self._token = token

    async def heartbeat(self, beat: Beat, **_: Any) -> None:
        self._fail()
        self._client.beats.append(self._token)

    async def complete(self, result: None, **_: Any) -> None:
        self._fail()
        self._client.ends.append((self._token, ""))

    async def fail(self, error: ApplicationError, **_: Any) -> None:
        self._fail()
        self._client.ends.append((self._token, error.type or ""))

    def _fail(self) -> None:
        if self._client.fault is not None:
            raise RPCError("as told", self._client.fault, b"")


class Bench:
    def __init__(self, token: bytes = b"one") -> None:
        self.client = FakeClient()
        self.fenced = False
        self.heart = Heart(cast(Client, self.client), token, self._beat, 0.1, self._fence)

    async def _beat(self, thorough: bool) -> Beat:
        return Beat()

    def _fence(self, cut_off: bool) -> None:
        self.fenced = cut_off

    async def until(self, what: bool, seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while self.fenced != what:
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.02)


@pytest.mark.parametrize(("fault", "pause"), [(None, 0.05), (RPCStatusCode.UNAVAILABLE, 0.02), (RPCStatusCode.DEADLINE_EXCEEDED, 0.02)])
async def test_beats_twice_a_timeout_and_sooner_after_one_that_did_not_arrive(
    monkeypatch: pytest.MonkeyPatch, fault: RPCStatusCode | None, pause: float
) -> None:
    bench = Bench()
    bench.client.fault = fault
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(clock, "monotonic_ns", lambda: 1)
    with pytest.raises(asyncio.CancelledError):
        await bench.heart.run()
    assert pauses == [pause]


async def test_fenced_after_three_timeouts_and_free_when_heard_again() -> None:
    bench = Bench()
    beating = asyncio.create_task(bench.heart.run())
    await asyncio.sleep(0.5)
    assert bench.client.beats
    assert not bench.fenced
    bench.client.fault = RPCStatusCode.UNAVAILABLE
    await bench.until(True)
    bench.client.fault = None
    await bench.until(False)
    beating.cancel()


async def test_an_activity_that_is_gone_is_not_asked_again_and_a_new_one_adopts() -> None:
    bench = Bench()
    bench.client.fault = RPCStatusCode.NOT_FOUND
    beating = asyncio.create_task(bench.heart.run())
    await bench.until(True)
    assert bench.heart.orphaned_ns is not None
    bench.client.fault = None
    await asyncio.sleep(0.3)
    assert bench.client.beats == []
    bench.heart.adopt(b"two")
    assert not bench.fenced
    await asyncio.sleep(0.5)
    assert set(bench.client.beats) == {b"two"}
    assert bench.heart.orphaned_ns is None
    beating.cancel()


async def test_the_end_is_told_until_it_is_known() -> None:
    bench = Bench()
    bench.client.fault = RPCStatusCode.UNAVAILABLE
    ending = asyncio.create_task(bench.heart.complete())
    await asyncio.sleep(0.1)
    assert not ending.done()
    bench.client.fault = None
    await asyncio.wait_for(ending, 5)
    assert bench.client.ends == [(b"one", "")]


async def test_an_activity_that_came_meanwhile_is_completed_too() -> None:
    bench = Bench()
    bench.client.fault = RPCStatusCode.UNAVAILABLE
    ending = asyncio.create_task(bench.heart.complete())
    await asyncio.sleep(0.1)
    bench.heart.adopt(b"two")
    bench.client.fault = None
    await asyncio.wait_for(ending, 5)
    assert bench.client.ends == [(b"one", ""), (b"two", "")]


async def test_renounced_it_beats_no_more() -> None:
    bench = Bench()
    await bench.heart.renounce(ApplicationError("keys", type="KeysNeeded"))
    assert bench.client.ends == [(b"one", "KeysNeeded")]
    beating = asyncio.create_task(bench.heart.run())
    await asyncio.sleep(0.2)
    beating.cancel()
    assert bench.client.beats == []


async def test_those_who_ask_while_a_beat_is_under_way_share_the_next() -> None:
    bench = Bench()

    async def slow(_: bool) -> Beat:
        await asyncio.sleep(0)
        return Beat()

    bench.heart._beat = slow
    assert await asyncio.gather(*(bench.heart.tell() for _ in range(5))) == [True] * 5
    assert len(bench.client.beats) == 2
    bench.client.fault = RPCStatusCode.UNAVAILABLE
    assert not await bench.heart.tell()
    bench.client.fault = RPCStatusCode.NOT_FOUND
    assert not await bench.heart.tell()
    bench.client.fault = None
    assert not await bench.heart.tell(), "nobody waits"


async def test_what_went_to_an_activity_that_was_replaced_meanwhile_was_not_told() -> None:
    bench = Bench()

    async def adopted(_: bool) -> Beat:
        bench.heart.adopt(b"two")
        return Beat()

    bench.heart._beat = adopted
    assert not await bench.heart.tell()
    assert bench.client.beats == [b"one"]


async def test_a_beat_that_was_asked_for_stands_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    now, pauses = 0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(round(seconds, 3))
        if len(pauses) == 1:
            now += 30_000_000
            assert await bench.heart.tell()
            now += 20_000_000
        else:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now)
    with pytest.raises(asyncio.CancelledError):
        await bench.heart.run()
    assert pauses == [0.05, 0.03]
    assert len(bench.client.beats) == 2


async def test_trusted_until_it_may_have_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000_000
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now)
    bench = Bench()
    assert bench.heart.trusted
    now += 99_000_000
    assert bench.heart.trusted
    await bench.heart.tell()
    now += 99_000_000
    assert bench.heart.trusted
    now += 1_000_000
    assert not bench.heart.trusted
    bench.heart.adopt(b"two")
    assert bench.heart.trusted
    await bench.heart.renounce(ApplicationError("keys"))
    assert not bench.heart.trusted
