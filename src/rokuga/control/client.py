"""What the API asks of the control workflows, in TRTC's words and within its six seconds."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import QueryRejectCondition, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from rokuga import clock
from rokuga.control.admission import Admissions
from rokuga.control.app import FULL, Admit, AppInput, AppWorkflow
from rokuga.control.model import CONTROL_QUEUE, Description, Lists, Modified, TaskInput
from rokuga.control.near import Near
from rokuga.control.signals import app_id
from rokuga.control.task import NOT_FOUND, ModifyOrder, TaskWorkflow
from rokuga.errors import ApiError, Fault

CREATE = timedelta(seconds=5)
"""Admission and start together."""
QUERY = timedelta(seconds=2)
UPDATE = timedelta(seconds=5)
"""Modify and Delete: the node's door, at which we and the task ask (0.75 s each), its queue (1 s) and its answer (1.5 s) are in it, and
a second for the orchestrator's own writes on a busy disk."""
UNDO_CALL = timedelta(seconds=5)
UNDO_SECONDS = 60
UNDO_AGAIN = (1.0, 3.0)
"""Seconds until it is looked again whether a start that we gave up has arrived after all."""

_log = structlog.get_logger(__name__)


def _not_found(task_id: str) -> ApiError:
    return ApiError("ResourceNotFound", f"no running task {task_id}")


class TaskClient:
    """Creates, describes, modifies and stops tasks. All methods raise ApiError, within 6 s.

    ``near`` asks a node on this machine first. ``ask_seconds``: see AppInput.
    """

    def __init__(self, client: Client, near: Near | None = None, ask_seconds: float = 60) -> None:
        self._client = client
        self._near = near
        self._ask_seconds = ask_seconds
        self._undoing: set[asyncio.Task[None]] = set()
        self._admissions = Admissions(self._ask_slots)

    async def create(self, task: TaskInput, max_tasks: int, expire_hours: int) -> None:
        """Start a task within its app's limit. After an error nothing of it stays.

        Raises ApiError FailedOperation.RestrictedConcurrency, InternalError.CRInternalError.
        """
        task = dataclasses.replace(task, expires_ms=clock.utc_ms() + expire_hours * 3_600_000)
        try:
            async with asyncio.timeout(CREATE.total_seconds()):
                await self._admit(task, max_tasks)
                await self._start(task)
        except (RPCError, TimeoutError) as error:
            self._begin_undo(task)
            raise self._failed(task.task_id, error) from None
        except asyncio.CancelledError:
            self._begin_undo(task)
            raise

    async def describe(self, sdk_app_id: int, task_id: str) -> Description:
        """Raises ApiError ResourceNotFound (ended, expired, another app's), InternalError.CRInternalError."""
        handle = self._handle(task_id)
        if self._near is not None and (here := await self._near.describe(sdk_app_id, task_id)):
            return here
        try:
            async with asyncio.timeout(QUERY.total_seconds()):
                found: Description = await handle.query(
                    TaskWorkflow.describe, reject_condition=QueryRejectCondition.NOT_OPEN, rpc_timeout=QUERY
                )
        except (WorkflowQueryRejectedError, WorkflowQueryFailedError):
            raise _not_found(task_id) from None
        except (RPCError, TimeoutError) as error:
            raise self._translated(error, task_id) from None
        if found.sdk_app_id != sdk_app_id or 0 < found.expires_ms <= clock.utc_ms():
            raise _not_found(task_id)
        return found

    async def modify(self, sdk_app_id: int, task_id: str, request_id: str, lists: Lists, layout: dict[str, Any]) -> None:
        """Overwrite lists and layout. Raises ApiError ResourceNotFound, InternalError.CRInternalError."""
        handle, now = self._handle(task_id), clock.utc_ms()
        async with self._updating(task_id):
            if self._near is not None and await self._near.modify(sdk_app_id, task_id, Modified(now, lists, layout)):
                return
            order = ModifyOrder(sdk_app_id, lists, layout, now)
            await handle.execute_update(TaskWorkflow.modify, order, id=request_id, rpc_timeout=UPDATE)

    async def stop(self, sdk_app_id: int, task_id: str, request_id: str) -> None:
        """End a task. Raises ApiError ResourceNotFound (also the second time), InternalError.CRInternalError."""
        handle = self._handle(task_id)
        async with self._updating(task_id):
            await handle.execute_update(TaskWorkflow.stop, sdk_app_id, id=request_id, rpc_timeout=UPDATE)

    async def foretell(self, sdk_app_id: int, room_id: str, bots: Collection[str], leave_code: int) -> None:
        """Tell the app's tasks of these bots in that room that they are about to be sent out.

        Raises ApiError InternalError.CRInternalError.
        """
        app = self._client.get_workflow_handle(app_id(sdk_app_id))
        try:
            async with asyncio.timeout(QUERY.total_seconds()):
                found: dict[str, str] = await app.query(AppWorkflow.recorders, room_id, rpc_timeout=QUERY)
                await asyncio.gather(*(self._tell(task_id, leave_code) for task_id, bot in found.items() if bot in bots))
        except (RPCError, WorkflowQueryFailedError, TimeoutError) as error:
            if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
                return  # the app has never recorded
            raise self._failed("", error) from None

    async def settle(self) -> None:
        """Wait until failed Creates are undone: before the process ends, for UNDO_SECONDS at most."""
        await asyncio.gather(*self._undoing)

    async def _admit(self, task: TaskInput, limit: int) -> None:
        order = Admit(task.task_id, limit, task.params.room_id, task.params.user_id)
        why = await self._admissions.ask(task.params.sdk_app_id, order)
        if why == FULL:
            raise ApiError(FULL, f"the app's limit: {limit} recordings are running; end one, or ask for a higher max_tasks")
        if why:
            raise self._failed(task.task_id, RuntimeError(why))

    async def _ask_slots(self, app: int, orders: Sequence[Admit]) -> dict[str, str]:
        """See `rokuga.control.admission.Send`. Raises RPCError, TimeoutError."""
        start = WithStartWorkflowOperation(
            AppWorkflow.run,
            AppInput(self._ask_seconds),
            id=app_id(app),
            task_queue=CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        try:
            return await self._client.execute_update_with_start_workflow(
                AppWorkflow.admit_all, list(orders), start_workflow_operation=start, rpc_timeout=CREATE
            )
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == FULL:
                return {order.task_id: FULL for order in orders}
            raise TimeoutError(f"admission: {error.cause}") from None
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            raise TimeoutError("admission") from None

    async def _tell(self, task_id: str, leave_code: int) -> None:
        """A signal is in the task's history before the recorder can report its end, so the order is right whatever is slow."""
        try:
            await self._client.get_workflow_handle(task_id).signal(TaskWorkflow.foretell, leave_code, rpc_timeout=QUERY)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:  # it has ended meanwhile
                raise

    async def _start(self, task: TaskInput) -> None:
        try:
            await self._client.start_workflow(
                TaskWorkflow.run,
                task,
                id=task.task_id,
                task_queue=CONTROL_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                rpc_timeout=CREATE,
            )
        except WorkflowAlreadyStartedError as error:
            # Not ours: neither to be stopped nor its slot to be given back.
            raise self._failed(task.task_id, error) from None

    @asynccontextmanager
    async def _updating(self, task_id: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(UPDATE.total_seconds()):
                yield
        except WorkflowUpdateFailedError as error:
            # NOT_FOUND is our refusal; anything else means that it ended meanwhile, or is no task.
            if not (isinstance(error.cause, ApplicationError) and error.cause.type == NOT_FOUND):
                _log.info("update failed", task_id=task_id, error=str(error.cause))
            raise _not_found(task_id) from None
        except (RPCError, TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise self._translated(error, task_id) from None

    def _begin_undo(self, task: TaskInput) -> None:
        undo = asyncio.create_task(self._undo(task))
        self._undoing.add(undo)
        undo.add_done_callback(self._undoing.discard)

    async def _undo(self, task: TaskInput) -> None:
        """Make sure that nothing of a failed Create stays, as far as Temporal can be reached; a slot left frees itself."""
        try:
            async with asyncio.timeout(UNDO_SECONDS):
                arrived = await self._signal(task.task_id, "undo")
                await self._signal(app_id(task.params.sdk_app_id), "release", task.task_id)
                for pause in UNDO_AGAIN:
                    if not arrived:
                        await asyncio.sleep(pause)
                        arrived = await self._signal(task.task_id, "undo")
        except TimeoutError:
            _log.error("a failed Create could not be undone", task_id=task.task_id)

    async def _signal(self, workflow_id: str, name: str, *args: Any) -> bool:
        """Until the orchestrator answers; False if there is no such workflow."""
        while True:
            try:
                await self._client.get_workflow_handle(workflow_id).signal(name, args=args, rpc_timeout=UNDO_CALL)
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:
                    return False
                await asyncio.sleep(1)
                continue
            return True

    def _handle(self, task_id: str) -> WorkflowHandle[Any, Any]:
        # A slash makes the id of one of a task's own workflows; no TaskId has one.
        if not task_id or "/" in task_id or len(task_id) > 255:
            raise _not_found(task_id[:255])
        return self._client.get_workflow_handle(task_id)

    def _translated(self, error: Exception, task_id: str) -> ApiError:
        if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
            return _not_found(task_id)
        return self._failed(task_id, error)

    def _failed(self, task_id: str, error: BaseException) -> ApiError:
        _log.error("orchestrator failed", task_id=task_id, kind=type(error).__name__, error=str(error))
        return ApiError("InternalError.CRInternalError", "the orchestrator did not answer in time; try again", Fault.SERVICE)
