"""A node that does what the test says: it polls the real queues and speaks the real contract, but records nothing."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import AsyncActivityHandle, Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from rokuga import clock
from rokuga.control.model import (
    NODES_QUEUE,
    NOTHING_LEFT,
    START_FAILED,
    ApplyOrder,
    Beat,
    RecordOrder,
    Recovered,
    Report,
    StopOrder,
    node_queue,
)

Key = tuple[str, int]


class ScriptedNode:
    """``async with``: a worker on its own queue and, with ``room``, on the shared one.

    A record is started and, when halted, stopped and drained at once, unless ``start_fails`` or ``drains`` say otherwise.
    """

    def __init__(self, client: Client, node_id: str, room: bool = True) -> None:
        self.id = node_id
        self.room = room
        self.start_fails = False
        self.drains = True
        self.beating = True
        self.refuses = False
        """apply and halt"""
        self.orders: list[RecordOrder] = []
        self.applied: list[ApplyOrder] = []
        self.halted: list[StopOrder] = []
        self.asked: list[Key] = []
        self.holding: set[Key] = set()
        self.left: dict[Key, list[Report]] = {}
        """what ``recover`` answers; absent: nothing left"""
        self.gates: dict[Key, asyncio.Event] = {}
        """``recover`` waits for these"""
        self.recovered: list[RecordOrder] = []
        self._client = client
        self._tokens: dict[Key, bytes] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._life = uuid.uuid4().hex
        self._numbers: defaultdict[Key, int] = defaultdict(int)

    async def __aenter__(self) -> "ScriptedNode":
        own: list[Callable[..., Any]] = [self.record, self.holds, self.apply, self.halt, self.recover]
        soon = timedelta(milliseconds=200)
        await self._stack.enter_async_context(
            Worker(self._client, task_queue=node_queue(self.id), activities=own, max_heartbeat_throttle_interval=soon)
        )
        if self.room:
            await self._stack.enter_async_context(self.polling())
        return self

    def polling(self) -> Worker:
        """``async with``: takes new recordings."""
        return Worker(self._client, task_queue=NODES_QUEUE, activities=[self.place])

    async def __aexit__(self, *_: object) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self._stack.aclose()

    # The contract

    @activity.defn
    async def place(self) -> str:
        return self.id

    @activity.defn
    async def record(self, order: RecordOrder) -> None:
        key = (order.task_id, order.generation)
        self.orders.append(order)
        if self.start_fails:
            await self.report(key, "failed", error="no such room")
            raise ApplicationError("no such room", type=START_FAILED, non_retryable=True)
        self._tokens[key] = activity.info().task_token
        if key not in self.holding:
            self.holding.add(key)
            await self.report(key, "started")
        self._later(self._beat(key, self._tokens[key]))
        activity.raise_complete_async()

    @activity.defn
    async def holds(self, task_id: str, generation: int) -> bool:
        self.asked.append((task_id, generation))
        return (task_id, generation) in self.holding

    @activity.defn
    async def apply(self, order: ApplyOrder) -> None:
        if self.refuses or (order.task_id, order.generation) not in self.holding:
            raise ApplicationError("not recording here", non_retryable=True)
        self.applied.append(order)

    @activity.defn
    async def halt(self, order: StopOrder) -> None:
        key = (order.task_id, order.generation)
        if self.refuses or key not in self.holding:
            raise ApplicationError("not recording here", non_retryable=True)
        self.halted.append(order)
        self._later(self.leave(key, order.leave_code))

    @activity.defn
    async def recover(self, order: RecordOrder) -> Recovered:
        self.recovered.append(order)
        key = (order.task_id, order.generation)
        if key in self.gates:
            await self.gates[key].wait()
        if key not in self.left:
            raise ApplicationError("nothing of it here", type=NOTHING_LEFT, non_retryable=True)
        return Recovered(self.left[key])

    # What the test tells it to do

    def of(self, task_id: str) -> list[RecordOrder]:
        """The records of that task, adoptions included."""
        return [o for o in self.orders if o.task_id == task_id]

    async def report(self, key: Key, kind: str, ms: int = 0, **payload: Any) -> Report:
        """Signal a report, numbered."""
        report = self.said(key, kind, ms, **payload)
        await self._client.get_workflow_handle(key[0]).signal("reported", [report])
        return report

    def said(self, key: Key, kind: str, ms: int = 0, **payload: Any) -> Report:
        """A report not yet sent."""
        self._numbers[key] += 1
        return Report(key[1], f"{self._life}-{self._numbers[key]}", kind, ms or clock.utc_ms(), payload)

    async def drained(self, key: Key) -> None:
        """All is confirmed: say so and complete ``record``."""
        await self.report(key, "drained")
        self.holding.discard(key)
        await self._handle(self._tokens[key]).complete()

    async def leave(self, key: Key, leave_code: int) -> None:
        """Capture is out."""
        await self.report(key, "stopped", leave_code=leave_code)
        if self.drains:
            await self.drained(key)

    async def _beat(self, key: Key, token: bytes) -> None:
        handle = self._handle(token)
        while key in self.holding and self._tokens[key] == token:
            if self.beating:
                try:
                    await handle.heartbeat(Beat(janus_session=1000 + key[1], ms=clock.utc_ms()))
                except RPCError:
                    return
            await asyncio.sleep(0.2)

    def _handle(self, token: bytes) -> AsyncActivityHandle:
        return self._client.get_async_activity_handle(task_token=token)

    def _later(self, chore: Any) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
