"""Real Temporal, the real control worker, a real receiver: what control's live tests run on."""

import asyncio
import base64
import os
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from rokuga.config import App, Config, Temporal
from rokuga.control.client import TaskClient
from rokuga.control.codec import connect
from rokuga.control.model import CONTROL_QUEUE, Params, StoreTarget, TaskInput, Timing
from rokuga.control.worker import WORKFLOWS, run_worker
from rokuga.embedded import EmbeddedTemporal
from rokuga.folders import DataFolder
from rokuga.health import polled
from tests.control.receiver import Got, Receiver

SECRETS = ("AKIDexampleaccesskey0001", "example-secret-key-0002", "eJwexampleusersig0003")
CALLBACK_KEY = "callbackkey0004"
APPS = 20
PASSED_THROUGH = ("rokuga", "structlog", "httpx", "cryptography", "anyio", "certifi")
"""Not imported again for every workflow that is replayed: they hold no state that a workflow could see."""

T = TypeVar("T")


async def until(what: Callable[[], T], seconds: float = 30, why: str = "") -> T:
    """Poll until ``what`` is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {why}")
        await asyncio.sleep(0.02)
    return found


@dataclass
class System:
    """``async with``. Apps 1 to APPS, each with a receiver path of its own, so that tests do not meet."""

    folder: Path
    receiver: Receiver = field(default_factory=Receiver)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _apps: int = 0

    async def __aenter__(self) -> "System":
        await self._stack.enter_async_context(self.receiver)
        key = SecretStr(base64.b64encode(os.urandom(32)).decode())
        self.temporal = await self._stack.enter_async_context(EmbeddedTemporal(self.folder / "temporal", Temporal(payload_key=key)))
        apps = tuple(
            App(
                sdk_app_id=i,
                secret_id=f"id{i}",
                secret_key=SecretStr("k"),
                user_sig_key=SecretStr("u"),
                callback_url=self.receiver.url(f"/{i}"),
                callback_key=SecretStr(CALLBACK_KEY),
            )
            for i in range(1, APPS + 1)
        )
        self.config = Config(apps=apps, temporal=self.temporal.config)
        self.client: Client = await connect(self.config.temporal, self.temporal.address)
        self.tasks = TaskClient(self.client, ask_seconds=1)
        self.start_worker()
        # A worker that is cancelled before it runs stays registered, and the next one on its queue is refused.
        async with asyncio.timeout(30):
            while not await polled(self.client, CONTROL_QUEUE, "workflow"):
                await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_worker()
        await self._stack.aclose()

    def start_worker(self) -> None:
        self._worker = asyncio.create_task(run_worker(self.config, self.client, DataFolder(self.folder / "data")))

    async def stop_worker(self) -> None:
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    def app(self) -> int:
        """One that no other test uses."""
        self._apps += 1
        return self._apps

    def task(self, app: int, timing: Timing | None = None, heartbeat_timeout: float = 1.5) -> TaskInput:
        """A task of ``app``, with secrets to look for."""
        params = Params(sdk_app_id=app, room_id="20015", room_id_type=1, user_id="recorder_1")
        target = StoreTarget(0, "ap-tokyo", "bucket", SECRETS[0], SECRETS[1])
        task_id = f"t{uuid.uuid4().hex}"
        return TaskInput(task_id, params, target, SECRETS[2], heartbeat_timeout, timing=timing or Timing())

    async def events(self, app: int, last: int, seconds: float = 30) -> list[Got]:
        """What the receiver took until an event of type ``last``, that included."""
        path = f"/{app}"
        await until(lambda: last in self.receiver.types(path), seconds, f"event {last}; got {self.receiver.types(path)}")
        return self.receiver.taken(path)

    async def exists(self, workflow_id: str, seconds: float = 15) -> None:
        """Wait until that workflow was started."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.client.get_workflow_handle(workflow_id).describe()
                except RPCError as error:
                    if error.status != RPCStatusCode.NOT_FOUND:
                        raise
                    await asyncio.sleep(0.05)
                    continue
                return

    async def replay(self, *workflow_ids: str) -> None:
        """Replay those histories: fails where the code is not deterministic."""
        for workflow_id in workflow_ids:
            history = await self.client.get_workflow_handle(workflow_id).fetch_history()
            converter = self.client.data_converter
            restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
            sandbox = SandboxedWorkflowRunner(restrictions=restrictions)
            await Replayer(workflows=WORKFLOWS, data_converter=converter, workflow_runner=sandbox).replay_workflow(history)

    async def closed(self, workflow_id: str, seconds: float = 30) -> WorkflowExecutionStatus | None:
        """Wait until that workflow is not running any more."""
        deadline = time.monotonic() + seconds
        while True:
            status = (await self.client.get_workflow_handle(workflow_id).describe()).status
            if status not in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW):
                return status
            assert time.monotonic() < deadline, f"{workflow_id} still runs"
            await asyncio.sleep(0.05)
