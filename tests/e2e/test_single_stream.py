"""Three users and a late one, a recording through the official SDK to the local store: what is told, written and called back."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rokuga.publish import Publisher, Source
from rokuga.publish.clip import AUDIO_CLOCK, OPUS_SAMPLES, VIDEO_CLOCK, Unit
from tests.kit.media_checks import Seen, not_in_order, playlist, playlists, slices_of, sync, watch, watch_apart
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver, Request
from tests.kit.running import SDK_APP_ID, Running, until

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

ROOM = "room?1"
BOT = "recorder_1"
GOP = 1
"""Seconds."""
PICTURE_SECONDS: dict[Source, float] = {"video": 1 / 15, "aux": 1 / 5}


def name_of(user: str, media: str, kind: str) -> str:
    """The playlist's name by TRTC's rule, written out here once more."""
    room, who = (base64.b64encode(text.encode()).decode().replace("/", "-").replace("=", ".") for text in (ROOM, user))
    return f"{SDK_APP_ID}_{room}__UserId_s_{who}__UserId_e_{media}_{kind}.m3u8"


EXPECTED = {
    name_of("alice", "main", "audio"): ("alice", "audio"),
    name_of("alice", "main", "video"): ("alice", "video"),
    name_of("bob", "main", "audio"): ("bob", "audio"),
    name_of("carol", "main", "audio"): ("carol", "audio"),
    name_of("carol", "main", "video"): ("carol", "video"),
    name_of("carol", "aux", "video"): ("carol", "video"),
}
LATE = {name_of("dave", "main", kind): ("dave", kind) for kind in ("audio", "video")}


@dataclass
class Call:
    """What one call and its recording left behind."""

    system: Running
    task_id: str
    folder: Path
    users: dict[str, Publisher]
    at_first: dict[str, Any]
    at_15: dict[str, Any]
    played_at_15: dict[str, tuple[str, Seen]]
    created_ms: int
    deleted_ms: int
    events: list[Request]
    after: str
    seen: dict[str, Seen] = field(default_factory=dict)

    def watched(self, name: str) -> Seen:
        if name not in self.seen:
            self.seen[name] = watch(self.folder / name)
        return self.seen[name]

    def begin(self, name: str, user: str) -> float:
        """When that file begins by its playlist, in seconds of this user's clip."""
        tag = int(playlist(self.folder / name).tag("EXT-X-TRTC-START-REC-TIME"))
        return tag / 1000 - time.time() + asyncio.get_running_loop().time() - self.users[user].zero


async def play(urls: dict[str, str]) -> dict[str, tuple[str, Seen]]:
    """Content type and first pictures or sounds of what is behind each URL."""
    types = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for url in urls.values():
            answer = await client.get(url)
            answer.raise_for_status()
            types.append(answer.headers["content-type"])
    return dict(zip(urls, zip(types, await watch_apart(*urls.values(), packets=60), strict=True), strict=True))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def call(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Call]:
    folder = tmp_path_factory.mktemp("system")
    prepare("alice", "bob", "carol", "dave", screens=["carol"], gop=GOP)
    async with Receiver() as receiver, Running(folder, callback_url=receiver.url) as system, AsyncExitStack() as room:
        users = {
            "alice": await room.enter_async_context(person(system.janus, ROOM, "alice", gop=GOP)),
            "bob": await room.enter_async_context(person(system.janus, ROOM, "bob", "audio", gop=GOP)),
            "carol": await room.enter_async_context(person(system.janus, ROOM, "carol", "audio", "video", "aux", gop=GOP)),
        }
        created = time.time()
        task_id = await system.create(ROOM, bot=BOT)
        at_first = await system.describe(task_id)
        await asyncio.sleep(2)
        users["dave"] = await room.enter_async_context(person(system.janus, ROOM, "dave", gop=GOP))
        await asyncio.sleep(15 - (time.time() - created))
        at_15 = await system.describe(task_id)
        names = [file["FileName"] for file in at_15["StorageFileList"]]
        played = await play({name: system.url(task_id, name) for name in names})
        await users["dave"].leave()
        await asyncio.sleep(max(0.0, 22 - (time.time() - created)))
        await users["alice"].unpublish()
        await asyncio.sleep(max(0.0, 26 - (time.time() - created)))
        deleted = time.time()
        await system.delete(task_id)
        await receiver.wait_for(305, seconds=60)
        events = receiver.events(task_id)

        async def gone() -> str:
            try:
                return "" if (await system.describe(task_id))["Status"] == "Exited" else "still recording"
            except TencentCloudSDKException as error:
                return str(error.get_code())

        after = await until(gone)
        begin, end = (int(moment * 1000) for moment in (created, deleted))
        yield Call(system, task_id, system.store(task_id), users, at_first, at_15, played, begin, end, events, after)


async def test_describe_lists_every_playlist_15_seconds_after_create(call: Call) -> None:
    assert call.at_first["Status"] in ("Idle", "InProgress")
    assert call.at_15["Status"] == "InProgress"
    listed = {file["FileName"]: (file["UserId"], file["TrackType"]) for file in call.at_15["StorageFileList"]}
    assert EXPECTED.items() <= listed.items() <= (EXPECTED | LATE).items()
    assert call.after == "ResourceNotFound"


async def test_each_playlist_plays_from_its_url_while_the_call_goes_on(call: Call) -> None:
    assert call.played_at_15
    for name, (content_type, seen) in call.played_at_15.items():
        assert content_type == "application/vnd.apple.mpegurl"
        assert seen.problems == [], name
        line = seen.video or seen.audio
        assert line is not None
        assert line.frames > 25, name


async def test_begin_times_agree_in_describe_playlist_and_event(call: Call) -> None:
    sliced = {event.payload["FileName"]: event.payload["BeginTimeStamp"] for event in call.events if event.type == 307}
    for file in call.at_15["StorageFileList"]:
        name, begin = file["FileName"], file["BeginTimeStamp"]
        assert int(playlist(call.folder / name).tag("EXT-X-TRTC-START-REC-TIME")) == begin == sliced[name]
        assert call.created_ms - 1000 <= begin


@pytest.mark.parametrize("name", sorted(EXPECTED | LATE))
async def test_the_begin_time_is_when_the_first_of_the_file_was_published(call: Call, name: str) -> None:
    """However long a busy machine took to get there. Pictures by the units themselves, sound by its beeps, one each second."""
    seen, user = call.watched(name), (EXPECTED | LATE)[name][0]
    sent, begin = call.users[user].sent, call.begin(name, user)
    if seen.video:
        late = begin - sent_at(sent["aux" if "_aux_" in name else "video"], seen.video.slices[0])
    else:
        assert seen.audio is not None
        assert sent["audio"][0].pts / AUDIO_CLOCK - 0.1 <= begin <= sent["audio"][-1].pts / AUDIO_CLOCK
        late = (begin + seen.audio.marks[-1] - seen.audio.begin + 0.1) % 1 - 0.1
    assert -0.1 <= late <= 0.5


def sent_at(units: list[Unit], first: bytes) -> float:
    """When the unit with this slice was sent: seconds of the publisher's clock."""
    return next(unit.pts / VIDEO_CLOCK for unit in units if first in slices_of([unit]))


async def test_all_files_decode_and_nothing_else_is_there(call: Call) -> None:
    assert [path.name for path in playlists(call.folder)] == sorted(EXPECTED | LATE)
    listed: set[str] = set()
    for path in playlists(call.folder):
        index = playlist(path)
        assert index.closed
        seen = call.watched(path.name)
        assert seen.problems == [], path.name
        line = seen.video or seen.audio
        assert line is not None
        assert abs(line.seconds - index.seconds) < 0.1, path.name
        for entry in index.entries:
            begin, size = entry.tags["EXT-X-TRTC-FILE-ATTR"].split(",")
            assert (call.folder / entry.name).stat().st_size == int(size)
            stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(int(begin) // 1000)) + f"{int(begin) % 1000:03d}"
            assert entry.name == f"{path.stem}_{stamp}.ts"
            listed.add(entry.name)
        target = int(index.tag("EXT-X-TARGETDURATION"))
        assert all(round(entry.seconds) <= target for entry in index.entries)
    assert {path.name for path in call.folder.iterdir()} == listed | set(EXPECTED) | set(LATE)


async def test_extinf_is_true_to_a_millisecond(call: Call) -> None:
    for path in playlists(call.folder):
        seen = call.watched(path.name)
        line = seen.video or seen.audio
        assert line is not None
        at = line.begin
        for entry, following in pairwise(playlist(path).entries):
            if "EXT-X-DISCONTINUITY" in following.tags:
                break
            at += entry.seconds
            begins = watch(path.parent / following.name)
            first = begins.video or begins.audio
            assert first is not None
            assert abs(first.begin - at) < 0.0015, (entry.name, first.begin, at)


@pytest.mark.parametrize(
    ("user", "source", "media"),
    [("alice", "video", "main"), ("carol", "video", "main"), ("carol", "aux", "aux"), ("dave", "video", "main")],
)
async def test_every_picture_is_there_as_it_was_published(call: Call, user: str, source: Source, media: str) -> None:
    seen = call.watched(name_of(user, media, "video"))
    sent = call.users[user].sent[source]
    assert seen.video is not None
    assert not_in_order(slices_of(sent), seen.video.slices) == ""
    published = seen.video.frames * PICTURE_SECONDS[source]
    assert abs(seen.video.seconds - published) < 0.1
    if user in ("alice", "dave"):
        # They had stopped before the recording did: it goes to their very last picture.
        assert slices_of(sent)[-1] == seen.video.slices[-1]


@pytest.mark.parametrize("user", ["alice", "bob", "carol", "dave"])
async def test_the_sound_is_whole(call: Call, user: str) -> None:
    seen = call.watched(name_of(user, "main", "audio"))
    assert seen.audio is not None
    # A beep that had begun before the recording did is none.
    beeps = [time for time in seen.audio.marks if time > seen.audio.begin + 0.1]
    assert len(beeps) > 10
    assert [after - before for before, after in pairwise(beeps)] == pytest.approx([1.0] * (len(beeps) - 1), abs=0.010)
    if user in ("alice", "dave"):
        # They had stopped before the recording did: it goes to the very last of their sound.
        last = call.users[user].sent["audio"][-1].pts + OPUS_SAMPLES
        assert abs(call.begin(name_of(user, "main", "audio"), user) + seen.audio.seconds - last / AUDIO_CLOCK) < 0.1


@pytest.mark.parametrize("user", ["alice", "carol", "dave"])
async def test_sound_and_picture_are_in_step(call: Call, user: str) -> None:
    video, audio = call.watched(name_of(user, "main", "video")).video, call.watched(name_of(user, "main", "audio")).audio
    assert video is not None
    assert audio is not None
    mean, deviation, pairs = sync(video.marks, audio.marks)
    assert pairs > 8
    assert abs(mean) < 0.040
    assert deviation < 0.010


async def test_users_are_on_one_timeline(call: Call) -> None:
    """All files of a task share one epoch: where their times say so, two users' beeps are as far apart as they were in the room."""
    beeps = {}
    for user in ("alice", "carol"):
        audio = call.watched(name_of(user, "main", "audio")).audio
        assert audio is not None
        beeps[user] = audio.marks[3] % 1
    started = {user: call.users[user].zero % 1 for user in ("alice", "carol")}
    apart = (beeps["alice"] - beeps["carol"]) - (started["alice"] - started["carol"])
    assert abs((apart + 0.5) % 1 - 0.5) < 0.05


async def test_callbacks_come_in_order_signed_and_complete(call: Call) -> None:
    types = [event.type for event in call.events]
    names = sorted(EXPECTED | LATE)
    assert types[0] == 301
    assert types.count(303) == 1
    assert types[-2:] == [302, 305]
    assert sorted(types) == sorted([301, 302, 303, 305] + [304] * len(names) + [307] * len(names))
    assert sorted(event.payload["FileList"] for event in call.events if event.type == 304) == names
    assert sorted(event.payload["FileName"] for event in call.events if event.type == 307) == names
    for name in names:
        cut = next(number for number, event in enumerate(call.events) if event.type == 307 and event.payload["FileName"] == name)
        stored = next(number for number, event in enumerate(call.events) if event.type == 304 and event.payload["FileList"] == name)
        assert types.index(303) < cut < stored


async def test_callback_bodies_have_the_fields_and_types_that_trtc_sends(call: Call) -> None:
    payloads = {301: {"Status": 0}, 302: {"LeaveCode": 0}, 303: {"Status": 0}, 305: {"Status": 0}}
    for event in call.events:
        told = event.told
        assert list(told) == ["EventGroupId", "EventType", "CallbackTs", "EventInfo"]
        assert told["EventGroupId"] == 3
        assert list(event.info) == ["RoomId", "EventTs", "EventMsTs", "UserId", "TaskId", "Payload"]
        assert (event.info["RoomId"], event.info["UserId"], event.info["TaskId"]) == (ROOM, BOT, call.task_id)
        seconds = event.info["EventMsTs"] // 1000
        assert event.info["EventTs"] == (str(seconds) if event.type in (301, 302, 307) else seconds)
        assert event.info["EventMsTs"] <= told["CallbackTs"] <= event.at * 1000 + 1
        assert event.signed(call.system.callback_key)
        assert event.headers["sdkappid"] == str(SDK_APP_ID)
        assert event.headers["content-type"].startswith("application/json")
        assert json.loads(event.body)["EventInfo"]["Payload"] == payloads.get(event.type, event.payload)
    stop = next(event for event in call.events if event.type == 302)
    assert abs(stop.info["EventMsTs"] - call.deleted_ms) < 2000
    kinds = {event.payload["FileName"]: (event.payload["UserId"], event.payload["TrackType"]) for event in call.events if event.type == 307}
    assert kinds == EXPECTED | LATE
