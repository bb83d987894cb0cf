"""A node on the real parts: it records, and it survives what can happen to it and its children."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus

from rokuga.control.model import Lists
from rokuga.errors import ApiError
from rokuga.folders import DataFolder, Generation
from rokuga.journal.reader import Entry, JournalReader
from rokuga.journal.records import Params
from rokuga.node.keep import SEALED, Kept, journal_end
from rokuga.storage import spool
from tests.node.system import APP, NodeSystem, check_closed, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeSystem]:
    async with NodeSystem(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def system(shared: NodeSystem) -> AsyncIterator[NodeSystem]:
    """The shared one, whole again whatever the test before did to it."""
    await shared.mend()
    yield shared


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room of the test's own."""
    return str(request.node.name)[:60]


@pytest.mark.alone
async def test_a_recording_reaches_the_bucket(system: NodeSystem, room: str) -> None:
    async with system.publisher(room, "alice"):
        task_id = await system.create(room)
        generation = system.data.generation(task_id, 0)
        first = await until(lambda: [e for _, e in spool.read_manifest(generation.spool)], 60, "a first segment")
        assert first
        await asyncio.sleep(6)
        assert (await system.describe(task_id)).status == "InProgress"
        await system.stop_task(task_id)
    await until(lambda: b'"done": true' in generation.order.read_bytes(), 60, "everything uploaded")
    objects = await system.objects(task_id)
    check_closed(objects)
    assert {name.split("_")[-1] for name in objects if name.endswith(".m3u8")} == {"audio.m3u8", "video.m3u8"}
    assert not list(generation.spool.glob("*.ts"))
    reports = {(r["kind"], r["payload"].get("file")): r["ms"] for _, r in spool.lines(generation.outbox)}
    for name in objects:
        if name.endswith(".m3u8"):
            assert reports["uploaded", name] - reports["sliced", name] < 3000
    kinds = [kind for kind, _ in reports]
    assert kinds[:2] == ["started", "upload_started"]
    assert set(kinds[-2:]) == {"stopped", "drained"}, "either may be noticed first"


async def recording(system: NodeSystem, room: str, segments: int = 1, heartbeat_timeout: float = 3) -> tuple[str, Generation]:
    """A task of which ``segments`` were cut."""
    task_id = await system.create(room, heartbeat_timeout)
    generation = system.data.generation(task_id, 0)
    await more_segments(generation, segments)
    return task_id, generation


async def more_segments(generation: Generation, count: int) -> None:
    """Wait until so many more were cut."""
    before = cut(generation)
    await until(lambda: cut(generation) >= before + count, 60, f"{count} more segments")


async def another(system: NodeSystem, generation: Generation, name: str, before: int) -> None:
    """Wait until that process runs again."""
    await until(lambda: system.pid(generation, name) not in (0, before), 30, f"another {name}")


def cut(generation: Generation) -> int:
    return sum(1 for _ in spool.read_manifest(generation.spool))


def done(generation: Generation) -> bool:
    return b'"done": true' in generation.order.read_bytes()


async def test_capture_and_render_killed(system: NodeSystem, room: str) -> None:
    async with system.publisher(room, "alice"):
        task_id, generation = await recording(system, room)
        for name in ("render", "capture"):
            before = system.pid(generation, name)
            assert before
            system.kill(generation, name)
            await another(system, generation, name, before)
            await more_segments(generation, 2)
        await system.stop_task(task_id)
    await until(lambda: done(generation), 60, "everything uploaded")
    check_closed(await system.objects(task_id))
    assert not system.data.generation(task_id, 1).folder.exists()
    assert len({p.name for p in generation.journal.glob("*.rj")}) >= 2


async def test_a_killed_node_is_no_event(system: NodeSystem, room: str) -> None:
    """The next node finds capture alive, gets the keys again, and goes on in the same generation."""
    async with system.publisher(room, "alice"):
        task_id, generation = await recording(system, room, heartbeat_timeout=20)
        capture = system.pid(generation, "capture")
        system.kill_node()
        await asyncio.sleep(1)
        system.start_node()
        await more_segments(generation, 4)
        assert system.pid(generation, "capture") == capture
        await system.stop_task(task_id)
    await until(lambda: done(generation), 60, "everything uploaded")
    check_closed(await system.objects(task_id))
    assert not system.data.generation(task_id, 1).folder.exists()
    assert [e.leave_code for e in [journal_end(generation.journal)] if e] == [0]


async def test_the_orchestrator_away_for_longer_than_its_patience(system: NodeSystem, room: str) -> None:
    """Temporal is killed for longer than the heartbeat timeout: the recording goes on, uploads too once it is back."""
    async with system.publisher(room, "alice"):
        task_id, generation = await recording(system, room)
        capture = system.pid(generation, "capture")
        await system.temporal.child.kill()
        await more_segments(generation, 4)
        await system.temporal.start()
        await more_segments(generation, 4)
        assert system.pid(generation, "capture") == capture
        await system.stop_task(task_id)
    await until(lambda: done(generation), 60, "everything uploaded")
    check_closed(await system.objects(task_id))
    assert not system.data.generation(task_id, 1).folder.exists()


async def test_new_parameters_reach_the_journal(system: NodeSystem, room: str, tmp_path: Path) -> None:
    """By the node's door, and by its queue from a machine that has no such door."""
    async with system.publisher(room, "alice"), system.publisher(room, "bob"):
        task_id, generation = await recording(system, room, 4)
        await system.tasks.modify(APP, task_id, "modify-1", Lists(audio_block=["bob"], video_block=["bob"]), {})
        kept = Kept.load(generation.order)
        assert kept is not None
        assert kept.version == 2
        assert kept.params.lists.audio_block == ["bob"]
        assert await activities(system, task_id) == []
        await system.control_from(DataFolder(tmp_path))
        await modify(system, task_id, "modify-2", Lists())
        assert await activities(system, task_id) == ["apply"]
        with JournalReader(generation.journal) as reader:
            found = [e.record for e in reader.read() if isinstance(e, Entry) and isinstance(e.record, Params)]
        assert [r.version for r in found] == [1, 2, 3]
        await system.stop_task(task_id)
        assert await activities(system, task_id) == ["apply", "halt"]
    await until(lambda: done(generation), 60, "everything uploaded")
    objects = await system.objects(task_id)
    check_closed(objects)
    assert len([name for name in objects if name.endswith(".m3u8")]) == 4
    await system.control_from(system.data)


async def modify(system: NodeSystem, task_id: str, request_id: str, lists: Lists) -> None:
    """As customers are advised to: InternalError is tried again. What goes to a worker that ends at this moment waits for 10 s."""
    for _ in range(3):
        try:
            return await system.tasks.modify(APP, task_id, request_id, lists, {})
        except ApiError as error:
            if error.code != "InternalError.CRInternalError":
                raise
    pytest.fail("Modify is not answered")


async def test_an_empty_rooms_recording_has_no_render(system: NodeSystem, room: str) -> None:
    """It begins with the first media; of a recording in which nobody came there is nothing to render, and it ends all the same."""
    task_id = await system.create(room)
    generation = system.data.generation(task_id, 0)
    await until(lambda: (generation.folder / "reports.acked").exists(), 30, "the task knows that it has begun")
    assert system.pid(generation, "capture")
    assert not (generation.folder / "render.pid").exists()
    await system.stop_task(task_id)
    await until(lambda: done(generation), 30, "the recorder is done")
    assert not (generation.folder / "render.pid").exists()
    assert not await system.objects(task_id)
    task_id = await system.create(room)
    generation = system.data.generation(task_id, 0)
    await until(lambda: (generation.folder / "reports.acked").exists(), 30, "the task knows that it has begun")
    async with system.publisher(room, "alice"):
        await until(lambda: system.pid(generation, "render"), 30, "render has begun")
        await more_segments(generation, 1)
        await system.stop_task(task_id)
    await until(lambda: done(generation), 60, "everything uploaded")
    check_closed(await system.objects(task_id))


async def activities(system: NodeSystem, task_id: str) -> list[str]:
    """What the task has asked of its node by way of the orchestrator's queues."""
    events = (await system.client.get_workflow_handle(task_id).fetch_history()).events
    return [
        e.activity_task_scheduled_event_attributes.activity_type.name
        for e in events
        if e.HasField("activity_task_scheduled_event_attributes")
    ]


async def test_a_node_that_is_told_to_end_leaves_in_order(system: NodeSystem, room: str) -> None:
    async with system.publisher(room, "alice"):
        task_id, generation = await recording(system, room)
        assert await system.stop_node() == 0
    end = journal_end(generation.journal)
    assert end is not None
    assert end.leave_code == 3
    assert done(generation)
    check_closed(await system.objects(task_id))
    assert not system.pid(generation, "capture")
    assert not system.pid(generation, "render")


async def test_what_a_store_does_not_take_goes_up_when_it_is_back(system: NodeSystem, room: str) -> None:
    """The store is away when the node ends; the next node gets the keys for what is left."""
    async with system.publisher(room, "alice"):
        task_id, generation = await recording(system, room)
        await system.seaweed.stop()
        await more_segments(generation, 2)
        assert await system.stop_node() == 0
    assert not done(generation)
    assert "left in the spool" in (system.data.logs / "node.log").read_text()
    await system.seaweed.start()
    system.start_node()
    await until(lambda: done(generation), 120, "everything uploaded")
    check_closed(await system.objects(task_id))
    await secrets_nowhere(system)


async def test_a_node_that_was_away_too_long_is_replaced_and_its_files_are_saved(system: NodeSystem, room: str) -> None:
    """Node and capture die together: the task goes on in another generation, and the first one's media goes up with late keys."""
    async with system.publisher(room, "alice"):
        task_id, generation = await recording(system, room)
        system.kill_node()
        system.kill(generation, "capture")
        system.kill(generation, "render")
        system.start_node()
        second = system.data.generation(task_id, 1)
        await until(lambda: cut(second) >= 1, 90, "a segment of the second generation")
        await system.stop_task(task_id)
    await until(lambda: done(generation) and done(second), 90, "everything uploaded")
    objects = await system.objects(task_id)
    check_closed(objects)
    assert sum(name.startswith("ha1_") for name in objects if name.endswith(".m3u8")) == 2
    assert sum(not name.startswith("ha1_") for name in objects if name.endswith(".m3u8")) == 2
    end = journal_end(generation.journal)
    assert end is not None
    assert end.leave_code == SEALED


async def test_a_recorder_that_cannot_start_leaves_nothing(system: NodeSystem, room: str) -> None:
    """The bot's id is a user's: 301 Status 1, no process, no folder."""
    async with system.publisher(room, "recorder"):
        task_id = await system.create(room)
        handle = system.client.get_workflow_handle(task_id)
        deadline = time.monotonic() + 60
        while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            assert time.monotonic() < deadline, "the task does not end"
            await asyncio.sleep(0.1)
        generation = system.data.generation(task_id, 0)
        await until(lambda: not generation.folder.exists(), 10, "the folder's removal")
    assert '"start failed"' in (system.data.logs / "node.log").read_text()


async def secrets_nowhere(system: NodeSystem) -> None:
    """No secret key in any file that a node, capture or render wrote."""
    secret = system.seaweed.secret_key.encode()
    for path in system.data.root.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
