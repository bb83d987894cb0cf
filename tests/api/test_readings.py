"""What `docs/readings.md` says of TRTC's contradictions, by its numbers: every row that shows on the wire."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import structlog

from rokuga.api import usersig
from rokuga.api.server import build_app, listening
from rokuga.capture.main import IDLE
from rokuga.capture.presence import Presence
from rokuga.config import Config
from rokuga.control.model import FileInfo, Params, Report
from rokuga.control.state import TaskState
from rokuga.deliver import events
from rokuga.deliver.queue import Queue, Retry
from rokuga.folders import DataFolder
from rokuga.hls import naming, playlist
from rokuga.render.mix import layout as mix
from rokuga.room.protocol import MediaTrack, Published, Stream, UserJoined, UserLeft
from rokuga.room.select import select
from rokuga.storage.spool import Segment

from .calls import APP, OTHER_APP, OTHER_ID, OTHER_KEY, SECRET_ID, SECRET_KEY, TASK, USER_SIG_KEY, create_body
from .conftest import Running
from .memory import MemoryBucket, MemoryTasks
from .wire import Key, Wire, tc3

CREATE, DESCRIBE, MODIFY, DELETE = (f"{name}CloudRecording" for name in ("Create", "Describe", "Modify", "Delete"))
RANGE = "InvalidParameter.OutOfRange"
MIXED: dict[str, Any] = {"RecordParams__RecordMode": 2}
SENDER = events.Sender("task-1", APP, "20015", "recorder_1")


def test_each_row_on_the_wire_has_its_test() -> None:
    rows = re.findall(
        r"^\| (\d+) \|.*\| ([^|]*?) \|$|^\| (\d+) \|.*\| \|$", (Path(__file__).parents[2] / "docs/readings.md").read_text("utf-8"), re.M
    )
    assert [int(number or other) for number, _, other in rows] == list(range(1, 39))
    shown = {int(number) for number, wire, _ in rows if wire}
    assert shown == {int(found[1]) for name in globals() if (found := re.match(r"test_reading_(\d+)_", name))}


async def ask(wire: Wire, action: str, body: dict[str, Any], key: Key | None = None) -> dict[str, Any]:
    return await wire.send(tc3(wire.endpoint, action, body, key=key or Key()))


async def code(wire: Wire, action: str, body: dict[str, Any], key: Key | None = None) -> str:
    return await wire.code(tc3(wire.endpoint, action, body, key=key or Key()))


async def created(wire: Wire, **changes: Any) -> dict[str, Any]:
    """A new task, as the other actions name it."""
    return {"SdkAppId": APP, "TaskId": (await ask(wire, CREATE, create_body(**changes)))["TaskId"]}


def told(event: events.Event, sender: events.Sender = SENDER) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(events.body(event, sender, 2000))["EventInfo"]
    return info


def every_event() -> list[events.Event]:
    return [
        events.recorder_start(1500, 0),
        events.recorder_stop(1500, 0),
        events.upload_start(1500, 0),
        events.file_info(1500, 0, "x.m3u8"),
        events.upload_stop(1500, 0),
        events.failover(1500, 1),
        events.file_slice(1500, 0, "x.m3u8", "alice", "audio", 1),
        events.upload_error(1500, 0, "k", "c", "m"),
        events.image_error(1500, 0, "http://x/i.png"),
    ]


def test_reading_1_event_ts() -> None:
    for event in every_event():
        info = told(event)
        assert info["EventTs"] == ("1" if event.type in (301, 302, 307) else 1)
        assert info["EventMsTs"] == 1500


def test_reading_2_file_list_of_304_is_a_string() -> None:
    assert told(events.file_info(0, 0, "x.m3u8"))["Payload"] == {"FileList": "x.m3u8"}


def test_reading_6_room_id_is_always_a_string() -> None:
    assert {type(told(event)["RoomId"]) for event in every_event()} == {str}


def test_reading_7_status_of_305() -> None:
    assert told(events.upload_stop(0, 1))["Payload"] == {"Status": 1}


def test_reading_8_upload_errors_are_told() -> None:
    event = events.upload_error(0, 0, "k", "InvalidParameter", "AccessKey invalid")
    assert (event.type, told(event)["Payload"]) == (308, {"Code": "InvalidParameter", "Message": "AccessKey invalid"})


@pytest.mark.parametrize(("reported", "customer"), [(3, 1), (4, 2)])
def test_reading_9_leave_codes_1_and_2_are_the_customer_s(reported: int, customer: int) -> None:
    """A kicked bot reports 3, that of a destroyed room 4, whoever did it. The real causes: tests/e2e/test_leave_codes.py."""
    for ours, code in ((True, customer), (False, reported)):
        task = TaskState(started=True)
        if ours:
            task.foretell(customer, 1000)
        task.report(Report(0, "1", "stopped", 1500, {"leave_code": reported}), 1500)
        [stop] = task.outbox
        assert (stop.type, told(stop)["Payload"]) == (302, {"LeaveCode": code})


def test_reading_10_only_a_room_without_anchors_is_idle() -> None:
    """The real thing, with its LeaveCode 99: tests/e2e/test_room.py."""
    room = Presence(0)
    room.apply(UserJoined("silent", 0), 5)
    room.apply(Published(()), 6)
    assert room.idle_since_ns is None
    room.apply(UserLeft("silent"), 7)
    assert room.idle_since_ns == 7
    assert told(events.recorder_stop(0, IDLE))["Payload"] == {"LeaveCode": 99}


async def test_reading_11_both_forms_of_watermarks(api: Running, wire: Wire) -> None:
    box = {"Top": 1, "Left": 2, "Width": 3, "Height": 4}
    guide, sdk = {"url": "https://h/m.png", **box}, {"WaterMarkType": 0, "WaterMarkImage": {"WaterMarkUrl": "https://h/m.png", **box}}
    grid = {"MixLayoutMode": 3}
    for changes in (
        {"MixWatermark": [guide]},
        {"MixLayoutParams": grid | {"MixWatermark": [guide]}},
        {"MixLayoutParams": grid | {"WaterMarkList": [sdk]}},
    ):
        task_id = (await created(wire, **MIXED, **changes))["TaskId"]
        [mark] = api.tasks.tasks.pop(task_id).params.layout["WaterMarkList"]
        assert mark.items() >= sdk.items()
    both = create_body(**MIXED, MixLayoutParams=grid | {"WaterMarkList": [sdk], "MixWatermark": [guide]})
    assert await code(wire, CREATE, both) == "InvalidParameter"


async def test_reading_12_the_layout_is_a_grid_unless_it_says_otherwise(api: Running, wire: Wire) -> None:
    task_id = (await created(wire, **MIXED))["TaskId"]
    assert api.tasks.tasks[task_id].params.layout == {}
    assert mix.Layout().mode == mix.GRID
    assert await code(wire, CREATE, create_body(**MIXED, MixLayoutParams={"RenderMode": 1})) == "MissingParameter"


def cells(mode: int, count: int, big: str = "") -> list[mix.Cell]:
    shown = [mix.Shown(f"user{number}", "main") for number in range(count)]
    return mix.arrange(3600, 2400, shown, mix.Layout(mode=mode, big=(big, "main") if big else None))


@pytest.mark.parametrize("mode", [mix.FLOATING, mix.SCREEN, mix.GRID])
def test_reading_13_at_most_25_pictures_and_17_is_few(mode: int) -> None:
    big = "user0" if mode == mix.SCREEN else ""
    assert len(cells(mode, 26, big)) == 25
    sizes = {count: cells(mode, count, big)[-1].rect for count in (10, 16, 17, 18)}
    if mode != mix.GRID:
        assert sizes[17].height == sizes[16].height == sizes[10].height
    if mode == mix.FLOATING:
        assert sizes[18].height < sizes[17].height


def test_reading_14_the_big_picture_counts() -> None:
    # Five in all: the big one, and four of a fifth of the width.
    assert [cell.rect.width for cell in cells(mix.SCREEN, 5, "user0")] == [2880, 720, 720, 720, 720]
    assert cells(mix.SCREEN, 6, "user0")[-1].rect.width < 720


def test_reading_15_rows_fill_from_the_upper_left() -> None:
    found = cells(mix.GRID, 3)
    assert [(cell.shown.user_id, cell.rect.x, cell.rect.y) for cell in found if cell.shown] == [
        ("user0", 0, 0),
        ("user1", 1800, 0),
        ("user2", 0, 1200),
    ]


SEGMENT = Segment(
    playlist="x.m3u8",
    index=0,
    name="x_20260120120022495.ts",
    size=1,
    sha256="",
    pts=900_000,
    duration=11.5,
    begin_ms=1768910422495,
    user_id="alice",
    media_id="main",
    track_type="video",
    width=640,
    height=480,
    meta={},
)


def test_reading_16_an_index_is_right_and_in_utc() -> None:
    lines = playlist.render([SEGMENT], ended=True).splitlines()
    assert "#EXT-X-TARGETDURATION:12" in lines
    assert "#EXTINF:11.500," in lines
    assert naming.utc_digits(SEGMENT.begin_ms) == "20260120120022495"


def test_reading_17_two_underscores() -> None:
    assert naming.single_stem(APP, "12345", 1, "1686119", "main", "video") == f"{APP}_12345__UserId_s_MTY4NjExOQ..__UserId_e_main_video"


def test_reading_18_audiovideo_and_audio_video() -> None:
    assert naming.single_stem(APP, "1", 1, "a", "main", "audio_video").endswith("_main_audiovideo")
    assert told(events.file_slice(0, 0, "x", "a", "audio_video", 1))["Payload"]["TrackType"] == "audio_video"


async def test_reading_19_a_mix_has_one_index_of_no_user(api: Running, wire: Wire) -> None:
    ids = await created(wire, **MIXED)
    api.tasks.files = [FileInfo(naming.playlist_name(naming.mixed_stem(APP, "3560", 1)), "", "audio_video", 1768910422495)]
    assert (await ask(wire, DESCRIBE, ids))["StorageFileList"] == [
        {"UserId": "", "FileName": f"{APP}_3560.m3u8", "TrackType": "audio_video", "BeginTimeStamp": 1768910422495}
    ]


def test_reading_20_ha_in_front_of_all_names_of_a_recorder() -> None:
    for stem in (naming.single_stem(APP, "1", 1, "a", "main", "video", 2), naming.mixed_stem(APP, "1", 1, 2)):
        assert naming.playlist_name(stem).startswith(f"ha2_{APP}_")
        assert naming.segment_name(stem, 0).startswith(f"ha2_{APP}_")


def test_reading_21_the_first_try_freezes_the_body() -> None:
    queue = Queue()
    queue.add(events.recorder_start(1000, 0))
    item = queue.due(2000)
    assert item is not None
    item.body, item.first_ms, item.tries = events.body(item.event, SENDER, 2000), 2000, 1
    queue.failed(item, 2000, Retry())
    again = queue.due(90_000)
    assert again is item
    assert json.loads(again.body)["CallbackTs"] == 2000


def test_reading_22_ten_seconds_after_a_failure() -> None:
    queue, at, tried = Queue(), 0, []
    queue.add(events.recorder_start(0, 0))
    while at < 60_000 and (item := queue.due(at)):
        tried.append(at // 1000)
        item.tries += 1
        # Each try takes a second to fail.
        queue.failed(item, at + 1000, Retry())
        at = item.due_ms
    assert tried == [0, 1, 12, 23, 34, 45, 56]


async def test_reading_23_modify_overwrites_everything(api: Running, wire: Wire) -> None:
    ids = await created(wire, **MIXED)
    await ask(wire, MODIFY, ids | {"SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["a"]}, "MixLayoutParams": {"MixLayoutMode": 1}})
    with structlog.testing.capture_logs() as logs:
        assert await code(wire, MODIFY, ids) == ""
    (lists, layout), (no_lists, no_layout) = api.tasks.modified
    assert (lists.audio_allow, layout["MixLayoutMode"]) == (["a"], 1)
    assert (no_lists.audio_allow, no_layout) == ([], {})
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert warning["fields"] == ["SubscribeStreamUserIds", "MixLayoutParams"]


async def test_reading_24_a_layout_means_nothing_to_single_streams(wire: Wire) -> None:
    assert await code(wire, MODIFY, await created(wire) | {"MixLayoutParams": {"MixLayoutMode": 3}}) == ""


@pytest.mark.parametrize("action", [DESCRIBE, MODIFY, DELETE])
async def test_reading_25_no_such_task(api: Running, wire: Wire, action: str) -> None:
    ids = await created(wire)
    foreign = Key(OTHER_ID, OTHER_KEY)
    for body, key in [
        (ids | {"TaskId": TASK}, None),
        (ids | {"SdkAppId": OTHER_APP}, None),
        (ids | {"SdkAppId": OTHER_APP}, foreign),
        (ids, foreign),
    ]:
        assert await code(wire, action, body, key) == "ResourceNotFound"
    del api.tasks.tasks[ids["TaskId"]]
    assert await code(wire, action, ids) == "ResourceNotFound"


async def test_reading_26_delete_twice(wire: Wire) -> None:
    ids = await created(wire)
    assert [await code(wire, DELETE, ids) for _ in range(2)] == ["", "ResourceNotFound"]


async def test_reading_27_two_storages(api: Running, wire: Wire) -> None:
    assert await code(wire, CREATE, create_body(StorageParams__CloudVod={"TencentVod": {}})) == "InvalidParameter"
    assert not api.tasks.tasks


async def test_reading_28_output_format_means_nothing_to_vod(wire: Wire) -> None:
    for output in (0, 3):
        body = create_body(StorageParams={"CloudVod": {"TencentVod": {"MediaType": 0}}}, RecordParams__OutputFormat=output)
        assert "CloudVod" in (await ask(wire, CREATE, body))["Error"]["Message"]


def test_reading_29_a_stream_is_a_user_and_media_id() -> None:
    audio, video = MediaTrack("0", "audio", "opus"), MediaTrack("1", "video", "h264")
    streams = [
        Stream(f"u{n}", media, f"u{n}", n, audio if media == "main" else None, video) for n in range(13) for media in ("main", "aux")
    ]
    chosen = select(streams, Params(sdk_app_id=APP, room_id="1", room_id_type=1, user_id="bot"))
    assert len(chosen) == 25
    assert all(stream.audio and stream.video for stream in chosen if stream.media_id == "main")


async def test_reading_30_twenty_a_second_of_each_action_and_secret_id(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rokuga.clock.monotonic_ns", lambda: 5)
    async with listening(config, build_app(config, DataFolder(tmp_path), MemoryTasks(), MemoryBucket().probe)) as url:
        wire = await Wire.open(url)
        body = {"SdkAppId": APP, "TaskId": TASK}
        for action, key in [
            (DESCRIBE, Key(SECRET_ID, SECRET_KEY)),
            (DELETE, Key(SECRET_ID, SECRET_KEY)),
            (DESCRIBE, Key(OTHER_ID, OTHER_KEY)),
        ]:
            codes = [await code(wire, action, body, key) for _ in range(22)]
            assert codes == ["ResourceNotFound"] * 20 + ["RequestLimitExceeded"] * 2
        await wire.close()


async def test_reading_31_no_file_before_its_first_segment(api: Running, wire: Wire) -> None:
    ids = await created(wire)
    assert (await ask(wire, DESCRIBE, ids))["StorageFileList"] == []
    api.tasks.files = [FileInfo("x.m3u8", "a", "audio", 1768910422495)]
    assert [file["BeginTimeStamp"] for file in (await ask(wire, DESCRIBE, ids))["StorageFileList"]] == [1768910422495]


@pytest.mark.parametrize("status", ["Idle", "InProgress", "Exited"])
async def test_reading_32_status(api: Running, wire: Wire, status: str) -> None:
    ids = await created(wire)
    api.tasks.status = status
    assert (await ask(wire, DESCRIBE, ids))["Status"] == status


async def test_reading_33_expire_time_is_a_span(wire: Wire) -> None:
    for seconds, expected in [(0, "FailedOperation.CRUnsupportMethod"), (86400, "FailedOperation.CRUnsupportMethod"), (-1, RANGE)]:
        body = create_body(StorageParams={"CloudVod": {"TencentVod": {"ExpireTime": seconds}}})
        assert await code(wire, CREATE, body) == expected


async def test_reading_34_an_object_has_all_its_fields(api: Running, wire: Wire) -> None:
    audio = {"AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64000}}
    for changes in (MIXED, MIXED | {"MixTranscodeParams": {}}, MIXED | {"MixTranscodeParams": audio}):
        task_id = (await created(wire, **changes))["TaskId"]
        assert api.tasks.tasks.pop(task_id).params.transcode.get("VideoParams") is None
    for part in ({"VideoParams": {"Width": 640}}, {"AudioParams": {"Channel": 1}}, {"VideoParams": {"New": 1}}):
        assert await code(wire, CREATE, create_body(**MIXED, MixTranscodeParams=part)) == "MissingParameter"


@pytest.mark.parametrize("room", ["007", "4294967295", "99999999999", "0", "a"])
async def test_reading_35_numeric_rooms(wire: Wire, room: str) -> None:
    assert await code(wire, CREATE, create_body(RoomId=room)) == "InvalidParameter.RoomId"
    assert await code(wire, CREATE, create_body(RoomId=room, RoomIdType=0)) == ""


async def test_reading_38_a_task_outlives_its_user_sig(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    from rokuga import clock

    now = clock.utc_ns()
    sig = usersig.make(APP, "recorder_1", USER_SIG_KEY, now // 10**9, 100)
    ids = await created(wire, UserSig=sig)
    monkeypatch.setattr("rokuga.clock.utc_ns", lambda: now + 200 * 10**9)
    assert await code(wire, DESCRIBE, ids) == ""
    assert await code(wire, CREATE, create_body(UserSig=sig)) == "InvalidParameter.UserSig"
