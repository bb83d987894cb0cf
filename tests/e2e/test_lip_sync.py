"""Beep against flash in finished files, a minute long; also when sound and picture start 3 s apart, in either order."""

import asyncio
from pathlib import Path

import pytest

from rokuga.publish import Source
from tests.kit.media_checks import offsets, playlists, sync, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.running import Running

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(300)]

MEAN, DEVIATION = 0.040, 0.010
SECONDS = 70
# Nothing is sent while the recorder still subscribes, so that files begin where the media do.
LATE: dict[str, dict[Source, float]] = {
    "together": {"audio": 6.0, "video": 6.0},
    "sound-later": {"audio": 9.0, "video": 6.0},
    "picture-later": {"audio": 5.0, "video": 8.0},
}


async def test_sound_and_picture_stay_in_step_for_a_minute(tmp_path: Path) -> None:
    prepare(*LATE)
    async with Receiver() as receiver, Running(tmp_path, callback_url=receiver.url) as system:
        task_id = await system.create("room")
        async with (
            person(system.janus, "room", "together", delays=LATE["together"]),
            person(system.janus, "room", "sound-later", delays=LATE["sound-later"]),
            person(system.janus, "room", "picture-later", delays=LATE["picture-later"]),
        ):
            await asyncio.sleep(SECONDS)  # what is measured
            await system.delete(task_id)
            await receiver.wait_for(305, task_id=task_id)
        seen = {path.name: watch(path) for path in playlists(system.store(task_id))}
    assert [name for name, one in seen.items() if one.problems] == []
    lines = [one.audio or one.video for one in seen.values()]
    assert len(lines) == 6
    audio = [one.audio for one in seen.values() if one.audio]
    video = [one.video for one in seen.values() if one.video]
    apart = []
    for sound, picture in zip(audio, video, strict=True):
        mean, deviation, pairs = sync(picture.marks, sound.marks)
        apart.append(picture.begin - sound.begin)
        assert pairs >= 60
        assert abs(mean) <= MEAN, f"{mean * 1000:.1f} ms"
        assert deviation <= DEVIATION, f"{deviation * 1000:.1f} ms"
        assert max(map(abs, offsets(picture.marks, sound.marks))) < 0.060
    assert sorted(apart) == pytest.approx([-3.0, 0.0, 3.0], abs=0.1)
