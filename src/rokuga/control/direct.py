"""What a workflow asks of other workflows: to begin, or to hear something. By local activities, which are the client's own calls.

A child workflow and an external signal are written down by the orchestrator on both sides, with two more workflow tasks for the one
that only wanted to tell; a local activity is a part of the workflow task that runs already. It may be carried out twice, when a
control process dies in the middle: what begins has an id that is used once, and what is told changes nothing the second time.
"""

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from rokuga.control.model import CONTROL_QUEUE

BEGIN, TELL = "begin", "tell"
"""The activities' names."""
CALL = timedelta(seconds=3)
AGAIN = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5))


async def begin(run: type, given: Any, workflow_id: str) -> None:
    """From a workflow: start another one, which outlives it, once for all times."""
    name = run.__name__
    started: bool = await workflow.execute_local_activity(
        BEGIN, args=[name, workflow_id, given], result_type=bool, start_to_close_timeout=2 * CALL, retry_policy=AGAIN
    )
    if not started:
        workflow.logger.info("already there: %s", workflow_id)


async def tell(workflow_id: str, signal: str, *argument: Any) -> bool:
    """From a workflow: signal another one; False if that one is closed or was never there."""
    there: bool = await workflow.execute_local_activity(
        TELL, args=[workflow_id, signal, list(argument)], result_type=bool, start_to_close_timeout=2 * CALL, retry_policy=AGAIN
    )
    if not there:
        workflow.logger.info("nobody to tell %s: %s", signal, workflow_id)
    return there


class Direct:
    """The activities behind both; they are tried again until the orchestrator answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=BEGIN)
    async def begin(self, name: str, workflow_id: str, given: Any) -> bool:
        """False if there is, or was, a workflow with that id. Raises RPCError."""
        try:
            await self._client.start_workflow(
                name,
                given,
                id=workflow_id,
                task_queue=CONTROL_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                rpc_timeout=CALL,
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    @activity.defn(name=TELL)
    async def tell(self, workflow_id: str, signal: str, argument: list[Any]) -> bool:
        """False if there is no such workflow. Raises RPCError."""
        try:
            await self._client.get_workflow_handle(workflow_id).signal(signal, args=argument, rpc_timeout=CALL)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True
