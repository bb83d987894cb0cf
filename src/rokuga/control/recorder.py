"""RecorderWorkflow, ``<TaskId>/g<n>``: one generation of a task's recorder, on one node."""

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.converter import value_to_type
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

from rokuga.control.direct import tell
from rokuga.control.model import NODES_QUEUE, START_FAILED, Beat, Modified, RecordOrder, Timing, node_queue
from rokuga.control.signals import RecorderNews

ONCE = RetryPolicy(maximum_attempts=1)
RECORD_DAYS = 30
"""For one ``record`` activity; a longer recording is adopted by a new one, like after a lost heartbeat."""
PICK_UP_SECONDS = 5
"""Within which the node that was just heard of takes ``record`` from its queue."""
OUTAGE_SECONDS = 2
"""A last beat older than the heartbeat timeout by more than this: it was Temporal that was away."""
BACK_SECONDS = 12
"""After an outage, a node's poller comes back within this (the SDK backs off up to 10 s)."""


@dataclass(frozen=True)
class RecorderInput:
    """``placed`` is the node that was found already; ``node``, ``session`` and ``modified`` are set when it continues as new."""

    order: RecordOrder
    heartbeat_timeout: float
    place: float
    timing: Timing = field(default_factory=Timing)
    placed: str = ""
    node: str = ""
    session: int = 0
    modified: Modified | None = None


@workflow.defn
class RecorderWorkflow:
    """Places the generation, waits for its end, and asks the node before it is given up for lost."""

    @workflow.init
    def __init__(self, given: RecorderInput) -> None:
        self._given = given
        self._order = given.order
        self._session = given.session
        self._modified = given.modified
        self._beat_ms = 0
        self._unneeded = False
        self._placed = given.placed
        """of which the task knows"""

    @workflow.signal
    def unneeded(self) -> None:
        """The task was stopped: do not begin."""
        self._unneeded = True

    @workflow.run
    async def run(self, given: RecorderInput) -> None:
        kind = await self._record()
        await self._tell(RecorderNews(self._order.generation, kind, session=self._session, modified=self._modified))

    async def _record(self) -> str:
        node, begun = self._given.node, bool(self._given.node)
        while True:
            if not node:
                node, self._placed = self._placed, ""
                if not node:
                    node = await self._place()
                    if not node:
                        return "unneeded" if self._unneeded else "no_room"
                    await self._tell(RecorderNews(self._order.generation, "placed", node=node))
                if self._unneeded:
                    return "unneeded"
            end = await self._watch(node)
            if end in ("done", "start_failed"):
                return end
            if end == "untaken" and not begun:
                # The node went away between place and record: nothing of this generation exists yet.
                node = ""
                continue
            begun = True
            if not await self._holds(node):
                return "lost"
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(dataclasses.replace(self._given, node=node, session=self._session, modified=self._modified))

    async def _place(self) -> str:
        """A node with room; "" if there is none in time, or none is needed any more."""
        placing: workflow.ActivityHandle[str] = workflow.start_activity(
            "place",
            task_queue=NODES_QUEUE,
            result_type=str,
            schedule_to_close_timeout=timedelta(seconds=self._given.place),
            start_to_close_timeout=timedelta(seconds=3),
        )
        await workflow.wait_condition(lambda: placing.done() or self._unneeded)
        if not placing.done():
            placing.cancel()
        try:
            return await placing
        except (ActivityError, asyncio.CancelledError):
            return ""

    async def _watch(self, node: str) -> str:
        """One ``record``: done, start_failed, untaken (the node never took it) or silent."""
        try:
            await workflow.execute_activity(
                "record",
                self._order,
                task_queue=node_queue(node),
                schedule_to_start_timeout=timedelta(seconds=PICK_UP_SECONDS),
                start_to_close_timeout=timedelta(days=RECORD_DAYS),
                heartbeat_timeout=timedelta(seconds=self._given.heartbeat_timeout),
                retry_policy=ONCE,
            )
        except ActivityError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type == START_FAILED:
                return "start_failed"
            self._beat_ms = 0
            if isinstance(cause, TimeoutError):
                if cause.type == TimeoutType.SCHEDULE_TO_START:
                    return "untaken"
                self._beat_ms = self._take_in(cause.last_heartbeat_details)
            elif isinstance(cause, ApplicationError):
                self._take_in(cause.details)
            return "silent"
        return "done"

    def _take_in(self, details: Sequence[Any]) -> int:
        """The Beat in ``details``; when it was sent, 0 if there is none."""
        if not details:
            return 0
        beat: Beat = value_to_type(Beat, details[0])
        self._session = beat.janus_session or self._session
        self._modified = beat.modified or self._modified
        return beat.ms

    async def _holds(self, node: str) -> bool:
        """Ask the node whether it still has the generation; silence is no."""
        behind = workflow.time() - self._beat_ms / 1000 - self._given.heartbeat_timeout
        outage = self._beat_ms > 0 and behind > OUTAGE_SECONDS
        wait = max(self._given.timing.holds, BACK_SECONDS if outage else 0)
        try:
            held: bool = await workflow.execute_activity(
                "holds",
                args=[self._order.task_id, self._order.generation],
                task_queue=node_queue(node),
                result_type=bool,
                schedule_to_start_timeout=timedelta(seconds=wait),
                start_to_close_timeout=timedelta(seconds=self._given.timing.holds),
                retry_policy=ONCE,
            )
        except ActivityError:
            return False
        return held

    async def _tell(self, news: RecorderNews) -> None:
        await tell(self._order.task_id, "recorder", news)
