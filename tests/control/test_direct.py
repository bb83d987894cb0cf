"""What workflows ask of each other, on real Temporal: once, twice (a control process has died in the middle), and of one that is over."""

import dataclasses
import uuid

import pytest

from rokuga.control.direct import Direct
from rokuga.deliver.callback import CallbackInput, Leave
from rokuga.deliver.events import Sender
from tests.control.system import System

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]


async def test_what_is_asked_twice_happens_once(system: System) -> None:
    direct, queue = Direct(system.client), f"{uuid.uuid4().hex}/cb"
    given = dataclasses.asdict(CallbackInput(Sender("task", system.app(), "room", "bot"), ["task"]))
    assert not await direct.tell(queue, "leave", [Leave("task")])
    assert [await direct.begin("CallbackWorkflow", queue, given) for _ in range(2)] == [True, False]
    assert await direct.tell(queue, "leave", [dataclasses.asdict(Leave("somebody else"))])
    assert await system.client.get_workflow_handle(queue).query("busy") is False
    assert await direct.tell(queue, "leave", [dataclasses.asdict(Leave("task"))])
    await system.client.get_workflow_handle(queue).result()
    assert not await direct.tell(queue, "leave", [dataclasses.asdict(Leave("task"))])
    assert not await direct.begin("CallbackWorkflow", queue, given), "also when it is over"
