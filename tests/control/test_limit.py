"""``max_tasks`` through real API processes: 200 Creates at once, and one of the processes killed in the middle."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from rokuga.api.usersig import make
from rokuga.config import Recorder
from rokuga.control.app import AppInput, AppWorkflow
from rokuga.control.model import CONTROL_QUEUE
from rokuga.control.signals import app_id
from tests.api.calls import call, code, create_body
from tests.control.api_process import ApiProcess
from tests.control.scripted_node import ScriptedNode
from tests.control.system import System

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

LIMIT = 30
CALLS = 200
FULL = "FailedOperation.RestrictedConcurrency"
LOST = "lost"
"""no answer: its process was killed"""


class Two:
    """``async with``: an app of its own with two API processes. ``create`` is one Create through one of them."""

    def __init__(self, system: System, folder: Path) -> None:
        self.app = system.app()
        apps = tuple(app.model_copy(update={"max_tasks": LIMIT}) for app in system.config.apps)
        # 60 s: not the recorders' hearts are what is tested here, and thirty of them take the time of everything else.
        config = system.config.model_copy(update={"apps": apps, "recorder": Recorder(heartbeat_timeout=60)})
        self.processes = [ApiProcess(folder, config) for _ in range(2)]
        self._system = system
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Two":
        # Slots that nobody returns are asked after every second instead of every minute.
        start = self._system.client.start_workflow(AppWorkflow.run, AppInput(1), id=app_id(self.app), task_queue=CONTROL_QUEUE)
        await asyncio.gather(start, *(self._stack.enter_async_context(process) for process in self.processes))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def create(self, number: int, process: int) -> str:
        """The error's code, empty for a TaskId."""
        bot = f"bot_{number}"
        sig = make(self.app, bot, "u", int(time.time()))
        body = create_body(SdkAppId=self.app, UserId=bot, UserSig=sig, StorageParams__CloudStorage__Bucket="bucket")
        answer: dict[str, Any]
        try:
            answer = await call(self.processes[process].url, "CreateCloudRecording", body, secret_id=f"id{self.app}", secret_key="k")
        except httpx.TransportError:
            return LOST
        return code(answer)

    async def slots(self) -> list[str]:
        return await self._system.client.get_workflow_handle(app_id(self.app)).query(AppWorkflow.slots)

    async def end_all(self, node: ScriptedNode) -> None:
        """Every recording ends, as when nobody is in its room; until no slot is held."""
        async with asyncio.timeout(60):
            while await self.slots():
                await asyncio.gather(*(node.leave(key, 99) for key in sorted(node.holding)))
                await asyncio.sleep(0.1)


async def test_of_200_creates_at_once_exactly_as_many_succeed_as_may(system: System, tmp_path: Path) -> None:
    async with Two(system, tmp_path) as two, ScriptedNode(system.client, "limit") as node:
        node.beating = False
        answers = Counter(await asyncio.gather(*(two.create(number, number % 2) for number in range(CALLS))))
        assert answers == {"": LIMIT, FULL: CALLS - LIMIT}
        async with asyncio.timeout(60):
            while len(node.holding) < LIMIT:
                await asyncio.sleep(0.1)
        assert len(await two.slots()) == len(node.holding) == LIMIT
        await two.end_all(node)
    assert len({order.task_id for order in node.orders}) == LIMIT


async def test_a_process_killed_in_the_middle_breaks_no_limit_and_takes_no_slot_with_it(system: System, tmp_path: Path) -> None:
    async with Two(system, tmp_path) as two, ScriptedNode(system.client, "killed") as node:
        node.beating = False
        calls = [asyncio.create_task(two.create(number, number % 2)) for number in range(CALLS)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await two.processes[0].child.kill()
        answers = Counter(await asyncio.gather(*calls))
        assert answers[LOST] > 0, "it was killed in the middle"
        assert set(answers) <= {"", FULL, LOST}
        async with asyncio.timeout(60):
            while len(node.holding) < answers[""]:
                await asyncio.sleep(0.1)
        # None has ended so far.
        assert len({order.task_id for order in node.orders}) <= LIMIT
        assert len(await two.slots()) <= LIMIT
        await two.end_all(node)
        # All are free, and not one more.
        again = Counter(await asyncio.gather(*(two.create(CALLS + number, 1) for number in range(LIMIT + 1))))
        assert again == {"": LIMIT, FULL: 1}
        await two.end_all(node)
