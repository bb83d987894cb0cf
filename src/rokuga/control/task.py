"""TaskWorkflow, whose id is the TaskId: what a task is, and what happens to it when things fail.

It decides and remembers; recorders, late uploads and callbacks are workflows of their own, which outlive its runs and itself.
The decisions are ``state.TaskState``'s; here they are carried out.
"""

import asyncio
import dataclasses
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.converter import value_to_type
from temporalio.exceptions import ActivityError, ApplicationError

from rokuga.control.direct import begin, tell
from rokuga.control.late import LateInput, LateWorkflow
from rokuga.control.model import ApplyOrder, Description, Lists, Params, RecordOrder, Report, StopOrder, TaskInput, node_queue
from rokuga.control.near import NEAR, PLACE_NEAR, Answer
from rokuga.control.recorder import ONCE, RecorderInput, RecorderWorkflow
from rokuga.control.signals import LateNews, RecorderNews, app_id, late_id, late_owner, recorder_id
from rokuga.control.state import LEAVE_STOPPED, TaskState, Todo
from rokuga.deliver.callback import CallbackInput, CallbackWorkflow, Leave, callback_id
from rokuga.deliver.events import Sender

NOT_FOUND = "ResourceNotFound"
"""Type of the error with which an update is refused; also TRTC's code."""
SIGNALS_PER_RUN = 5000
"""Temporal's limit is 10,000."""
ORDER_SECONDS = 1.5
"""For a node to carry out ``apply`` or ``halt``, once taken. One that takes an order and then hangs is waited for in Modify's time."""
STEER_SECONDS = (2, 60)
"""Between attempts to tell a node what it did not take: at first, at most."""


@dataclass(frozen=True)
class ModifyOrder:
    """Argument of the update ``modify``."""

    sdk_app_id: int
    lists: Lists = field(default_factory=Lists)
    layout: dict[str, Any] = field(default_factory=dict)
    ms: int = 0
    """UTC, when the API heard it"""


@workflow.defn
class TaskWorkflow:
    """Updates ``modify`` and ``stop``, queries ``describe`` and ``busy``.

    Signals: ``reported`` (nodes), ``recorder`` and ``late`` (the task's own workflows), ``foretell`` and ``undo`` (the API).
    """

    @workflow.init
    def __init__(self, task: TaskInput) -> None:
        self._task = task
        self._new = task.state is None
        params = task.params
        self._state = TaskState(params.lists, params.layout) if task.state is None else value_to_type(TaskState, task.state)
        self._updates = 0
        self._signals = 0
        self._steering = False
        self._left_over = self._state.behind
        """the run before left something to tell the node"""

    @workflow.query
    def describe(self) -> Description:
        """What DescribeCloudRecording tells."""
        return self._state.describe(self._task.params, self._task.expires_ms)

    @workflow.query
    def busy(self) -> bool:
        """Whether something can be done now, without waiting for anybody."""
        return self._todo() is not None

    @workflow.update
    async def modify(self, order: ModifyOrder) -> int:
        """Overwrite lists and layout; answers the new version. A node that is gone is told later."""
        full = self._full()
        self._updates += 1
        self._state.modify(order.lists, order.layout, order.ms)
        version = self._state.version
        if not full:
            # A full run begins anew as soon as no handler waits. Who comes before that overlaps with another, and if all of them
            # waited for the node there might never be such a moment: the next run tells it first of all.
            await self._apply()
        return version

    @modify.validator
    def _may_modify(self, order: ModifyOrder) -> None:
        self._refuse(order.sdk_app_id)

    @workflow.update
    async def stop(self, sdk_app_id: int) -> None:
        """Delete: the recorder leaves the room, uploads go on."""
        self._updates += 1
        await self._stop()

    @stop.validator
    def _may_stop(self, sdk_app_id: int) -> None:
        self._refuse(sdk_app_id)

    @workflow.signal
    async def undo(self) -> None:
        """Create has answered an error after all: end as ``stop`` does."""
        if not self._state.ended:
            await self._stop()

    @workflow.signal
    def foretell(self, leave_code: int) -> None:
        """Our API is about to send the bot out of its room."""
        self._signals += 1
        self._state.foretell(leave_code, self._now())

    @workflow.signal
    def reported(self, reports: list[Report]) -> None:
        """From a node, in order."""
        self._signals += 1
        for report in reports:
            self._state.report(report, self._now())

    @workflow.signal
    def recorder(self, news: RecorderNews) -> None:
        """From a RecorderWorkflow."""
        self._signals += 1
        if news.kind == "placed":
            self._state.placed(news.generation, news.node)
        else:
            pauses = self._task.timing.pull_up_pauses
            self._state.recorder_over(news.generation, news.kind, news.session, news.modified, pauses, self._now())

    @workflow.signal
    def late(self, news: LateNews) -> None:
        """From a LateWorkflow."""
        self._signals += 1
        for report in news.reports:
            self._state.report(report, self._now())
        self._state.late_over(news.generation, news.complete)

    @workflow.run
    async def run(self, task: TaskInput) -> None:
        if self._new:
            await self._begin()
        steer = asyncio.create_task(self._steer())
        while True:
            while todo := self._todo():
                await self._do(todo)
            if self._state.left and workflow.all_handlers_finished():
                break
            if self._must_continue():
                workflow.continue_as_new(dataclasses.replace(task, state=dataclasses.asdict(self._state)))
            await self._wait()
        steer.cancel()

    async def _do(self, todo: Todo) -> None:
        state, task = self._state, self._task
        match todo:
            case Todo.EVENTS:
                events, state.outbox = state.outbox, []
                await self._queue("enqueue", events)
            case Todo.RELEASE:
                state.release_due = False
                await tell(app_id(task.params.sdk_app_id), "release", task.task_id)
            case Todo.LATE:
                generation = state.lates_due.pop(0)
                state.lates.append(generation)
                await self._queue("join", late_owner(generation))
                late = LateInput(self._order(generation), state.nodes[str(generation)], task.callbacks, generation in state.ran)
                await begin(LateWorkflow, late, late_id(task.task_id, generation))
            case Todo.GENERATION:
                timing, generation = task.timing, state.generation
                place = timing.pull_up_place if generation else timing.place
                order = self._order(generation)
                state.opened()
                placed = await self._place_near()
                if placed:
                    state.placed(generation, placed)
                recorder = RecorderInput(order, task.heartbeat_timeout, place, timing, placed)
                await begin(RecorderWorkflow, recorder, recorder_id(task.task_id, generation))
            case Todo.CLOSE:
                state.conclude(self._now())
            case Todo.LEAVE:
                await self._queue("leave", Leave("task"))
                state.left = True

    async def _begin(self) -> None:
        task, params = self._task, self._task.params
        if task.callbacks:
            sender = Sender(task.task_id, params.sdk_app_id, params.room_id, params.user_id)
            await begin(CallbackWorkflow, CallbackInput(sender, ["task"]), callback_id(task.task_id))

    async def _queue(self, signal: str, argument: Any) -> None:
        if self._task.callbacks:
            await tell(callback_id(self._task.task_id), signal, argument)

    async def _stop(self) -> None:
        state = self._state
        state.stop(self._now())
        if state.node:
            await self._halt()
        if state.open and not state.halted:
            # It may not have been taken because nothing has begun there yet.
            await tell(recorder_id(self._task.task_id, state.generation), "unneeded")

    async def _steer(self) -> None:
        """Tell the node again what it did not take at once: it may have been busy, or not yet recording."""
        shortest, longest = STEER_SECONDS
        pause = shortest
        if self._left_over:
            await self._tell()
        while True:
            await workflow.wait_condition(lambda: self._state.behind)
            generation = self._state.generation
            try:
                await workflow.wait_condition(lambda: not self._state.behind, timeout=timedelta(seconds=pause))
            except TimeoutError:
                await self._tell()
            pause = min(pause * 2, longest) if self._state.behind and generation == self._state.generation else shortest

    async def _tell(self) -> None:
        self._steering = True
        await (self._halt() if self._state.stopping else self._apply())
        self._steering = False

    async def _apply(self) -> None:
        state = self._state
        if state.behind and not state.stopping:
            generation, version = state.generation, state.version
            order = ApplyOrder(self._task.task_id, generation, version, self._params(), state.modified_ms)
            if await self._node("apply", order) and generation == state.generation:
                state.applied = max(state.applied, version)

    async def _halt(self) -> None:
        state = self._state
        if state.behind:
            generation = state.generation
            order = StopOrder(self._task.task_id, generation, LEAVE_STOPPED, "deleted")
            if await self._node("halt", order) and generation == state.generation:
                state.halted = True

    async def _node(self, name: str, order: ApplyOrder | StopOrder) -> bool:
        """Tell the recorder's node; False if it is gone or refuses."""
        answer = await self._near(name, order)
        if answer != "elsewhere":
            return answer == "taken"
        try:
            await workflow.execute_activity(
                name,
                order,
                task_queue=node_queue(self._state.node),
                schedule_to_start_timeout=timedelta(seconds=self._task.timing.node),
                start_to_close_timeout=timedelta(seconds=ORDER_SECONDS),
                retry_policy=ONCE,
            )
        except ActivityError as error:
            workflow.logger.info("%s not taken: %s", name, error.cause)
            return False
        return True

    async def _near(self, name: str, order: ApplyOrder | StopOrder) -> Answer:
        """The short way, where the node is on the machine of whoever carries out this workflow."""
        try:
            answer: Answer = await workflow.execute_local_activity(
                NEAR,
                args=[self._state.node, name, order],
                result_type=str,
                start_to_close_timeout=timedelta(seconds=ORDER_SECONDS),
                retry_policy=ONCE,
            )
        except ActivityError as error:
            workflow.logger.warning("%s: %s", name, error.cause)
            return "elsewhere"
        return answer

    async def _place_near(self) -> str:
        """The node on the machine of whoever carries out this workflow, if it takes one more; "" if it is to be looked for."""
        try:
            node: str = await workflow.execute_local_activity(
                PLACE_NEAR, result_type=str, start_to_close_timeout=timedelta(seconds=ORDER_SECONDS), retry_policy=ONCE
            )
        except ActivityError as error:
            workflow.logger.warning("%s: %s", PLACE_NEAR, error.cause)
            return ""
        return node

    async def _wait(self) -> None:
        """Until there is something to do."""
        wake = self._state.wake_ms(self._close_ms())
        timeout = None if wake is None else timedelta(milliseconds=max(1, wake - self._now()))
        try:
            await workflow.wait_condition(self._woken, timeout=timeout)
        except TimeoutError:
            pass

    def _woken(self) -> bool:
        return self._todo() is not None or self._must_continue() or (self._state.left and workflow.all_handlers_finished())

    def _full(self) -> bool:
        many = self._updates >= self._task.timing.updates_per_run or self._signals >= SIGNALS_PER_RUN
        return many or workflow.info().is_continue_as_new_suggested()

    def _must_continue(self) -> bool:
        return self._full() and not self._state.left and not self._steering and workflow.all_handlers_finished()

    def _todo(self) -> Todo | None:
        return self._state.todo(self._now(), self._close_ms())

    def _order(self, generation: int) -> RecordOrder:
        task, state = self._task, self._state
        params, session = self._params(), state.session
        return RecordOrder(task.task_id, generation, state.version, params, task.target, task.user_sig, session, task.expires_ms)

    def _params(self) -> Params:
        return dataclasses.replace(self._task.params, lists=self._state.lists, layout=self._state.layout)

    def _refuse(self, sdk_app_id: int) -> None:
        """Raises ApplicationError NOT_FOUND for another app's task, one that has expired, and one that is ending."""
        expired = 0 < self._task.expires_ms <= self._now()
        if sdk_app_id != self._task.params.sdk_app_id or expired or self._state.ended:
            raise ApplicationError("no such task", type=NOT_FOUND)

    def _close_ms(self) -> int:
        return int(self._task.timing.close * 1000)

    def _now(self) -> int:
        return int(workflow.time() * 1000)
