"""The outbox against a client that fails as told."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rokuga.control.model import Report
from rokuga.node import outbox as module
from rokuga.node.outbox import Outbox


class FakeClient:
    """Takes signals; ``faults`` are raised first, one a signal."""

    def __init__(self, faults: list[RPCStatusCode] | None = None) -> None:
        self.got: list[Report] = []
        self.signals = 0
        self.faults = faults or []

    def get_workflow_handle(self, workflow_id: str) -> "FakeClient":
        assert workflow_id == "task"
        return self

    async def signal(self, name: str, reports: list[Report], **_: Any) -> None:
        assert name == "reported"
        await asyncio.sleep(0)
        if self.faults:
            raise RPCError("as told", self.faults.pop(0), b"")
        self.signals += 1
        self.got += reports


def outbox(path: Path, client: FakeClient) -> Outbox:
    return Outbox(path / "reports", "task", 1, cast(Client, client))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_FIRST_SECONDS", 0.01)


async def sent(box: Outbox) -> bool:
    running = asyncio.create_task(box.run())
    try:
        return await asyncio.wait_for(box.flushed(), 10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_in_order_once_a_key_and_through_outages(tmp_path: Path) -> None:
    client = FakeClient([RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED])
    box = outbox(tmp_path, client)
    for kind in ("started", "sliced", "started", "stopped"):
        await box.add(kind, kind, {})
    assert await sent(box)
    assert [r.kind for r in client.got] == ["started", "sliced", "stopped"]
    assert {r.generation for r in client.got} == {1}


async def test_what_is_reported_together_goes_together(tmp_path: Path) -> None:
    client = FakeClient()
    box = outbox(tmp_path, client)
    for number in range(module.MOST + 1):
        await box.add("sliced", f"sliced/{number}", {})
    assert await sent(box)
    assert [r.key for r in client.got] == [f"sliced/{number}" for number in range(module.MOST + 1)]
    assert client.signals == 2


async def test_what_is_reported_at_the_same_time_goes_in_one_signal(tmp_path: Path) -> None:
    client = FakeClient()
    box = outbox(tmp_path, client)
    running = asyncio.create_task(box.run())
    for key in ("started", "upload_started"):
        await asyncio.sleep(0)
        await box.add(key, key, {})
    assert await box.flushed()
    running.cancel()
    assert [r.key for r in client.got] == ["started", "upload_started"]
    assert client.signals == 1


async def test_a_restart_sends_what_was_not_accepted(tmp_path: Path) -> None:
    first = FakeClient()
    box = outbox(tmp_path, first)
    await box.add("started", "started", {})
    assert await sent(box)
    await box.add("sliced", "sliced/a", {"file": "a"})
    await box.add("drained", "drained", {})
    second = FakeClient()
    again = outbox(tmp_path, second)
    await again.add("drained", "drained", {})
    assert [r.key for r in again.unacknowledged] == ["sliced/a", "drained"]
    assert await sent(again)
    assert [r.payload for r in second.got] == [{"file": "a"}, {}]
    assert outbox(tmp_path, FakeClient()).unacknowledged == []


async def test_a_report_torn_by_a_crash_is_reported_again(tmp_path: Path) -> None:
    box = outbox(tmp_path, FakeClient())
    await box.add("started", "started", {})
    await box.add("stopped", "stopped", {})
    whole = (tmp_path / "reports").read_bytes()
    (tmp_path / "reports").write_bytes(whole[:-5])
    client = FakeClient()
    again = outbox(tmp_path, client)
    await again.add("stopped", "stopped", {})
    assert await sent(again)
    assert [r.kind for r in client.got] == ["started", "stopped"]


async def test_reports_of_a_closed_task_are_kept(tmp_path: Path) -> None:
    box = outbox(tmp_path, FakeClient([RPCStatusCode.NOT_FOUND]))
    await box.add("sliced", "sliced/a", {})
    await box.add("drained", "drained", {})
    assert not await sent(box)
    assert box.closed
    assert [r.kind for r in outbox(tmp_path, FakeClient()).unacknowledged] == ["sliced", "drained"]
