"""The official Python SDK, unchanged, against the real HTTP server."""

import asyncio
import json
import time
from typing import Any

import pytest
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models, trtc_client

from rokuga.control.model import FileInfo, Lists

from .calls import APP, OTHER_ID, OTHER_KEY, SECRET_ID, SECRET_KEY, TASK, create_body
from .conftest import Running

REQUESTS = {
    "CreateCloudRecording": models.CreateCloudRecordingRequest,
    "DescribeCloudRecording": models.DescribeCloudRecordingRequest,
    "ModifyCloudRecording": models.ModifyCloudRecordingRequest,
    "DeleteCloudRecording": models.DeleteCloudRecordingRequest,
}
TC3 = "TC3-HMAC-SHA256"
METHODS = pytest.mark.parametrize("method", [f"{method} {sign}" for sign in (TC3, "HmacSHA1", "HmacSHA256") for method in ("POST", "GET")])
"""how the SDK is told to send and to sign"""


async def sdk(
    api: Running, action: str, body: dict[str, Any], secret_id: str = SECRET_ID, key: str = SECRET_KEY, method: str = f"POST {TC3}"
) -> Any:
    """Call an action as a user would, in a thread: the SDK blocks."""
    verb, sign = method.split()
    http = HttpProfile(protocol="http", endpoint=api.url.removeprefix("http://"), reqMethod=verb, reqTimeout=20)
    profile = ClientProfile(signMethod=sign, httpProfile=http)
    client = trtc_client.TrtcClient(credential.Credential(secret_id, key), "ap-singapore", profile)
    request = REQUESTS[action]()
    request.from_json_string(json.dumps(body))
    return await asyncio.to_thread(getattr(client, action), request)


async def refused(api: Running, action: str, body: dict[str, Any], **how: Any) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        await sdk(api, action, body, **how)
    assert len(caught.value.get_request_id()) == 36
    code: str = caught.value.get_code()
    return code


@METHODS
async def test_a_recording_from_start_to_end(api: Running, method: str) -> None:
    lists = {"SubscribeAudioUserIds": ["a b", "1.*$"], "UnSubscribeVideoUserIds": ["é"]}
    body = create_body(
        RoomId="room 1",
        RoomIdType=0,
        RecordParams__SubscribeStreamUserIds=lists,
        RecordParams__MaxIdleTime=60,
        StorageParams__CloudStorage__FileNamePrefix=["p1", "p2"],
        ResourceExpiredHour=24,
    )
    created = await sdk(api, "CreateCloudRecording", body, method=method)
    task = api.tasks.tasks[created.TaskId]
    assert task.params.room_id == "room 1"
    assert task.params.room_id_type == 0
    assert task.params.lists == Lists(audio_allow=["a b", "1.*$"], video_block=["é"])
    assert task.params.max_idle_time == 60
    assert task.params.media_id == 0
    assert task.target.prefix == ["p1", "p2"]
    assert (task.target.access_key, task.target.secret_key) == ("store-key", "store-secret")
    assert task.user_sig == body["UserSig"]
    assert api.tasks.expire_hours == 24
    assert [(target.bucket, task_id) for target, task_id in api.bucket.probed] == [("test-1250000000", created.TaskId)]

    api.tasks.files = [FileInfo("x_main_audio.m3u8", "alice", "audio", 1730087526709)]
    ids = {"SdkAppId": APP, "TaskId": created.TaskId}
    described = await sdk(api, "DescribeCloudRecording", ids, method=method)
    assert (described.TaskId, described.Status) == (created.TaskId, "InProgress")
    [file] = described.StorageFileList
    assert (file.UserId, file.FileName, file.TrackType, file.BeginTimeStamp) == ("alice", "x_main_audio.m3u8", "audio", 1730087526709)

    changed = {
        "SubscribeStreamUserIds": {"SubscribeVideoUserIds": ["u1"]},
        "MixLayoutParams": {"MixLayoutMode": 3, "PureAudioDisableLayout": True},
    }
    modified = await sdk(api, "ModifyCloudRecording", {**ids, **changed}, method=method)
    [(new_lists, layout)] = api.tasks.modified
    assert new_lists == Lists(video_allow=["u1"])
    assert (layout["MixLayoutMode"], layout["PureAudioDisableLayout"], layout["RenderMode"]) == (3, True, 1)
    assert api.tasks.calls == [("modify", created.TaskId, modified.RequestId)]

    deleted = await sdk(api, "DeleteCloudRecording", ids, method=method)
    assert deleted.TaskId == created.TaskId
    assert await refused(api, "DeleteCloudRecording", ids, method=method) == "ResourceNotFound"
    assert await refused(api, "DescribeCloudRecording", ids, method=method) == "ResourceNotFound"


@METHODS
async def test_an_error_reaches_the_sdk_as_its_exception(api: Running, method: str) -> None:
    assert (
        await refused(api, "CreateCloudRecording", create_body(RecordParams__MaxIdleTime=4), method=method) == "InvalidParameter.OutOfRange"
    )
    assert await refused(api, "CreateCloudRecording", create_body(UserSig="x"), method=method) == "InvalidParameter.UserSig"
    assert await refused(api, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK}, method=method) == "ResourceNotFound"


@METHODS
async def test_wrong_key_and_unknown_secret_id(api: Running, method: str) -> None:
    ids = {"SdkAppId": APP, "TaskId": TASK}
    assert await refused(api, "DescribeCloudRecording", ids, key="wrong", method=method) == "AuthFailure.SignatureFailure"
    assert await refused(api, "DescribeCloudRecording", ids, secret_id="AKIDNOBODY", method=method) == "AuthFailure.SecretIdNotFound"


@METHODS
@pytest.mark.parametrize(
    ("off", "code"), [(-310, "AuthFailure.SignatureExpire"), (310, "AuthFailure.SignatureExpire"), (280, "ResourceNotFound")]
)
async def test_wrong_clock(api: Running, monkeypatch: pytest.MonkeyPatch, method: str, off: int, code: str) -> None:
    real = time.time
    monkeypatch.setattr("tencentcloud.common.abstract_client.time.time", lambda: real() + off)
    monkeypatch.setattr("rokuga.clock.utc_ns", lambda: int(real() * 1e9))
    assert await refused(api, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK}, method=method) == code


async def test_temporary_credentials_are_refused_clearly(api: Running) -> None:
    http = HttpProfile(protocol="http", endpoint=api.url.removeprefix("http://"))
    profile = ClientProfile(httpProfile=http, language="en-US")
    client = trtc_client.TrtcClient(credential.Credential(SECRET_ID, SECRET_KEY, "a-token"), "ap-singapore", profile)
    request = models.DescribeCloudRecordingRequest()
    request.from_json_string(json.dumps({"SdkAppId": APP, "TaskId": TASK}))
    with pytest.raises(TencentCloudSDKException, match="no temporary credentials") as caught:
        await asyncio.to_thread(client.DescribeCloudRecording, request)
    assert caught.value.get_code() == "AuthFailure.TokenFailure"


async def test_apps_are_strictly_apart(api: Running) -> None:
    created = await sdk(api, "CreateCloudRecording", create_body())
    ids = {"SdkAppId": APP, "TaskId": created.TaskId}
    for action in ("DescribeCloudRecording", "ModifyCloudRecording", "DeleteCloudRecording"):
        assert await refused(api, action, ids, secret_id=OTHER_ID, key=OTHER_KEY) == "ResourceNotFound"
        assert await refused(api, action, {**ids, "SdkAppId": APP + 1}, secret_id=OTHER_ID, key=OTHER_KEY) == "ResourceNotFound"
    assert await refused(api, "CreateCloudRecording", create_body(), secret_id=OTHER_ID, key=OTHER_KEY) == "InvalidParameter.SdkAppId"
    assert list(api.tasks.tasks) == [created.TaskId]


async def test_more_than_max_tasks(api: Running) -> None:
    for _ in range(2):
        await sdk(api, "CreateCloudRecording", create_body())
    assert await refused(api, "CreateCloudRecording", create_body()) == "FailedOperation.RestrictedConcurrency"
