"""AvMerge 1 in a real room: one file for sound and picture of each user, in step, without a hole."""

import asyncio
from pathlib import Path

import pytest

from tests.kit.media_checks import playlist, playlists, slices_of, sync, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.running import Running

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


async def test_a_user_is_one_playlist(tmp_path: Path) -> None:
    prepare("alice", "bob", "carol")
    async with Receiver() as receiver, Running(tmp_path, callback_url=receiver.url) as system:
        task_id = await system.create("room", record={"AvMerge": 1, "FillType": 1})
        async with (
            person(system.janus, "room", "alice") as alice,
            person(system.janus, "room", "bob", "audio"),
            person(system.janus, "room", "carol", "video"),
        ):
            await system.recording(task_id, 3)
            await asyncio.sleep(25)  # what is recorded
            described = await system.describe(task_id)
            await system.delete(task_id)
            await receiver.wait_for(305, task_id=task_id)
        lists = list(playlists(system.store(task_id)))
        seen = [watch(path) for path in lists]
    assert [(f["UserId"], f["TrackType"]) for f in sorted(described["StorageFileList"], key=lambda f: f["UserId"])] == [
        (name, "audio_video") for name in ("alice", "bob", "carol")
    ]
    assert all(path.name.endswith("_main_audiovideo.m3u8") for path in lists)
    assert [one.problems for one in seen] == [[], [], []]
    for path, one in zip(lists, seen, strict=True):
        assert one.audio is not None
        assert one.video is not None
        assert one.audio.seconds > 22
        assert max(b - a for a, b in zip(one.audio.times, one.audio.times[1:], strict=False)) < 0.025
        assert len(playlist(path).entries) >= 2
    both = next(one for one in seen if one.audio and one.audio.marks and one.video and one.video.marks)
    assert both.audio is not None
    assert both.video is not None
    mean, deviation, pairs = sync(both.video.marks, both.audio.marks)
    assert pairs >= 20
    assert abs(mean) <= 0.040
    assert deviation <= 0.010
    published = set(slices_of(alice.sent["video"]))
    assert len(both.video.slices) > 20 * 15
    assert set(both.video.slices) <= published, "every picture is as it was published"
