"""AppWorkflow, ``app/<SdkAppId>``: the exact limit of an app's concurrent recordings.

Admission comes before anything starts; a slot is given back when the recorder is out. A slot whose task is gone without having given
it back is found by asking: every minute after those that were not asked after for longest.
"""

import dataclasses
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.converter import value_to_type
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError, RPCStatusCode

FULL = "FailedOperation.RestrictedConcurrency"
"""Why there is no slot: the app has as many recordings as it may. Also TRTC's code."""
UNDONE = "Undone"
"""Why there is no slot: the task was released before."""
ASK_AT_A_TIME = 5
EARLY_SECONDS = 600
"""How long a release that came before its admission is remembered; an admission waits for seconds."""


@dataclass
class AppState:
    """``slots``: TaskId to when it was admitted or last found running, ms UTC. ``early``: those released before they were admitted.

    ``places``: where those that hold a slot record, TaskId to room and bot.
    """

    slots: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    early: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class AppInput:
    """``ask_seconds``: between questions, and the age from which a slot is asked after."""

    ask_seconds: float = 60
    state: dict[str, Any] | None = None


@dataclass(frozen=True)
class Admit:
    """Asks for a slot. ``limit`` is the configuration's at this moment."""

    task_id: str
    limit: int
    room_id: str = ""
    bot: str = ""


@workflow.defn
class AppWorkflow:
    """Updates ``admit`` and ``admit_all``, signal ``release``: all idempotent."""

    @workflow.init
    def __init__(self, given: AppInput) -> None:
        self._state = AppState() if given.state is None else value_to_type(AppState, given.state)
        self._since = 0

    @workflow.update
    def admit(self, order: Admit) -> None:
        """Take a slot. Raises ApplicationError FULL, UNDONE."""
        self._refuse(order)
        self._take(order)

    @admit.validator
    def _refuse(self, order: Admit) -> None:
        if why := self._why_not(order):
            raise ApplicationError("no slot", type=why)

    @workflow.update
    def admit_all(self, orders: list[Admit]) -> dict[str, str]:
        """Take a slot for each for which there is one, in their order; the answer names the others, and why: FULL or UNDONE."""
        refused = {}
        for order in orders:
            if why := self._why_not(order):
                refused[order.task_id] = why
            else:
                self._take(order)
        return refused

    @admit_all.validator
    def _refuse_all(self, orders: list[Admit]) -> None:
        # What is refused here leaves nothing in the history, however often it is tried.
        if all(self._why_not(order) == FULL for order in orders):
            raise ApplicationError("no slot", type=FULL)

    @workflow.signal
    def release(self, task_id: str) -> None:
        """Give a slot back.

        While no worker runs, the admission of a Create that was given up waits, and its release overtakes it (signals come
        first): it is noted, or the slot would be taken for nobody.
        """
        state, now = self._state, self._now()
        if not self._free(task_id):
            state.early = {t: ms for t, ms in state.early.items() if ms > now - EARLY_SECONDS * 1000} | {task_id: now}

    @workflow.query
    def slots(self) -> list[str]:
        """TaskIds that hold one."""
        return list(self._state.slots)

    @workflow.query
    def recorders(self, room_id: str) -> dict[str, str]:
        """Tasks that record in that room: TaskId to bot."""
        return {task_id: bot for task_id, (room, bot) in self._state.places.items() if room == room_id}

    @workflow.run
    async def run(self, given: AppInput) -> None:
        pause = timedelta(seconds=given.ask_seconds)
        while not self._full():
            await workflow.wait_condition(lambda: bool(self._state.slots) or self._full())
            try:
                await workflow.wait_condition(self._full, timeout=pause)
            except TimeoutError:
                await self._ask(given.ask_seconds)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(dataclasses.replace(given, state=dataclasses.asdict(self._state)))

    async def _ask(self, age: float) -> None:
        slots, now = self._state.slots, self._now()
        old = sorted((ms, task_id) for task_id, ms in slots.items() if ms <= now - age * 1000)[:ASK_AT_A_TIME]
        if not old:
            return
        asked = [task_id for _, task_id in old]
        try:
            gone: list[str] = await workflow.execute_activity(
                "gone", asked, result_type=list[str], schedule_to_close_timeout=timedelta(seconds=30)
            )
        except ActivityError:
            return
        for task_id in asked:
            if task_id in gone:
                self._free(task_id)
            elif task_id in slots:
                slots[task_id] = self._now()

    def _why_not(self, order: Admit) -> str:
        """Empty: there is a slot for it."""
        if order.task_id in self._state.early:
            return UNDONE
        return FULL if order.task_id not in self._state.slots and len(self._state.slots) >= order.limit else ""

    def _take(self, order: Admit) -> None:
        self._state.slots.setdefault(order.task_id, self._now())
        self._state.places[order.task_id] = [order.room_id, order.bot]

    def _free(self, task_id: str) -> bool:
        """False if it had no slot."""
        self._state.places.pop(task_id, None)
        return self._state.slots.pop(task_id, None) is not None

    def _full(self) -> bool:
        return workflow.info().is_continue_as_new_suggested()

    def _now(self) -> int:
        return int(workflow.time() * 1000)


class Census:
    """The activity behind the question."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name="gone")
    async def gone(self, task_ids: list[str]) -> list[str]:
        """Those whose workflow is not running."""
        return [t for t in task_ids if not await self._runs(t)]

    async def _runs(self, task_id: str) -> bool:
        try:
            found = await self._client.get_workflow_handle(task_id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        return found.status == WorkflowExecutionStatus.RUNNING
