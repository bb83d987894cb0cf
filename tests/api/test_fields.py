"""Each field's bounds, through signature and HTTP, as a table: what is sent, and the code that answers it."""

from typing import Any

import pytest

from rokuga.api import usersig

from .calls import APP, USER_SIG_KEY, call, code, create_body
from .conftest import Running

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


NO_APP: list[Any] = [0, -1, 2**32, 10**400, "x", "1", True, 1.0, [], {}, APP + 5]

# (what differs from a right Create, the code; "" is success)
CREATE: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    *[
        ({field: None}, f"MissingParameter.{field}")
        for field in ("SdkAppId", "RoomId", "UserId", "UserSig", "RecordParams", "StorageParams")
    ],
    *[({f"{CLOUD}__{field}": None}, f"MissingParameter.{field}") for field in ("Vendor", "Region", "Bucket", "AccessKey", "SecretKey")],
    *[({f"{CLOUD}__{field}": ""}, f"MissingParameter.{field}") for field in ("Region", "Bucket", "AccessKey", "SecretKey")],
    ({"RecordParams__RecordMode": None}, "MissingParameter.RecordMode"),
    ({CLOUD: None}, "MissingParameter.CloudStorage"),
    *[({"SdkAppId": wrong}, "InvalidParameter.SdkAppId") for wrong in NO_APP],
    *[({"RoomId": right}, "") for right in ("1", "4294967294")],
    *[
        ({"RoomId": wrong}, "InvalidParameter.RoomId")
        for wrong in (3560, "0", "007", "-1", "4294967295", "1" * 20, "1\n", "٣", "room", "1" * 65)
    ],
    ({"RoomId": ""}, "MissingParameter.RoomId"),
    *[({"RoomIdType": 0, "RoomId": right}, "") for right in ("007", " !#$%&()+-:;<=.>?@[]^_{}|~,", "r" * 64)],
    *[({"RoomIdType": 0, "RoomId": wrong}, "InvalidParameter.RoomId") for wrong in ("a/b", "é", "r" * 65, "a\nb", '"', "\0", "a*")],
    *[({"RoomIdType": wrong}, RANGE) for wrong in (-1, 2)],
    *[({"UserId": wrong}, "InvalidParameter.UserId") for wrong in ("r" * 33, "a b", "é", "a.b", 7)],
    *[({"UserSig": wrong}, "InvalidParameter.UserSig") for wrong in ("x", "x" * 20000, 5)],
    *[({"RecordParams__RecordMode": wrong}, RANGE) for wrong in (0, 3)],
    ({"RecordParams": []}, "InvalidParameter"),
    *[({"RecordParams__MaxIdleTime": right}, "") for right in (5, 86400)],
    *[({"RecordParams__MaxIdleTime": wrong}, RANGE) for wrong in (4, 86401)],
    *[({"RecordParams__MaxIdleTime": wrong}, "InvalidParameter") for wrong in ("30", 30.5, False)],
    *[({"RecordParams__StreamType": wrong}, RANGE) for wrong in (-1, 3)],
    *[({"RecordParams__OutputFormat": wrong}, RANGE) for wrong in (-1, 5)],
    *[({"RecordParams__OutputFormat": later}, UNBUILT) for later in (1, 2, 3, 4)],
    ({"RecordParams__AvMerge": 2}, RANGE),
    *[({"RecordParams__MaxMediaFileDuration": wrong}, RANGE) for wrong in (0, 1441)],
    ({"RecordParams__MediaId": 3}, RANGE),
    ({"RecordParams__FillType": 2}, RANGE),
    ({"RecordParams__SubscribeAbility": 2}, RANGE),
    ({f"{LISTS}__SubscribeAudioUserIds": ["u"] * 32}, ""),
    ({f"{LISTS}__SubscribeAudioUserIds": ["u"] * 33}, RANGE),
    ({f"{LISTS}__UnSubscribeVideoUserIds": [1]}, "InvalidParameter"),
    ({f"{LISTS}__UnSubscribeVideoUserIds": [None]}, "InvalidParameter"),
    ({f"{LISTS}__UnSubscribeVideoUserIds": "u"}, "InvalidParameter"),
    ({LISTS: {"SubscribeAudioUserIds": ["a"], "UnSubscribeAudioUserIds": ["b"]}}, "InvalidParameter"),
    ({LISTS: {"SubscribeVideoUserIds": ["a"], "UnSubscribeVideoUserIds": ["b"]}}, "InvalidParameter"),
    ({LISTS: {"SubscribeAudioUserIds": ["a"], "UnSubscribeAudioUserIds": [], "UnSubscribeVideoUserIds": ["b"]}}, ""),
    *[({f"{CLOUD}__Vendor": wrong}, RANGE) for wrong in (-1, 2)],
    *[({f"{CLOUD}__Region": wrong}, "InvalidParameter") for wrong in ("a.b", "a/b", "a#", "-a", "a b")],
    *[({f"{CLOUD}__Bucket": wrong}, "InvalidParameter") for wrong in ("../x", "..", "a..b", ".a", "a/b", "a@b", "a?b", "a:1", "b\n")],
    ({f"{CLOUD}__SecretKey": "a\r\nb"}, "InvalidParameter"),
    *[({f"{CLOUD}__FileNamePrefix": wrong}, "InvalidParameter") for wrong in (["a/b"], [".."], ["é"], "p")],
    ({f"{CLOUD}__FileNamePrefix": ["p" * 200] * 3}, RANGE),
    ({f"{CLOUD}__FileNamePrefix": ["a", "B-_9"]}, ""),
    *[({"ResourceExpiredHour": right}, "") for right in (6, 720)],
    *[({"ResourceExpiredHour": wrong}, RANGE) for wrong in (5, 721)],
    ({"StorageParams__CloudVod": {}}, "InvalidParameter"),
    ({"StorageParams": VOD}, UNBUILT),
    ({"StorageParams": {"CloudVod": {"TencentVod": {"MediaType": 2}}}}, "InvalidParameter"),
    ({"StorageParams": {"CloudVod": {"TencentVod": {"MediaType": 2}}}, "RecordParams__StreamType": 1}, UNBUILT),
    ({"StorageParams": {"CloudVod": {"TencentVod": {"MediaType": 5}}}}, RANGE),
    ({"StorageParams": {"CloudVod": {"TencentVod": {"UserDefineRecordId": "a.b"}}}}, "InvalidParameter"),
    ({"StorageParams": {"CloudVod": {"TencentVod": {"UserDefineRecordId": "r" * 65}}}}, RANGE),
    (MIXED, ""),
    *[(MIXED | {"MixTranscodeParams": {"VideoParams": VIDEO | {field: None}}}, "MissingParameter") for field in VIDEO],
    *[(MIXED | {"MixTranscodeParams": {"AudioParams": AUDIO | {field: None}}}, "MissingParameter") for field in AUDIO],
    *[
        (MIXED | {"MixTranscodeParams": {"VideoParams": VIDEO | wrong}}, RANGE)
        for wrong in (
            {"Width": 1921},
            {"Height": 0},
            {"Fps": 61},
            {"BitRate": 63999},
            {"BitRate": 8192001},
            {"Gop": 0},
            {"Width": 1920, "Height": 1081},
        )
    ],
    *[
        (MIXED | {"MixTranscodeParams": {"AudioParams": AUDIO | wrong}}, RANGE)
        for wrong in ({"SampleRate": 48000}, {"Channel": 3}, {"BitRate": 31999})
    ],
    (MIXED | {"MixLayoutParams": {}}, "MissingParameter"),
    (MIXED | {"MixLayoutParams": {"MixLayoutMode": 5}}, RANGE),
    (mixed({"MixLayoutList": [CELL] * 25}), ""),
    (mixed({"MixLayoutList": [CELL] * 26}), RANGE),
    (mixed({"MixLayoutList": [CELL | {"Left": 1}]}), RANGE),
    (mixed({"MixLayoutList": [CELL | {"Top": 1}]}), RANGE),
    (mixed({"MixLayoutList": [CELL | {"Alpha": 256}]}), RANGE),
    (mixed({"MixLayoutList": [CELL | {"Top": None}]}), "MissingParameter"),
    (mixed({"MixLayoutList": [CELL | {"UserId": 5}]}), "InvalidParameter"),
    *[(mixed({"BackGroundColor": right}), "") for right in ("#FF0000", "0xff0000", "")],
    *[(mixed({"BackGroundColor": wrong}), "InvalidParameter") for wrong in ("red", "#FF", "#GG0000")],
    *[(mixed({"BackgroundImageUrl": right}), "") for right in ("https://x/i.jpg", "https://x/i.PNG?token=a.b")],
    *[
        (mixed({"BackgroundImageUrl": wrong}), "InvalidParameter.BackgroundImageUrl")
        for wrong in ("x.jpg", "https://x/i.gif", "https://x/é.jpg")
    ],
    (mixed({"DefaultSubBackgroundImage": "file:///etc/passwd.png"}), "InvalidParameter"),
    (mixed({"PureAudioDisableLayout": 1}), "InvalidParameter"),
    (mixed({"WaterMarkList": [{"WaterMarkImage": MARK}]}), ""),
    (mixed({"WaterMarkList": [{"WaterMarkImage": MARK | {"WaterMarkUrl": ""}}]}), "MissingParameter"),
    *[(mixed({"WaterMarkList": [{"WaterMarkType": kind}]}), "MissingParameter") for kind in (0, 1, 2)],
    (mixed({"WaterMarkList": [{"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 7}}]}), RANGE),
    ({"PrivateMapKey": "anything: this app does not ask for one"}, ""),
    ({"FromTheFuture": {"a": [1]}, "RecordParams__AlsoNew": "x"}, ""),
    ({"MixLayoutParams": {"MixLayoutMode": 3}}, ""),
]


async def test_create(api: Running) -> None:
    for changes, expected in CREATE:
        api.tasks.tasks.clear()
        answer = await call(api.url, "CreateCloudRecording", create_body(**changes))
        assert code(answer) == expected, (changes, answer)
        assert len(api.tasks.tasks) == (not expected)


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
