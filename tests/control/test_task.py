"""A task from Create to its end, on real Temporal; the node's side is scripted."""

import base64
import hashlib
import hmac

import pytest
from temporalio.client import WorkflowExecutionStatus

from rokuga.control.model import FileInfo
from rokuga.control.signals import recorder_id
from rokuga.deliver.callback import callback_id
from rokuga.errors import ApiError
from tests.control.scripted_node import ScriptedNode
from tests.control.system import CALLBACK_KEY, System

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
        await node._client.get_workflow_handle(task.task_id).signal("report", sliced)
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
    with pytest.raises(ApiError) as gone:
        await system.tasks.describe(app, task.task_id)
    assert gone.value.code == "ResourceNotFound"
