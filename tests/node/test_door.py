"""What the API and tasks ask of a recorder at its node's door."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from rokuga import clock
from rokuga.config import Config, Store
from rokuga.control.client import TaskClient
from rokuga.control.model import ApplyOrder, Beat, Description, FileInfo, Lists, Modified, Params, RecordOrder, StopOrder, StoreTarget
from rokuga.control.near import Near
from rokuga.errors import ApiError
from rokuga.folders import DataFolder, Generation
from rokuga.journal import records
from rokuga.journal.reader import Entry, JournalReader
from rokuga.node.capture import NotRecording, Outcome
from rokuga.node.keep import Kept, journal_end
from rokuga.node.link import CaptureLink
from rokuga.node.node import Node
from rokuga.node.processes import Zygote
from rokuga.node.recorder import Recorder, Services
from rokuga.storage import spool
from rokuga.storage.gate import Slots
from tests.node.system import APP, NodeSystem, check_closed, until

ORDER = RecordOrder("task", 0, 1, Params(1, "room", 0, "bot"), StoreTarget(0, "r", "bucket", "a", "s"), "sig")


class Link:
    """To a capture that takes everything."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def request(self, do: str, seconds: float, **fields: Any) -> dict[str, Any]:
        self.asked.append({"do": do, **fields})
        return {"ok": True, "media_ns": 5}


class Activity:
    """A client for whose activity there may be nobody."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.gone = False
        self.status = WorkflowExecutionStatus.RUNNING
        """of the task"""

    def get_workflow_handle(self, _: str) -> "Activity":
        return self

    async def describe(self) -> "Activity":
        return self

    def get_async_activity_handle(self, *, task_token: bytes) -> "Activity":
        return self

    async def heartbeat(self, beat: Beat, **_: Any) -> None:
        if self.gone:
            raise RPCError("as told", RPCStatusCode.NOT_FOUND, b"")
        self.beats.append(beat)


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Its recorders do nothing by themselves."""

    async def idle(*_: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(Node, "_supervise", idle)
    config = Config(stores=(Store(endpoint="file"),))
    return Node("n", Services(config, DataFolder(tmp_path), cast(Client, Activity()), Zygote(), Slots()))


@pytest.fixture
async def recording(node: Node) -> tuple[Recorder, Link, Activity]:
    """App 1's, as if its capture were there."""
    await node.record(ORDER, b"1")
    recorder, link, activity = node._recorders["task", 0], Link(), cast(Activity, node._services.client)
    recorder._capture._link = cast(CaptureLink, link)
    return recorder, link, activity


async def test_a_modify_at_the_door_is_answered_when_whoever_comes_after_knows_of_it(
    node: Node, recording: tuple[Recorder, Link, Activity]
) -> None:
    recorder, link, activity = recording
    await node.modify(1, "task", Modified(1000, Lists(audio_allow=["alice"]), {"MixLayoutMode": 3}))
    assert [(a["do"], a["version"], a["params"]["layout"]) for a in link.asked] == [("apply", 2, {"MixLayoutMode": 3})]
    assert [beat.modified for beat in activity.beats] == [Modified(1000, Lists(audio_allow=["alice"]), {"MixLayoutMode": 3})]
    kept = Kept.load(recorder.generation.order)
    assert kept is not None
    assert (kept.version, kept.told, kept.params.lists.audio_allow) == (2, 1, ["alice"])
    activity.gone = True
    with pytest.raises(NotRecording):
        await node.modify(1, "task", Modified(1001, Lists(), {}))


async def test_of_modifies_that_came_different_ways_the_later_one_holds(node: Node, recording: tuple[Recorder, Link, Activity]) -> None:
    recorder, link, _ = recording

    async def by_task(version: int, ms: int) -> str:
        params = replace(ORDER.params, layout={"by": "task"}, images={"ours": "x"})
        await node.apply(ApplyOrder("task", 0, version, params, ms))
        assert recorder.kept.params.images == {}
        return str(link.asked[-1]["params"]["layout"].get("by"))

    await node.modify(1, "task", Modified(1000, Lists(), {"by": "door"}))
    assert await by_task(2, 999) == "door"
    assert await by_task(3, 1001) == "task"
    await recorder._beat(False)
    assert (await recorder._beat(False)).modified is None, "the task knows"
    await node.modify(1, "task", Modified(1002, Lists(), {"by": "door"}))
    assert await by_task(3, 1001) == "door", "told once more"
    assert [a["version"] for a in link.asked] == [2, 2, 3, 4, 4]


async def test_who_may_be_answered_at_the_door(node: Node, recording: tuple[Recorder, Link, Activity]) -> None:
    recorder, _, activity = recording
    await recorder.outbox.add("flow", "1", {"active": True})
    await recorder.outbox.add("sliced", "2", {"file": "a.m3u8", "user_id": "a", "media_id": "main", "track_type": "audio", "begin_ms": 7})
    assert node.describe(1, "task") == Description(1, "InProgress", [FileInfo("a.m3u8", "a", "audio", 7)], 0, 1, 0)
    for app, task in ((2, "task"), (1, "other")):
        with pytest.raises(NotRecording):
            node.describe(app, task)
        with pytest.raises(NotRecording):
            await node.modify(app, task, Modified(1, Lists(), {}))
    recorder.kept = recorder.kept.but(expires_ms=clock.utc_ms() - 1)
    with pytest.raises(NotRecording):
        node.describe(1, "task")
    recorder.kept = recorder.kept.but(expires_ms=clock.utc_ms() + 100_000)
    node.describe(1, "task")
    activity.gone = True
    assert not await recorder._heart.tell()
    with pytest.raises(NotRecording, match="others may know"):
        node.describe(1, "task")


async def test_a_stop_that_capture_has_not_heard_is_told_again(node: Node, recording: tuple[Recorder, Link, Activity]) -> None:
    """It comes up, or is started again: what this process remembers goes with this process."""
    recorder, link, _ = recording
    recorder._capture._link = None
    stop = StopOrder("task", 0, 0, "deleted")
    with pytest.raises(ApplicationError, match="not up yet"):
        await node.halt(stop)
    recorder._capture._link = cast(CaptureLink, link)
    await node.halt(stop)
    assert [asked["do"] for asked in link.asked] == ["stop"]


async def test_one_whose_task_has_closed_is_abandoned(node: Node, recording: tuple[Recorder, Link, Activity]) -> None:
    """Also if its own workflow still listens to its heartbeat: the task may not know that it began it."""
    recorder, _, activity = recording
    assert not await recorder.abandoned()
    recorder.outbox.closed = True
    assert not await recorder.abandoned(), "it still runs"
    activity.status = WorkflowExecutionStatus.COMPLETED
    assert await recorder.abandoned()
    recorder.outcome = Outcome.ENDED
    assert not await recorder.abandoned()


async def test_a_recorder_that_leaves_is_asked_nothing(node: Node, recording: tuple[Recorder, Link, Activity]) -> None:
    await node.halt(StopOrder("task", 0, 0, "deleted"))
    with pytest.raises(NotRecording):
        node.describe(1, "task")
    with pytest.raises(NotRecording):
        await node.modify(1, "task", Modified(1, Lists(), {}))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeSystem]:
    async with NodeSystem(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def near(system: NodeSystem) -> AsyncIterator[TaskClient]:
    """As an API on the node's machine."""
    async with Near(system.data) as asking:
        yield TaskClient(system.client, asking)


def said(generation: Generation) -> list[records.Params]:
    """What the journal says of the parameters."""
    with JournalReader(generation.journal) as reader:
        return [e.record for e in reader.read() if isinstance(e, Entry) and isinstance(e.record, records.Params)]


async def updates(system: NodeSystem, task_id: str) -> int:
    """How many the task has taken."""
    events = (await system.client.get_workflow_handle(task_id).fetch_history()).events
    return sum(event.HasField("workflow_execution_update_accepted_event_attributes") for event in events)


async def begun(system: NodeSystem, room: str) -> tuple[str, Generation]:
    task_id = await system.create(room)
    generation = system.data.generation(task_id, 0)
    await until(lambda: (generation.folder / "reports.acked").exists(), 30, "the task knows that it has begun")
    return task_id, generation


@pytest.mark.live
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("how", ["the machine", "capture", "capture and all is uploaded"])
async def test_a_modify_at_the_door_outlives_whoever_took_it(system: NodeSystem, near: TaskClient, how: str) -> None:
    """The task hears of it from the heartbeat, or from the error with which the recording failed, and its next generation has it."""
    async with system.publisher(f"outlives {how}", "alice"), system.publisher(f"outlives {how}", "bob"):
        task_id, generation = await begun(system, f"outlives {how}")
        deaf = Lists(audio_block=["bob"], video_block=["bob"])
        await near.modify(APP, task_id, "modify-1", deaf, {})
        assert [r.params["lists"]["audio_block"] for r in said(generation)] == [[], ["bob"]]
        assert await updates(system, task_id) == 0
        following = system.data.generation(task_id, 1)
        if how == "the machine":
            system.kill_node()
            system.kill(generation, "capture")
            await until(lambda: not system.pid(generation, "capture"), 10, "capture is dead")
            system.start_node()
        else:
            if how != "capture":
                await system.stop_control()

            def sealed() -> bool:
                system.kill(generation, "capture")
                return journal_end(generation.journal) is not None

            await until(sealed, 60, "capture is given up")
            if how != "capture":
                await until(lambda: b'"done": true' in generation.order.read_bytes(), 60, "everything uploaded")
                await system.control_from(system.data)
        await until(lambda: following.journal.exists() and said(following), 60, "the next generation records")
        assert said(following)[0].params["lists"]["audio_block"] == ["bob"]
        await until(lambda: (following.folder / "reports.acked").exists(), 30, "the task knows that it has begun")
        await until(lambda: list(spool.read_manifest(following.spool)), 60, "a segment")
        await near.modify(APP, task_id, "modify-2", Lists(), {})
        assert said(following)[-1].params["lists"]["audio_block"] == []
        await near.stop(APP, task_id, "stop")
        await until(lambda: b'"done": true' in following.order.read_bytes(), 60, "everything uploaded")
        objects = await system.objects(task_id)
    check_closed({name: data for name, data in objects.items() if name.startswith("ha1_")})


@pytest.mark.live
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_door_and_the_task_tell_the_same(system: NodeSystem, near: TaskClient) -> None:
    async with system.publisher("same", "alice"):
        task_id, generation = await begun(system, "same")
        async with asyncio.timeout(60):
            while len((await system.tasks.describe(APP, task_id)).files) < 2:
                await asyncio.sleep(0.1)
        here, there = await near.describe(APP, task_id), await system.tasks.describe(APP, task_id)
        assert here == there
        assert here.status == "InProgress"
        for tasks in (near, system.tasks):
            with pytest.raises(ApiError, match="ResourceNotFound"):
                await tasks.describe(APP + 1, task_id)
            with pytest.raises(ApiError, match="ResourceNotFound"):
                await tasks.modify(APP + 1, task_id, f"wrong-{tasks is near}", Lists(), {})
        await near.stop(APP, task_id, "stop")
        with pytest.raises(ApiError, match="ResourceNotFound"):
            await near.modify(APP, task_id, "late", Lists(), {})
        assert (await near.describe(APP, task_id)).status == "Exited"
    await until(lambda: b'"done": true' in generation.order.read_bytes(), 60, "everything uploaded")


@pytest.mark.live
@pytest.mark.asyncio(loop_scope="module")
async def test_deleted_before_the_node_has_begun(system: NodeSystem, near: TaskClient) -> None:
    """However soon: nobody stays in the room."""
    for number in range(10):
        task_id = await system.create(f"short {number}")
        await asyncio.sleep(0.01 * number)
        await near.stop(APP, task_id, "stop")
        with pytest.raises(ApiError, match="ResourceNotFound"):
            await near.modify(APP, task_id, "late", Lists(), {})
        recorders = system.data.generation(task_id, 0)
        async with asyncio.timeout(20):
            while (await system.client.get_workflow_handle(task_id).describe()).status == WorkflowExecutionStatus.RUNNING:
                await asyncio.sleep(0.05)
        assert not system.pid(recorders, "capture")
