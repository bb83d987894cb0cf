"""The process that decides: all control workflows and their short activities. It never supervises media."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from rokuga.config import Config
from rokuga.control.app import AppWorkflow, Census
from rokuga.control.direct import Direct
from rokuga.control.late import LateWorkflow
from rokuga.control.model import CONTROL_QUEUE
from rokuga.control.near import Near
from rokuga.control.recorder import RecorderWorkflow
from rokuga.control.settle import settle
from rokuga.control.task import TaskWorkflow
from rokuga.deliver.callback import CallbackWorkflow
from rokuga.deliver.post import Poster
from rokuga.folders import DataFolder

STICKY_SECONDS = 1
"""A dead worker's workflows move to another after this (SDK's default: 10); Describe has 2 s."""

WORKFLOWS: Sequence[type] = (TaskWorkflow, RecorderWorkflow, LateWorkflow, AppWorkflow, CallbackWorkflow)

POLLS = 10
"""A workflow task for which nobody polls at that moment is written to the orchestrator's database and read again, at its dearest."""

MAX_POSTS = 500
"""Activities at a time: receivers that do not answer hold one each for 5 s, and must not delay the others."""


async def run_worker(config: Config, client: Client, data: DataFolder) -> None:
    """Poll CONTROL_QUEUE until cancelled, and then until nothing can be done at once. Raises RuntimeError if Temporal refuses for good."""
    async with Poster(config) as poster, Near(data) as near:
        direct = Direct(client)
        worker = Worker(
            client,
            task_queue=CONTROL_QUEUE,
            workflows=WORKFLOWS,
            activities=[poster.post, Census(client).gone, near.near, near.place, direct.begin, direct.tell],
            # The SDK's sandbox finds code that is not deterministic, at a price for each start. The tests replay all histories in it.
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_activities=MAX_POSTS,
            max_concurrent_workflow_task_polls=POLLS,
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=STICKY_SECONDS),
            graceful_shutdown_timeout=timedelta(seconds=5),
        )
        polling = asyncio.create_task(worker.run())
        try:
            await asyncio.shield(polling)
        except asyncio.CancelledError:
            await settle(client)
            raise
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
