"""The end of a control process: what tasks and callback queues can do at once, they do while somebody still runs them."""

import asyncio
from datetime import timedelta
from itertools import chain

import structlog
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError

SETTLE_SECONDS = 3.0
"""A receiver that does not answer must not keep a process for longer; what is left goes out at the next start."""
MOST = 200
"""Workflows that are asked: beyond so many, there is always something to do."""
QUERY = timedelta(seconds=1)
PAUSE_SECONDS = 0.05
RUNNING = "ExecutionStatus = 'Running' AND (WorkflowType = 'TaskWorkflow' OR WorkflowType = 'CallbackWorkflow')"

_log = structlog.get_logger(__name__)


async def settle(client: Client) -> None:
    """Until no task and no callback queue says that it is busy, for SETTLE_SECONDS at most. Their worker must still poll."""
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            # A task hands its events to the queue before it is idle, so one look at both, tasks first, would do but for new queues.
            while await _busy(client):
                await asyncio.sleep(PAUSE_SECONDS)
    except (TimeoutError, RPCError) as error:
        _log.info("callbacks are left for the next start", error=repr(error))


async def _busy(client: Client) -> bool:
    found = [w async for w in client.list_workflows(RUNNING, limit=MOST)]
    tasks = [w.id for w in found if w.workflow_type == "TaskWorkflow"]
    queues = [w.id for w in found if w.workflow_type == "CallbackWorkflow"]
    for workflow_id in chain(tasks, queues):
        handle = client.get_workflow_handle(workflow_id)
        try:
            if await handle.query("busy", result_type=bool, reject_condition=QueryRejectCondition.NOT_OPEN, rpc_timeout=QUERY):
                return True
        except WorkflowQueryFailedError:
            continue  # of an earlier version, or broken: nothing to wait for
        except RPCError as error:
            _log.info("a workflow cannot be asked", workflow_id=workflow_id, error=str(error))
    return False
