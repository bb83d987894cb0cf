"""What several fields say together, through signature and HTTP: what is sent, and the code that answers it."""

from typing import Any

import pytest

from rokuga.api import usersig

from .calls import APP, USER_SIG_KEY, call, code, create_body
from .conftest import Running
from .wire import Wire, tc3

RANGE = "InvalidParameter.OutOfRange"
UNBUILT = "FailedOperation.CRUnsupportMethod"
LISTS = "RecordParams__SubscribeStreamUserIds"
CLOUD = "StorageParams__CloudStorage"
VOD: dict[str, Any] = {"CloudVod": {"TencentVod": {}}}
VIDEO = {"Width": 640, "Height": 360, "Fps": 15, "BitRate": 550000, "Gop": 10}
AUDIO = {"SampleRate": 1, "Channel": 2, "BitRate": 64000}
MIXED = {"RecordParams__RecordMode": 2}
CELL = {"Top": 0, "Left": 0, "Width": 360, "Height": 640}
MARK = {"WaterMarkUrl": "https://h/m.png", "Top": 0, "Left": 0, "Width": 1, "Height": 1}


def mixed(layout: dict[str, Any]) -> dict[str, Any]:
    return MIXED | {"MixLayoutParams": {"MixLayoutMode": 4, **layout}}


# (what differs from a right Create, the code; "" is success). What concerns one field alone is in test_bounds.
CREATE: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    *[({"RoomIdType": 0, "RoomId": right}, "") for right in ("007", " !#$%&()+-:;<=.>?@[]^_{}|~,", "r" * 64)],
    *[({"RoomIdType": 0, "RoomId": wrong}, "InvalidParameter.RoomId") for wrong in ("a/b", "é", "r" * 65, "a\nb", '"', "\0", "a*")],
    *[({f"{LISTS}__UnSubscribeVideoUserIds": wrong}, "InvalidParameter") for wrong in ([1], [None], "u")],
    ({LISTS: {"SubscribeAudioUserIds": ["a"], "UnSubscribeAudioUserIds": ["b"]}}, "InvalidParameter"),
    ({LISTS: {"SubscribeVideoUserIds": ["a"], "UnSubscribeVideoUserIds": ["b"]}}, "InvalidParameter"),
    ({LISTS: {"SubscribeAudioUserIds": ["a"], "UnSubscribeAudioUserIds": [], "UnSubscribeVideoUserIds": ["b"]}}, ""),
    ({f"{CLOUD}__FileNamePrefix": ["p" * 200] * 2}, ""),
    ({f"{CLOUD}__FileNamePrefix": ["p" * 200] * 3}, RANGE),
    ({"StorageParams__CloudVod": {}}, "InvalidParameter"),
    ({"StorageParams": VOD}, UNBUILT),
    ({"StorageParams": VOD, "RecordParams__OutputFormat": 1}, UNBUILT),
    ({"StorageParams": {"CloudVod": {"TencentVod": {"MediaType": 2}}}}, "InvalidParameter"),
    ({"StorageParams": {"CloudVod": {"TencentVod": {"MediaType": 2}}}, "RecordParams__StreamType": 1}, UNBUILT),
    (MIXED, ""),
    *[(MIXED | {"MixTranscodeParams": {"VideoParams": VIDEO | {field: None}}}, "MissingParameter") for field in VIDEO],
    *[(MIXED | {"MixTranscodeParams": {"AudioParams": AUDIO | {field: None}}}, "MissingParameter") for field in AUDIO],
    ({"MixTranscodeParams": {"VideoParams": VIDEO | {"Width": 1920, "Height": 1080}}}, ""),
    ({"MixTranscodeParams": {"VideoParams": VIDEO | {"Width": 1920, "Height": 1081}}}, RANGE),
    (mixed({"MixLayoutList": [CELL | {"Left": 1}]}), RANGE),
    (mixed({"MixLayoutList": [CELL | {"Top": 1}]}), RANGE),
    (mixed({"MixLayoutList": [CELL | {"Left": 1}]}) | {"MixTranscodeParams": {"VideoParams": VIDEO | {"Height": 640}}}, ""),
    # Places have no effect in the other layouts.
    (mixed({"MixLayoutList": [CELL | {"Left": 1}], "MixLayoutMode": 3}), ""),
    (mixed({"WaterMarkList": [{"WaterMarkImage": MARK | {"Width": 360, "Height": 640}}]}), ""),
    (mixed({"WaterMarkList": [{"WaterMarkImage": MARK | {"Width": 361}}]}), RANGE),
    (mixed({"WaterMarkList": [{"WaterMarkImage": MARK | {"Top": 640}}]}), RANGE),
    *[(mixed({"WaterMarkList": [{"WaterMarkType": kind}]}), "MissingParameter") for kind in (0, 1, 2)],
    ({"FromTheFuture": {"a": [1]}, "RecordParams__AlsoNew": "x"}, ""),
    # What has no effect in single-stream mode is checked for its form alone.
    ({"MixLayoutParams": {"MixLayoutMode": 4, "MixLayoutList": [CELL | {"Left": 1}]}}, ""),
]


async def test_create(api: Running, wire: Wire) -> None:
    for changes, expected in CREATE:
        api.tasks.tasks.clear()
        answer = await wire.send(tc3(wire.endpoint, "CreateCloudRecording", create_body(**changes)))
        assert code(answer) == expected, (changes, answer)
        assert len(api.tasks.tasks) == (not expected)


GUIDE_MARK = {"url": "https://h/m.png", "Top": 1, "Left": 2, "Width": 3, "Height": 4}
WATERMARK = {"WaterMarkUrl": "https://h/m.png", "Top": 1, "Left": 2, "Width": 3, "Height": 4}


@pytest.mark.parametrize("place", ["MixWatermark", "MixLayoutParams__MixWatermark"])
async def test_mix_watermark_is_an_alias(api: Running, wire: Wire, place: str) -> None:
    marked = MIXED | ({} if place == "MixWatermark" else {"MixLayoutParams": {"MixLayoutMode": 3}})
    action = "CreateCloudRecording"
    assert await wire.code(tc3(wire.endpoint, action, create_body(**marked, **{place: [GUIDE_MARK] * 25}))) == ""
    [(task_id, task)] = api.tasks.tasks.items()
    assert task.params.layout["MixLayoutMode"] == 3
    assert len(task.params.layout["WaterMarkList"]) == 25
    assert task.params.layout["WaterMarkList"][0].items() >= {"WaterMarkType": 0, "WaterMarkImage": WATERMARK}.items()
    assert "MixWatermark" not in task.params.layout
    for wrong, expected in [
        ([GUIDE_MARK] * 26, RANGE),
        ([GUIDE_MARK | {"Top": 2561}], RANGE),
        ([GUIDE_MARK | {"Left": 358}], RANGE),
        ([GUIDE_MARK | {"url": ""}], "MissingParameter"),
        ([GUIDE_MARK | {"url": "m.png"}], "InvalidParameter"),
        ([{"url": "https://h/m.png"}], "MissingParameter"),
        (GUIDE_MARK, "InvalidParameter"),
    ]:
        assert await wire.code(tc3(wire.endpoint, action, create_body(**marked, **{place: wrong}))) == expected, wrong
    both = marked | {place: [GUIDE_MARK], "MixLayoutParams__WaterMarkList": [{"WaterMarkImage": WATERMARK}]}
    both.setdefault("MixLayoutParams", {"MixLayoutMode": 3})
    assert await wire.code(tc3(wire.endpoint, action, create_body(**dict(sorted(both.items()))))) == "InvalidParameter"
    modify = {"SdkAppId": APP, "TaskId": task_id}
    change = (
        {"MixWatermark": [GUIDE_MARK]}
        if place == "MixWatermark"
        else {"MixLayoutParams": {"MixLayoutMode": 1, "MixWatermark": [GUIDE_MARK]}}
    )
    assert await wire.code(tc3(wire.endpoint, "ModifyCloudRecording", modify | change)) == ""
    [(_, layout)] = api.tasks.modified
    assert layout["MixLayoutMode"] == (3 if place == "MixWatermark" else 1)
    assert [mark["WaterMarkImage"] for mark in layout["WaterMarkList"]] == [WATERMARK]


async def test_messages_name_the_field_and_no_text_of_the_request(api: Running) -> None:
    answer = await call(api.url, "CreateCloudRecording", create_body(RecordParams__MaxIdleTime=4))
    assert answer["Error"]["Message"] == "The parameter `RecordParams.MaxIdleTime` must be from 5 to 86400, not 4."
    answer = await call(api.url, "CreateCloudRecording", create_body(StorageParams__CloudStorage__SecretKey="very secret"))
    assert "`StorageParams.CloudStorage.SecretKey`" in answer["Error"]["Message"]
    assert "very secret" not in str(answer)
    answer = await call(api.url, "CreateCloudRecording", create_body(StorageParams__CloudStorage__Vendor=None))
    assert answer["Error"]["Message"] == "The request is missing a required parameter `StorageParams.CloudStorage.Vendor`. Add it."


async def test_defaults(api: Running) -> None:
    created = await call(api.url, "CreateCloudRecording", create_body())
    params = api.tasks.tasks[created["TaskId"]].params
    assert (params.room_id_type, params.record_mode, params.stream_type, params.media_id, params.av_merge) == (1, 1, 0, 0, 0)
    assert (params.fill_type, params.max_idle_time, params.max_streams, params.segment_seconds) == (0, 30, 25, 10)
    assert api.tasks.expire_hours == 72
    assert api.tasks.tasks[created["TaskId"]].callbacks is False


async def test_a_mix_is_ordered_with_its_parameters(api: Running) -> None:
    layout = {"MixLayoutMode": 1, "BackGroundColor": "#102030"}
    fields = MIXED | {"MixLayoutParams": layout, "MixTranscodeParams": {"VideoParams": VIDEO}}
    created = await call(api.url, "CreateCloudRecording", create_body(**fields))
    params = api.tasks.tasks[created["TaskId"]].params
    assert params.record_mode == 2
    assert params.layout.items() >= layout.items()
    assert params.transcode["VideoParams"] == VIDEO
    # They mean nothing where nothing is mixed.
    created = await call(api.url, "CreateCloudRecording", create_body(**(fields | {"RecordParams__RecordMode": 1})))
    assert api.tasks.tasks[created["TaskId"]].params.layout == {}


async def test_user_sig(api: Running) -> None:
    for sig in (
        usersig.make(APP, "someone_else", USER_SIG_KEY, 1700000000),
        usersig.make(APP + 1, "recorder_1", USER_SIG_KEY, 2**40),
        usersig.make(APP, "recorder_1", "another key", 2**40),
        usersig.make(APP, "recorder_1", USER_SIG_KEY, 1700000000, 60),
    ):
        answer = await call(api.url, "CreateCloudRecording", create_body(UserSig=sig))
        assert code(answer) == "InvalidParameter.UserSig"
        assert sig not in str(answer)


@pytest.mark.parametrize(
    ("action", "body", "expected"),
    [
        ("DescribeCloudRecording", {}, "MissingParameter.SdkAppId"),
        ("DescribeCloudRecording", {"SdkAppId": APP}, "MissingParameter.TaskId"),
        ("DescribeCloudRecording", {"SdkAppId": APP, "TaskId": 5}, "InvalidParameter.TaskId"),
        ("DescribeCloudRecording", {"SdkAppId": APP, "TaskId": "app/1"}, "ResourceNotFound"),
        ("DescribeCloudRecording", {"SdkAppId": APP, "TaskId": "t" * 300}, "InvalidParameter.TaskId"),
        ("DeleteCloudRecording", {"TaskId": "t"}, "MissingParameter.SdkAppId"),
        ("DeleteCloudRecording", {"SdkAppId": "a", "TaskId": "t"}, "InvalidParameter.SdkAppId"),
        ("ModifyCloudRecording", {"SdkAppId": APP, "TaskId": "t", "MixLayoutParams": {"MixLayoutMode": 9}}, RANGE),
        ("ModifyCloudRecording", {"SdkAppId": APP, "TaskId": "t", "SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["u"] * 33}}, RANGE),
        (
            "ModifyCloudRecording",
            {"SdkAppId": APP, "TaskId": "t", "SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["u"], "UnSubscribeAudioUserIds": ["v"]}},
            "InvalidParameter",
        ),
    ],
)
async def test_the_other_actions(api: Running, action: str, body: dict[str, Any], expected: str) -> None:
    assert code(await call(api.url, action, body)) == expected


async def test_modify_without_lists_means_everybody(api: Running) -> None:
    created = await call(api.url, "CreateCloudRecording", create_body())
    ids = {"SdkAppId": APP, "TaskId": created["TaskId"]}
    layout = {"MixLayoutMode": 3, "New": {"x": 1}}
    await call(
        api.url, "ModifyCloudRecording", {**ids, "SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["a"]}, "MixLayoutParams": layout}
    )
    await call(api.url, "ModifyCloudRecording", ids)
    (first, kept), (second, none) = api.tasks.modified
    assert (first.audio_allow, second.audio_allow, none) == (["a"], [], {})
    assert "New" not in kept
