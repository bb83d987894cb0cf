"""CallbackWorkflow, ``<TaskId>/cb``: the callback queue of one task, durable.

One activity per try, waiting by workflow timers: a dead receiver costs timers only and delays no other task. It ends when its
owners (the task, its late uploads, what comes after) have left and the queue is empty.
"""

import dataclasses
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.converter import value_to_type
from temporalio.exceptions import ActivityError

from rokuga.deliver.events import Event, Sender, body, upload_stop
from rokuga.deliver.post import PostOrder
from rokuga.deliver.queue import Queue, Retry

POST_SECONDS = 15
"""For the activity as a whole, over the try's own 5 s: only a dead worker takes so long."""


def callback_id(task_id: str) -> str:
    """The workflow's id."""
    return f"{task_id}/cb"


@dataclass
class CallbackState:
    """What the workflow carries over when it continues as new."""

    owners: list[str] = field(default_factory=list)
    queue: Queue = field(default_factory=Queue)
    short: bool = False
    """305 Status 1 is in the queue or was: Status 2 is owed when the last owner leaves"""
    broken: bool = False
    """an owner left without what it was to bring: no Status 2"""
    last_ms: int = 0


@dataclass(frozen=True)
class CallbackInput:
    """``owners`` are those that it waits for at first."""

    sender: Sender
    owners: list[str]
    retry: Retry = field(default_factory=Retry)
    state: dict[str, Any] | None = None


@dataclass(frozen=True)
class Leave:
    """Signal ``leave``: that owner sends nothing more. ``complete``: all its files are in the store, since ``ms`` (UTC)."""

    owner: str
    complete: bool = True
    ms: int = 0


@workflow.defn
class CallbackWorkflow:
    """See the module. Signals: ``enqueue``, ``join``, ``leave``; query ``busy``."""

    @workflow.init
    def __init__(self, given: CallbackInput) -> None:
        self._given = given
        self._state = CallbackState(list(given.owners)) if given.state is None else value_to_type(CallbackState, given.state)
        self._news = False

    @workflow.query
    def busy(self) -> bool:
        """Whether an event is being posted or is to be posted now; those that wait for their next try do not count."""
        return self._state.queue.due(self._now()) is not None

    @workflow.signal
    def enqueue(self, events: list[Event]) -> None:
        """Append events, each once by its key."""
        for event in events:
            if self._state.queue.add(event):
                self._state.short |= event.type == 305 and event.payload.get("Status") == 1
        self._news = True

    @workflow.signal
    def join(self, owner: str) -> None:
        """Wait for that owner, too."""
        if owner not in self._state.owners:
            self._state.owners.append(owner)
        self._news = True

    @workflow.signal
    def leave(self, left: Leave) -> None:
        """An owner is done."""
        if left.owner in self._state.owners:
            self._state.owners.remove(left.owner)
        self._state.broken |= not left.complete
        self._state.last_ms = max(self._state.last_ms, left.ms)
        self._news = True

    @workflow.run
    async def run(self, given: CallbackInput) -> None:
        queue = self._state.queue
        while not self._over():
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(dataclasses.replace(given, state=dataclasses.asdict(self._state)))
            item = queue.due(self._now())
            if item is None:
                await self._wait(queue.wake_ms())
                continue
            if not item.body:
                item.first_ms = self._now()
                item.body = body(item.event, given.sender, item.first_ms)
            item.tries += 1
            taken = await self._try(item.body)
            if item not in queue.items:
                continue
            if taken:
                queue.answered(item)
            else:
                queue.failed(item, self._now(), given.retry)
        if queue.dropped:
            workflow.logger.warning("callbacks given up: %d", queue.dropped)

    def _over(self) -> bool:
        state = self._state
        if state.owners:
            return False
        if state.short and not state.broken:
            state.queue.add(upload_stop(state.last_ms or self._now(), 2))
        return not state.queue.items

    async def _try(self, text: str) -> bool:
        sender = self._given.sender
        try:
            why: str = await workflow.execute_activity(
                "post",
                PostOrder(sender.sdk_app_id, sender.task_id, text),
                result_type=str,
                start_to_close_timeout=timedelta(seconds=POST_SECONDS),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except ActivityError:
            return False
        return not why

    async def _wait(self, until_ms: int | None) -> None:
        self._news = False
        timeout = None if until_ms is None else timedelta(milliseconds=max(1, until_ms - self._now()))
        try:
            await workflow.wait_condition(lambda: self._news, timeout=timeout)
        except TimeoutError:
            pass

    def _now(self) -> int:
        return int(workflow.time() * 1000)
