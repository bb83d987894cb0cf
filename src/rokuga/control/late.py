"""LateWorkflow, ``<TaskId>/late/g<n>``: what a generation still owes after it was given up or its task has closed.

It waits for that generation's node for as long as it takes, gives it the keys again, and passes on what the node then reports.
"""

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from rokuga.control.direct import tell
from rokuga.control.model import NOTHING_LEFT, RecordOrder, Recovered, node_queue
from rokuga.control.signals import LateNews, late_owner
from rokuga.control.state import file_event
from rokuga.deliver.callback import Leave, callback_id

RECOVER_HEARTBEAT_SECONDS = 20
RECOVER_DAYS = 30


@dataclass(frozen=True)
class LateInput:
    """``callbacks``: whether the task has a callback queue. ``ran``: whether the task has heard that it was in the room."""

    order: RecordOrder
    node: str
    callbacks: bool
    ran: bool = True


@workflow.defn
class LateWorkflow:
    """See the module."""

    @workflow.run
    async def run(self, given: LateInput) -> None:
        order = given.order
        recovered, complete = Recovered(), True
        try:
            recovered = await workflow.execute_activity(
                "recover",
                order,
                task_queue=node_queue(given.node),
                result_type=Recovered,
                start_to_close_timeout=timedelta(days=RECOVER_DAYS),
                heartbeat_timeout=timedelta(seconds=RECOVER_HEARTBEAT_SECONDS),
                retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=5), non_retryable_error_types=[NOTHING_LEFT]),
            )
        except ActivityError as error:
            # Where nothing was recorded nothing is missing; of a node that never came back nobody knows.
            nothing = isinstance(error.cause, ApplicationError) and error.cause.type == NOTHING_LEFT
            complete = nothing and not given.ran
        news = LateNews(order.generation, complete, recovered.reports)
        open_still = await tell(order.task_id, "late", news)
        if not given.callbacks:
            return
        queue = callback_id(order.task_id)
        if not open_still:
            events = [file_event(r) for r in recovered.reports if r.kind in ("sliced", "uploaded", "upload_error")]
            if events:
                await tell(queue, "enqueue", events)
        last_ms = max((r.ms for r in recovered.reports), default=0)
        await tell(queue, "leave", Leave(late_owner(order.generation), complete, last_ms))
