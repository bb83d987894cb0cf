"""Following a room: who is recorded in which order, who comes, goes and comes back, Modify, two tasks, an empty room."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from tests.kit.journals import opened, order
from tests.kit.media_checks import Playlist, not_in_order, playlist, playlists, slices_of, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.room_user import room_user
from tests.kit.running import SDK_APP_ID, Running, until

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SIX = ["zoe", "mike", "anna", "yan", "bob", "lea"]
MOST = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> AsyncIterator[Running]:
    prepare("alice", "bob", "carol", *SIX, screens=["alice"])
    app, recorder = {"max_streams_per_task": MOST}, {"segment_seconds": 2}
    async with Running(tmp_path_factory.mktemp("system"), callback_url=receiver.url, app=app, recorder=recorder) as running:
        yield running


def files(system: Running, task_id: str) -> dict[tuple[str, str, str], Path]:
    """The playlists by (UserId, MediaId, audio or video)."""
    found = {}
    for path in playlists(system.store(task_id)):
        index = playlist(path)
        kind = "audio" if index.tag("EXT-X-TRTC-STREAM-TYPE") == "0" else "video"
        found[index.tag("EXT-X-TRTC-USER-ID"), index.tag("EXT-X-TRTC-MEDIA-ID"), kind] = path
    return found


def users(system: Running, task_id: str) -> set[str]:
    return {user for user, _, _ in files(system, task_id)}


def breaks(index: Playlist) -> int:
    return sum("EXT-X-DISCONTINUITY" in entry.tags for entry in index.entries)


async def finish(system: Running, receiver: Receiver, task_id: str) -> None:
    await system.delete(task_id)
    await receiver.wait_for(305, task_id=task_id)


async def test_the_first_users_in_the_room_are_recorded_and_the_next_moves_up(system: Running, receiver: Receiver) -> None:
    """Six users in an order that is not the alphabet's; three streams may be recorded."""
    async with AsyncExitStack() as room:
        people = {name: await room.enter_async_context(person(system.janus, "six", name, "audio")) for name in SIX}
        task_id = await system.create("six")
        await until(lambda: len(users(system, task_id)) == MOST)
        assert users(system, task_id) == set(SIX[:MOST])
        assert order(system.data, task_id) == SIX
        await people["mike"].leave()
        await until(lambda: "yan" in users(system, task_id))
        await people["mike"].join()
        await people["mike"].publish("audio")
        await people["anna"].leave()
        await until(lambda: "bob" in users(system, task_id))
        await finish(system, receiver, task_id)
    assert users(system, task_id) == {"zoe", "mike", "anna", "yan", "bob"}
    assert order(system.data, task_id)[-1] == "mike"


async def test_modify_touches_only_the_streams_that_it_adds_or_removes(system: Running, receiver: Receiver) -> None:
    async with (
        person(system.janus, "modify", "alice") as alice,
        person(system.janus, "modify", "bob") as bob,
        person(system.janus, "modify", "carol", "audio"),
    ):
        task_id = await system.create("modify")
        await until(lambda: len(files(system, task_id)) == 5)
        lists = {"SubscribeAudioUserIds": ["alice", "carol"], "SubscribeVideoUserIds": ["ali.*$"]}
        await system.modify(task_id, SubscribeStreamUserIds=lists)
        count = len(bob.sent["video"])
        await until(lambda: len(bob.sent["video"]) > count + 60)
        await system.modify(task_id)
        count = len(bob.sent["video"])
        await until(lambda: len(bob.sent["video"]) > count + 75)
        await finish(system, receiver, task_id)
    found = files(system, task_id)
    assert len(found) == 5
    seen = {key: watch(path) for key, path in found.items()}
    assert {key: one.problems for key, one in seen.items() if one.problems} == {}
    untouched = seen["alice", "main", "video"].video
    assert untouched is not None
    assert not_in_order(slices_of(alice.sent["video"]), untouched.slices) == ""
    for key in (("alice", "main", "video"), ("alice", "main", "audio"), ("carol", "main", "audio")):
        assert breaks(playlist(found[key])) == 0
        assert opened(system.data, task_id).count(key) == 1
    for name in ("alice", "carol"):
        sound = seen[name, "main", "audio"].audio
        assert sound is not None
        beeps = [time for time in sound.marks if time > sound.begin + 0.1]
        assert [after - before for before, after in pairwise(beeps)] == pytest.approx([1.0] * (len(beeps) - 1), abs=0.010)
    for kind in ("audio", "video"):
        assert breaks(playlist(found["bob", "main", kind])) == 1
    gone = seen["bob", "main", "video"].video
    assert gone is not None
    hole = max(after - before for before, after in pairwise(gone.times))
    assert hole > 3


async def test_a_user_who_comes_back_continues_the_same_playlists(system: Running, receiver: Receiver) -> None:
    async with person(system.janus, "back", "alice") as alice:
        task_id = await system.create("back")
        await until(lambda: len(files(system, task_id)) == 2)
        await alice.leave()
        await asyncio.sleep(4)  # the hole
        await alice.join()
        await alice.publish("audio", "video")
        count = len(alice.sent["video"])
        await until(lambda: len(alice.sent["video"]) > count + 90)
        await alice.publish("aux")
        await until(lambda: ("alice", "aux", "video") in files(system, task_id))
        await alice.stop("aux")
        await alice.unpublish()
        await asyncio.sleep(1)
        await finish(system, receiver, task_id)
    found = files(system, task_id)
    assert set(found) == {("alice", "main", "audio"), ("alice", "main", "video"), ("alice", "aux", "video")}
    for key, path in found.items():
        assert breaks(playlist(path)) == (0 if key[1] == "aux" else 1), key
        one = watch(path)
        assert one.problems == [], key
        if one.video and key[1] == "main":
            times = one.video.times
            (hole,) = [(before, after) for before, after in pairwise(times) if after - before > 1]
            assert 4 <= hole[1] - hole[0] <= 9
            # The clip's time went on while alice was away: flashes stay on the same grid, to a few ms of estimated clocks.
            before = [mark for mark in one.video.marks if mark <= hole[0]][-1]
            after = next(mark for mark in one.video.marks if mark >= hole[1])
            assert abs((after - before) - round(after - before)) < 0.04


async def test_a_camera_that_pauses_leaves_a_hole_of_the_same_length(system: Running, receiver: Receiver) -> None:
    async with person(system.janus, "pause", "alice") as alice:
        task_id = await system.create("pause")
        await until(lambda: len(files(system, task_id)) == 2)
        alice.pause("video")
        count = len(alice.sent["audio"])
        await until(lambda: len(alice.sent["audio"]) > count + 200)
        alice.resume("video")
        paused = len(alice.sent["video"])
        await until(lambda: len(alice.sent["video"]) > paused + 45)
        await alice.unpublish()
        await asyncio.sleep(1)
        await finish(system, receiver, task_id)
    found = files(system, task_id)
    video, audio = watch(found["alice", "main", "video"]), watch(found["alice", "main", "audio"])
    assert video.problems == audio.problems == []
    assert video.video is not None
    assert audio.audio is not None
    sent = alice.sent["video"]
    published = max((after.pts - before.pts) / 90_000 for before, after in pairwise(sent))
    recorded = max(after - before for before, after in pairwise(video.video.times))
    assert abs(recorded - published) < 0.05
    assert video.video.slices[-1] == slices_of(sent)[-1]
    assert max(after - before for before, after in pairwise(audio.audio.times)) < 0.03


async def test_kinds_media_prefix_and_numeric_room_are_as_asked(system: Running, receiver: Receiver) -> None:
    async with person(system.janus, "20015", "alice", "audio", "video", "aux"):
        task_id = await system.create(
            "20015", room_id_type=1, record={"StreamType": 2, "MediaId": 1}, storage={"FileNamePrefix": ["calls", "2026"]}
        )
        folder = system.store(task_id, prefix="calls/2026")
        await until(lambda: list(folder.glob("*.m3u8")))
        await finish(system, receiver, task_id)
    who = base64.b64encode(b"alice").decode().replace("=", ".")
    assert [path.name for path in playlists(folder)] == [f"{SDK_APP_ID}_20015__UserId_s_{who}__UserId_e_main_video.m3u8"]
    assert {event.info["RoomId"] for event in receiver.events(task_id)} == {"20015"}


async def test_two_tasks_in_one_room_that_everybody_leaves_both_end_with_99(system: Running, receiver: Receiver) -> None:
    async with AsyncExitStack() as room:
        people = [await room.enter_async_context(person(system.janus, "empty", name, "audio")) for name in ("alice", "bob")]
        tasks = [await system.create("empty", bot=f"recorder_{number}", record={"MaxIdleTime": 5}) for number in (1, 2)]
        await until(lambda: all(users(system, task_id) == {"alice", "bob"} for task_id in tasks))
        for one in people:
            await one.leave()
        for task_id in tasks:
            (stopped,) = await receiver.wait_for(302, task_id=task_id, seconds=30)
            assert stopped.payload == {"LeaveCode": 99}
            await receiver.wait_for(305, task_id=task_id)


async def test_somebody_who_sends_nothing_keeps_the_recording_alive(system: Running, receiver: Receiver) -> None:
    async with room_user(system.janus, "silent", "alice") as alice:
        task_id = await system.create("silent", record={"MaxIdleTime": 5})
        await asyncio.sleep(9)  # nearly twice the idle time
        assert (await system.describe(task_id))["Status"] == "Idle"
        assert 302 not in receiver.types(task_id)
        await alice.leave()
        (stopped,) = await receiver.wait_for(302, task_id=task_id, seconds=30)
        assert stopped.payload == {"LeaveCode": 99}
        await receiver.wait_for(305, task_id=task_id)
    assert receiver.types(task_id) == [301, 303, 302, 305]


async def test_a_second_task_with_the_same_bot_replaces_the_first(system: Running, receiver: Receiver) -> None:
    async with person(system.janus, "same", "alice", "audio"):
        first = await system.create("same")
        await until(lambda: users(system, first) == {"alice"})
        second = await system.create("same")
        (stopped,) = await receiver.wait_for(302, task_id=first)
        assert stopped.payload == {"LeaveCode": 101}
        await until(lambda: users(system, second) == {"alice"})
        await finish(system, receiver, second)
