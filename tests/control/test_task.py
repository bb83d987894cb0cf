"""A task from Create to its end, on real Temporal; the node's side is scripted."""

import asyncio
import base64
import hashlib
import hmac
from functools import partial

import pytest
from temporalio.client import WorkflowExecutionStatus

from rokuga.control.model import FileInfo, Lists, Timing
from rokuga.control.signals import app_id, late_id, recorder_id
from rokuga.deliver.callback import callback_id
from rokuga.errors import ApiError
from tests.control.scripted_node import ScriptedNode
from tests.control.system import CALLBACK_KEY, System, until

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]


async def test_a_task_from_create_to_its_last_event(system: System) -> None:
    app = system.app()
    task = system.task(app)
    key = (task.task_id, 0)
    async with ScriptedNode(system.client, "happy") as node:
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        before = await system.tasks.describe(app, task.task_id)
        assert (before.status, before.files, before.version) == ("Idle", [], 1)

        await node.report(key, "upload_started", status=0)
        await node.report(key, "flow", active=True)
        sliced = await node.report(
            key, "sliced", file="a.m3u8", user_id="alice", media_id="main", track_type="audio", begin_ms=1622186279144
        )
        await node._client.get_workflow_handle(task.task_id).signal("reported", [sliced])
        await node.report(key, "uploaded", file="a.m3u8")
        await node.report(key, "upload_error", code="AccessDenied", message="no")
        await system.events(app, 308)
        during = await system.tasks.describe(app, task.task_id)
        assert during.status == "InProgress"
        assert during.files == [FileInfo("a.m3u8", "alice", "audio", 1622186279144)]

        await system.tasks.stop(app, task.task_id, "request-1")
        got = await system.events(app, 305)
    assert [g.type for g in got] == [301, 303, 307, 304, 308, 302, 305]
    texts = {g.type: g for g in got}
    assert list(texts[302].body) == ["EventGroupId", "EventType", "CallbackTs", "EventInfo"]
    for got_one in got:
        info = got_one.body["EventInfo"]
        assert list(info) == ["RoomId", "EventTs", "EventMsTs", "UserId", "TaskId", "Payload"]
        assert (info["RoomId"], info["UserId"], info["TaskId"]) == ("20015", "recorder_1", task.task_id)
        seconds = info["EventMsTs"] // 1000
        assert info["EventTs"] == (str(seconds) if got_one.type in (301, 302, 307) else seconds)
        assert got_one.headers["content-type"] == "application/json"
        assert got_one.headers["sdkappid"] == str(app)
        signature = base64.b64encode(hmac.new(CALLBACK_KEY.encode(), got_one.raw, hashlib.sha256).digest()).decode()
        assert got_one.headers["sign"] == signature
    payloads = {t: g.body["EventInfo"]["Payload"] for t, g in texts.items()}
    assert payloads == {
        301: {"Status": 0},
        303: {"Status": 0},
        307: {"FileName": "a.m3u8", "UserId": "alice", "TrackType": "audio", "BeginTimeStamp": 1622186279144},
        304: {"FileList": "a.m3u8"},
        308: {"Code": "AccessDenied", "Message": "no"},
        302: {"LeaveCode": 0},
        305: {"Status": 0},
    }
    assert texts[307].body["EventInfo"]["EventMsTs"] == sliced.ms
    for workflow_id in (task.task_id, recorder_id(task.task_id, 0), callback_id(task.task_id)):
        assert await system.closed(workflow_id) == WorkflowExecutionStatus.COMPLETED
        await system.replay(workflow_id)
    with pytest.raises(ApiError, match="ResourceNotFound"):
        await system.tasks.describe(app, task.task_id)


async def test_a_lost_heartbeat_of_a_healthy_recorder_counts_nothing(system: System) -> None:
    app = system.app()
    task = system.task(app)
    async with ScriptedNode(system.client, "adopts") as node:
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        node.beating = False
        await until(lambda: len(node.of(task.task_id)) > 1, 15, "adopted")
        node.beating = True
        assert set(node.asked) == {(task.task_id, 0)}
        assert {o.generation for o in node.of(task.task_id)} == {0}
        await system.tasks.stop(app, task.task_id, "r")
        got = await system.events(app, 305)
    assert [g.type for g in got] == [301, 302, 305]


async def test_a_silent_node_is_replaced_within_five_seconds_and_its_files_come_late(system: System) -> None:
    app = system.app()
    task = system.task(app, heartbeat_timeout=3)
    async with ScriptedNode(system.client, "successor", room=False) as successor:
        async with ScriptedNode(system.client, "dies") as first:
            await system.tasks.create(task, 10, 72)
            await system.events(app, 301)
            await system.tasks.modify(app, task.task_id, "m", Lists(audio_allow=["alice"]), {})
            await asyncio.sleep(0.5)
            lost_at = asyncio.get_running_loop().time()
        # The shared queue is polled from now on only: as a node with room does.
        async with successor.polling():
            await system.events(app, 306, 10)
            took = asyncio.get_running_loop().time() - lost_at
            order = successor.of(task.task_id)[0]
            assert (order.generation, order.version, order.params.lists) == (1, 2, Lists(audio_allow=["alice"]))
            assert order.predecessor_session == 1000
            # The heartbeat's 3 s, the question's 1.5 s, and what a busy machine adds.
            assert took < 3 + 5, f"{took:.1f} s from the last beat to event 306"

            await successor.report((task.task_id, 1), "sliced", file="ha1_a.m3u8", user_id="a", track_type="audio", begin_ms=2)
            await system.tasks.stop(app, task.task_id, "r")
            await system.events(app, 302)
            assert (await system.tasks.describe(app, task.task_id)).status == "Exited"
            # Not before the first node came back and gave what it still had.
            assert 305 not in system.receiver.types(f"/{app}")
            async with ScriptedNode(system.client, "dies", room=False) as back:
                key = (task.task_id, 0)
                late = [
                    back.said(key, "sliced", ms=5000, file="a.m3u8", user_id="a", track_type="audio", begin_ms=1),
                    back.said(key, "uploaded", ms=6000, file="a.m3u8"),
                    back.said(key, "stopped", ms=6500, leave_code=100),
                    back.said(key, "drained", ms=7000),
                ]
                back.left[key] = late
                got = await system.events(app, 305)
                assert [o.generation for o in back.recovered] == [0]
                assert back.recovered[0].target == task.target
    assert [g.type for g in got] == [301, 306, 307, 302, 307, 304, 305]
    assert got[-1].body["EventInfo"]["Payload"] == {"Status": 0}
    assert first.holding == {(task.task_id, 0)}
    made = [task.task_id, recorder_id(task.task_id, 0), recorder_id(task.task_id, 1), late_id(task.task_id, 0)]
    await system.replay(*made, callback_id(task.task_id), app_id(app))


async def test_a_recorder_that_cannot_start(system: System) -> None:
    app = system.app()
    task, other = system.task(app), system.task(app)
    async with ScriptedNode(system.client, "cannot") as node:
        node.start_fails = True
        await system.tasks.create(task, 1, 72)
        (got,) = await system.events(app, 301)
        assert got.body["EventInfo"]["Payload"] == {"Status": 1}
        await system.closed(callback_id(task.task_id))
        await system.closed(task.task_id)
        assert system.receiver.types(f"/{app}") == [301]
        node.start_fails = False
        # The slot is free: the limit is one.
        await system.tasks.create(other, 1, 72)
        await until(lambda: 301 in system.receiver.types(f"/{app}")[1:], 15, "the second task's 301")
        await system.tasks.stop(app, other.task_id, "r")
        await system.events(app, 305)


async def test_no_node_has_room(system: System) -> None:
    app = system.app()
    task = system.task(app, Timing(place=0.5))
    await system.tasks.create(task, 1, 72)
    (got,) = await system.events(app, 301)
    assert got.body["EventInfo"]["Payload"] == {"Status": 1}
    await system.closed(callback_id(task.task_id))
    assert system.receiver.types(f"/{app}") == [301]


async def test_deleted_before_a_node_was_found(system: System) -> None:
    app = system.app()
    task = system.task(app)
    await system.tasks.create(task, 1, 72)
    await system.exists(recorder_id(task.task_id, 0))
    await system.tasks.stop(app, task.task_id, "r")
    (got,) = await system.events(app, 301, 10)
    assert got.body["EventInfo"]["Payload"] == {"Status": 1}
    assert await system.closed(recorder_id(task.task_id, 0)) == WorkflowExecutionStatus.COMPLETED
    async with ScriptedNode(system.client, "too-late") as node:
        await system.closed(task.task_id)
    assert node.of(task.task_id) == []


async def test_modify_reaches_the_recorder_or_the_next_one(system: System) -> None:
    app = system.app()
    task = system.task(app)
    lists = Lists(video_block=["bob"])
    async with ScriptedNode(system.client, "modified") as node:
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        await system.tasks.modify(app, task.task_id, "m1", lists, {"MixLayoutMode": 2})
        (applied,) = node.applied
        assert (applied.generation, applied.version) == (0, 2)
        assert (applied.params.lists, applied.params.layout) == (lists, {"MixLayoutMode": 2})
        # The same request again changes nothing: it answers what it answered.
        await system.tasks.modify(app, task.task_id, "m1", lists, {})
        assert (await system.tasks.describe(app, task.task_id)).version == 2
        await asyncio.gather(*(system.tasks.modify(app, task.task_id, f"n{i}", Lists(audio_block=[str(i)]), {}) for i in range(5)))
        assert (await system.tasks.describe(app, task.task_id)).version == 7
        assert max(o.version for o in node.applied) == 7
        for wrong in (app + 1, 0):
            with pytest.raises(ApiError, match="ResourceNotFound"):
                await system.tasks.modify(wrong, task.task_id, f"w{wrong}", lists, {})
        assert (await system.tasks.describe(app, task.task_id)).version == 7
    # The node is gone, the heartbeat not yet missed: success all the same.
    await system.tasks.modify(app, task.task_id, "m3", lists, {})
    async with ScriptedNode(system.client, "next") as following:
        await system.events(app, 306, 20)
        order = following.of(task.task_id)[0]
        assert (order.generation, order.version, order.params.lists) == (1, 8, lists)
        await system.tasks.stop(app, task.task_id, "r")
        await system.events(app, 302)


async def test_what_a_busy_node_did_not_take_is_said_again(system: System) -> None:
    app = system.app()
    task = system.task(app)
    async with ScriptedNode(system.client, "busy") as node:
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        node.refuses = True
        await system.tasks.modify(app, task.task_id, "m", Lists(audio_allow=["carol"]), {})
        await system.tasks.stop(app, task.task_id, "r")
        assert (node.applied, node.halted) == ([], [])
        node.refuses = False
        await system.events(app, 305, 20)
        assert [o.leave_code for o in node.halted] == [0]


async def test_delete_twice_and_the_wrong_ids(system: System) -> None:
    app = system.app()
    task = system.task(app)
    async with ScriptedNode(system.client, "deleted") as node:
        node.drains = False
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        for wrong_app, wrong_id in ((app + 1, task.task_id), (app, "nothing"), (app, ""), (app, f"{task.task_id}/g0"), (app, f"app/{app}")):
            with pytest.raises(ApiError, match="ResourceNotFound"):
                await system.tasks.describe(wrong_app, wrong_id)
            with pytest.raises(ApiError, match="ResourceNotFound"):
                await system.tasks.stop(wrong_app, wrong_id, "w")
        await system.tasks.stop(app, task.task_id, "r1")
        await system.events(app, 302)
        with pytest.raises(ApiError, match="ResourceNotFound"):
            await system.tasks.stop(app, task.task_id, "r2")
        with pytest.raises(ApiError, match="ResourceNotFound"):
            await system.tasks.modify(app, task.task_id, "m", Lists(), {})
        assert (await system.tasks.describe(app, task.task_id)).status == "Exited"
        await node.drained((task.task_id, 0))
        await system.events(app, 305)


async def test_an_expired_task_is_not_found_and_records_on(system: System) -> None:
    app = system.app()
    task = system.task(app)
    async with ScriptedNode(system.client, "expired") as node:
        await system.tasks.create(task, 10, 0)
        await system.events(app, 301)
        with pytest.raises(ApiError, match="ResourceNotFound"):
            await system.tasks.describe(app, task.task_id)
        with pytest.raises(ApiError, match="ResourceNotFound"):
            await system.tasks.modify(app, task.task_id, "m", Lists(), {})
        with pytest.raises(ApiError, match="ResourceNotFound"):
            await system.tasks.stop(app, task.task_id, "r")
        assert node.holding
        await node.leave((task.task_id, 0), 99)
        got = await system.events(app, 305)
    assert [g.type for g in got] == [301, 302, 305]
    assert got[1].body["EventInfo"]["Payload"] == {"LeaveCode": 99}


async def test_unconfirmed_files_close_the_task_and_come_late(system: System) -> None:
    app = system.app()
    task = system.task(app, Timing(close=1))
    key = (task.task_id, 0)
    async with ScriptedNode(system.client, "slow-store") as node:
        node.drains = False
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        gate = node.gates[key] = asyncio.Event()
        await system.tasks.stop(app, task.task_id, "r")
        got = await system.events(app, 305)
        assert got[-1].body["EventInfo"]["Payload"] == {"Status": 1}
        await system.closed(task.task_id)
        await until(lambda: node.recovered, 10, "recover")
        node.left[key] = [node.said(key, "uploaded", ms=8000, file="a.m3u8"), node.said(key, "drained", ms=9000)]
        gate.set()
        await system.closed(callback_id(task.task_id))
    got = system.receiver.taken(f"/{app}")
    assert [g.type for g in got] == [301, 302, 305, 304, 305]
    assert (got[-1].body["EventInfo"]["Payload"], got[-1].body["EventInfo"]["EventMsTs"]) == ({"Status": 2}, 9000)


async def test_no_pull_up_is_left(system: System) -> None:
    """Each generation is lost at once: the node lets go of it while it still answers."""
    app = system.app()
    task = system.task(app, Timing(pull_up_pauses=[0, 0.1, 0.2]), heartbeat_timeout=1)
    async with ScriptedNode(system.client, "forgets") as node:
        await system.tasks.create(task, 10, 72)
        for generation in range(4):
            key = (task.task_id, generation)
            await until(partial(node.holding.__contains__, key), 30, f"g{generation}")
            node.left[key] = [node.said(key, "drained")]
            node.holding.discard(key)
        got = await system.events(app, 305)
        assert {o.generation for o in node.of(task.task_id)} == {0, 1, 2, 3}
    assert [g.type for g in got] == [301, 306, 306, 306, 302, 305]
    assert got[4].body["EventInfo"]["Payload"] == {"LeaveCode": 100}


async def test_a_task_continues_as_new_with_its_past(system: System) -> None:
    app = system.app()
    task = system.task(app, Timing(updates_per_run=3))
    key = (task.task_id, 0)
    handle = system.client.get_workflow_handle(task.task_id)
    async with ScriptedNode(system.client, "continued") as node:
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        first_run = (await handle.describe()).run_id
        sliced = await node.report(key, "sliced", file="a.m3u8", user_id="alice", track_type="audio", begin_ms=7)
        for i in range(8):
            await system.tasks.modify(app, task.task_id, f"m{i}", Lists(audio_allow=[str(i)]), {})
        assert (await handle.describe()).run_id != first_run
        await handle.signal("reported", [sliced])
        found = await system.tasks.describe(app, task.task_id)
        assert (found.version, found.files) == (9, [FileInfo("a.m3u8", "alice", "audio", 7)])
        assert [o.version for o in node.applied] == list(range(2, 10))
        assert {o.generation for o in node.of(task.task_id)} == {0}
        await system.tasks.stop(app, task.task_id, "r")
        got = await system.events(app, 305)
    assert [g.type for g in got] == [301, 307, 302, 305]
    await system.closed(task.task_id)
    await system.replay(task.task_id)


async def test_a_create_that_answered_an_error_is_undone(system: System) -> None:
    """What the client sends when it cannot know whether the start arrived, at any moment and any number of times."""
    app = system.app()
    early, late = system.task(app), system.task(app)
    async with ScriptedNode(system.client, "undone") as node:
        for task, wait in ((early, 0), (late, 301)):
            await system.tasks.create(task, 1, 72)
            if wait:
                await until(lambda: node.of(late.task_id), 20, "recording")
            handle = system.client.get_workflow_handle(task.task_id)
            await handle.signal("undo")
            await system.closed(task.task_id)
        await until(lambda: not node.holding, 20, "no recorder left")
    # The limit is one: both slots are free.
    await system.tasks.create(system.task(app, Timing(place=0.1)), 1, 72)


async def test_a_worker_that_ends_sends_first_what_can_be_sent(system: System) -> None:
    app = system.app()
    task = system.task(app)
    async with ScriptedNode(system.client, "last") as node:
        await system.tasks.create(task, 10, 72)
        await system.events(app, 301)
        await system.tasks.stop(app, task.task_id, "r")
        await until(lambda: (task.task_id, 0) not in node.holding, 15, "drained")
        await system.stop_worker()
        assert system.receiver.types(f"/{app}") == [301, 302, 305]
        system.start_worker()
        await system.events(app, 305)
