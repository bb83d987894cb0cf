"""The exact limit, on real Temporal."""

import asyncio

import pytest
from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy

from rokuga.control.app import Admit, AppInput, AppWorkflow
from rokuga.control.model import CONTROL_QUEUE
from rokuga.control.signals import app_id
from rokuga.errors import ApiError
from tests.control.scripted_node import ScriptedNode
from tests.control.system import System, until

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]


async def test_the_limit_is_exact_under_concurrent_creates(system: System) -> None:
    app = system.app()
    tasks = [system.task(app) for _ in range(8)]
    async with ScriptedNode(system.client, "many") as node:
        outcomes = await asyncio.gather(*(system.tasks.create(t, 3, 72) for t in tasks), return_exceptions=True)
        refused = [o for o in outcomes if isinstance(o, ApiError)]
        assert [e.code for e in refused] == ["FailedOperation.RestrictedConcurrency"] * 5
        assert [o for o in outcomes if o is not None and not isinstance(o, ApiError)] == []
        running = [t for t, o in zip(tasks, outcomes, strict=True) if o is None]
        await until(lambda: len(node.holding) == 3, 20, "three recorders")
        slots = await system.client.get_workflow_handle(app_id(app)).query(AppWorkflow.slots)
        assert sorted(slots) == sorted(t.task_id for t in running)

        # A slot is free when the recorder is out, not only when all files are up.
        node.drains = False
        await system.tasks.stop(app, running[0].task_id, "r0")
        await system.events(app, 302)
        await _admitted(system, app, 3)
        node.drains = True
        for task in running[1:]:
            await system.tasks.stop(app, task.task_id, "r")
        await node.drained((running[0].task_id, 0))
        await until(lambda: system.receiver.types(f"/{app}").count(305) >= 3, 20, "all ended")


async def _admitted(system: System, app: int, limit: int) -> str:
    """Create one more and stop it; its TaskId. Within the time in which its slot's release arrives."""
    task = system.task(app)
    async with asyncio.timeout(10):
        while True:
            try:
                await system.tasks.create(task, limit, 72)
                break
            except ApiError as error:
                if error.code != "FailedOperation.RestrictedConcurrency":
                    raise
                await asyncio.sleep(0.1)
    await system.tasks.stop(app, task.task_id, "r")
    return task.task_id


async def test_a_leaked_slot_frees_itself(system: System) -> None:
    app = system.app()
    start = WithStartWorkflowOperation(
        AppWorkflow.run,
        AppInput(ask_seconds=1),
        id=app_id(app),
        task_queue=CONTROL_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    await system.client.execute_update_with_start_workflow(AppWorkflow.admit, Admit("never-started", 1), start_workflow_operation=start)
    task = system.task(app)
    with pytest.raises(ApiError, match="RestrictedConcurrency"):
        await system.tasks.create(task, 1, 72)
    async with ScriptedNode(system.client, "leak"):
        await system.closed(await _admitted(system, app, 1))


async def test_a_running_task_keeps_its_slot_when_asked_after(system: System) -> None:
    app = system.app()
    task = system.task(app)
    async with ScriptedNode(system.client, "kept"):
        await system.tasks.create(task, 1, 72)
        await asyncio.sleep(2.5)
        with pytest.raises(ApiError, match="RestrictedConcurrency"):
            await system.tasks.create(system.task(app), 1, 72)
        await system.tasks.stop(app, task.task_id, "r")
        await system.events(app, 305)


async def test_without_a_worker_create_fails_in_time_and_leaves_nothing(system: System) -> None:
    app = system.app()
    task = system.task(app)
    await system.stop_worker()
    try:
        began = asyncio.get_running_loop().time()
        with pytest.raises(ApiError, match=r"InternalError\.CRInternalError"):
            await system.tasks.create(task, 1, 72)
        assert asyncio.get_running_loop().time() - began < 6
    finally:
        system.start_worker()
    await system.tasks.settle()
    async with ScriptedNode(system.client, "after") as node:
        await system.closed(await _admitted(system, app, 1))
        assert task.task_id not in [o.task_id for o in node.orders]
    with pytest.raises(ApiError, match="ResourceNotFound"):
        await system.tasks.describe(app, task.task_id)


async def test_a_release_that_overtakes_its_admission_leaves_no_slot(system: System) -> None:
    """As after a Create that was given up while no worker ran."""
    app = system.app()
    handle = await system.client.start_workflow(AppWorkflow.run, AppInput(), id=app_id(app), task_queue=CONTROL_QUEUE)
    await handle.signal(AppWorkflow.release, "given-up")
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(AppWorkflow.admit, Admit("given-up", 5))
    await handle.execute_update(AppWorkflow.admit, Admit("other", 1))
    assert await handle.query(AppWorkflow.slots) == ["other"]


async def test_slots_are_carried_over(system: System) -> None:
    app = system.app()
    given = AppInput(ask_seconds=600, state={"slots": {"one": 1, "two": 2}})
    handle = await system.client.start_workflow(AppWorkflow.run, given, id=app_id(app), task_queue=CONTROL_QUEUE)
    with pytest.raises(ApiError, match="RestrictedConcurrency"):
        await system.tasks.create(system.task(app), 2, 72)
    await handle.signal(AppWorkflow.release, "one")
    await handle.execute_update(AppWorkflow.admit, Admit("two", 2))
    await handle.execute_update(AppWorkflow.admit, Admit("three", 2))
    assert await handle.query(AppWorkflow.slots) == ["two", "three"]
