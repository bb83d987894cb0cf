"""Whether somebody works on a Temporal task queue: what readiness is made of."""

from typing import Literal

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

_KINDS: dict[str, "TaskQueueType.ValueType"] = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}


async def polled(client: Client, queue: str, kind: Literal["workflow", "activity"]) -> bool:
    """Whether a worker has polled that queue in the last minutes; false also when Temporal does not answer."""
    request = DescribeTaskQueueRequest(namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=_KINDS[kind])
    try:
        return bool((await client.workflow_service.describe_task_queue(request)).pollers)
    except RPCError:
        return False
