"""CallbackWorkflow by itself, on real Temporal: its ends, and what it owes when files came late."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rokuga.control.late import LateInput, LateWorkflow
from rokuga.control.model import CONTROL_QUEUE, RecordOrder
from rokuga.control.signals import late_id, late_owner
from rokuga.deliver import events
from rokuga.deliver.callback import CallbackInput, CallbackState, CallbackWorkflow, Leave, callback_id
from rokuga.deliver.events import Sender
from rokuga.deliver.queue import Queue, Retry
from tests.control.scripted_node import ScriptedNode
from tests.control.system import System, until

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder: Path = tmp_path_factory.mktemp("deliver")
    async with System(folder) as running:
        yield running


async def test_a_refused_event_steps_aside_and_all_come_in_the_end(system: System) -> None:
    app = system.app()
    path = f"/{app}"
    system.receiver.status[path] = 500
    given = CallbackInput(Sender("aside", app, "room", "bot"), ["task"], Retry(step=0.5, aside=1.5))
    queue = await system.client.start_workflow(CallbackWorkflow.run, given, id=callback_id("aside"), task_queue=CONTROL_QUEUE)
    await queue.signal(CallbackWorkflow.enqueue, [events.recorder_start(1000, 0), events.upload_start(2000, 0)])
    await queue.signal(CallbackWorkflow.enqueue, [events.upload_start(2500, 0)])
    await until(lambda: 303 in [g.type for g in system.receiver.got if g.path == path], 20, "the second is tried")
    system.receiver.status[path] = 200
    await queue.signal(CallbackWorkflow.enqueue, [events.upload_stop(3000, 0)])
    await queue.signal(CallbackWorkflow.leave, Leave("task"))
    await queue.result()
    assert sorted(system.receiver.types(path)) == [301, 303, 305]
    assert system.receiver.types(path)[-1] == 305
    for number in (301, 303):
        assert len({g.raw for g in system.receiver.got if g.path == path and g.type == number}) == 1


async def test_status_2_follows_when_all_late_owners_have_brought_theirs(system: System) -> None:
    app = system.app()
    given = CallbackInput(Sender("late", app, "room", "bot"), ["task"])
    queue = await system.client.start_workflow(CallbackWorkflow.run, given, id=callback_id("late"), task_queue=CONTROL_QUEUE)
    for owner in ("late/g0", "late/g1"):
        await queue.signal(CallbackWorkflow.join, owner)
    await queue.signal(CallbackWorkflow.enqueue, [events.upload_stop(1000, 1)])
    # A task that had to decide once more.
    await queue.signal(CallbackWorkflow.enqueue, [events.upload_stop(1000, 0)])
    await queue.signal(CallbackWorkflow.leave, Leave("task"))
    await queue.signal(CallbackWorkflow.leave, Leave("late/g1", True, 5000))
    await until(lambda: system.receiver.types(f"/{app}") == [305], 20, "305 Status 1")
    await queue.signal(CallbackWorkflow.leave, Leave("late/g0", True, 4000))
    await queue.result()
    last = system.receiver.taken(f"/{app}")[-1].body["EventInfo"]
    assert system.receiver.types(f"/{app}") == [305, 305]
    assert (last["Payload"], last["EventMsTs"]) == ({"Status": 2}, 5000)


async def test_no_status_2_when_something_is_gone_for_good(system: System) -> None:
    app = system.app()
    given = CallbackInput(Sender("gone", app, "room", "bot"), ["task", "late/g0"])
    queue = await system.client.start_workflow(CallbackWorkflow.run, given, id=callback_id("gone"), task_queue=CONTROL_QUEUE)
    await queue.signal(CallbackWorkflow.enqueue, [events.upload_stop(1000, 1)])
    await queue.signal(CallbackWorkflow.leave, Leave("task"))
    await queue.signal(CallbackWorkflow.leave, Leave("late/g0", False))
    await queue.result()
    assert system.receiver.types(f"/{app}") == [305]


@pytest.mark.parametrize("ran", [True, False])
async def test_a_generation_of_which_a_node_has_nothing_lacks_only_what_it_recorded(system: System, ran: bool) -> None:
    app = system.app()
    task = system.task(app)
    order = RecordOrder(task.task_id, 0, 1, task.params, task.target, "sig")
    given = CallbackInput(Sender(task.task_id, app, "room", "bot"), ["task", late_owner(0), late_owner(1)])
    queue = await system.client.start_workflow(CallbackWorkflow.run, given, id=callback_id(task.task_id), task_queue=CONTROL_QUEUE)
    await queue.signal(CallbackWorkflow.enqueue, [events.upload_stop(1000, 1)])
    await queue.signal(CallbackWorkflow.leave, Leave("task"))
    async with ScriptedNode(system.client, f"nothing left {ran}", room=False) as node:
        late = LateInput(order, node.id, True, ran)
        await system.client.execute_workflow(LateWorkflow.run, late, id=late_id(task.task_id, 0), task_queue=CONTROL_QUEUE)
    await queue.signal(CallbackWorkflow.leave, Leave(late_owner(1), True, 5000))
    await queue.result()
    statuses = [got.body["EventInfo"]["Payload"]["Status"] for got in system.receiver.taken(f"/{app}")]
    assert statuses == ([1] if ran else [1, 2])


async def test_it_goes_on_from_the_past_it_carried_over(system: System) -> None:
    """What continue-as-new hands over: an event already tried keeps its very bytes, one already delivered is not sent again."""
    app = system.app()
    queue = Queue()
    for event in (events.recorder_start(1000, 0), events.upload_start(2000, 0)):
        queue.add(event)
    queue.answered(queue.items[0])
    queue.items[0].body, queue.items[0].first_ms, queue.items[0].tries = '{"EventType":303}', 1, 1
    state = dataclasses.asdict(CallbackState(["task"], queue))
    given = CallbackInput(Sender("carried", app, "room", "bot"), [], state=state)
    handle = await system.client.start_workflow(CallbackWorkflow.run, given, id=callback_id("carried"), task_queue=CONTROL_QUEUE)
    await handle.signal(CallbackWorkflow.enqueue, [events.recorder_start(1000, 0), events.upload_stop(3000, 0)])
    await handle.signal(CallbackWorkflow.leave, Leave("task"))
    await handle.result()
    assert system.receiver.taken(f"/{app}")[0].raw == b'{"EventType":303}'
    assert system.receiver.types(f"/{app}") == [303, 305]
