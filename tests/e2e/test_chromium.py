"""Chromium at both ends: it publishes with fake devices, and plays the recording from its URL, growing and finished."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from tests.kit.browser import Playback, chromium
from tests.kit.media_checks import playlist, playlists, watch
from tests.kit.receiver import Receiver
from tests.kit.running import Running, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(400), pytest.mark.browser]


PACE = 4
"""The browser plays what is finished so many times as fast."""


def check(played: Playback, seconds: float) -> None:
    assert played.error == "", played.log
    assert played.ended, played
    assert abs(played.time - seconds) < 0.5, (played.time, seconds, played.log)


async def test_chromium_publishes_and_plays_what_was_recorded_of_it(tmp_path: Path) -> None:
    recorder = {"segment_seconds": 3}
    async with Receiver() as receiver, Running(tmp_path, callback_url=receiver.url, recorder=recorder) as system, chromium() as browser:
        user = await browser.publish(system.janus, "room", "chrome")
        task_id = await system.create("room")
        folder = system.store(task_id)
        await until(lambda: len(list(playlists(folder))) == 2)
        audio, video = playlists(folder)
        # A player takes a growing playlist for a live one and fails on fewer than three segments.
        await until(lambda: all(len(playlist(path).entries) >= 3 for path in (audio, video)))
        assert not playlist(video).closed
        watching = asyncio.create_task(browser.play(system.url(task_id, video.name), 240))
        segments = len(playlist(video).entries)
        await until(lambda: len(playlist(video).entries) >= segments + 2)
        assert not watching.done(), watching.result()
        sent = await user.sent()
        await user.leave()
        await system.delete(task_id)
        await receiver.wait_for(305, task_id=task_id)
        assert playlist(video).closed
        growing = await watching
        assert growing.error == "", growing.log
        assert growing.ended
        assert growing.time > playlist(video).seconds - 1
        finished, heard_again = await asyncio.gather(*(browser.play(system.url(task_id, path.name), 240, PACE) for path in (video, audio)))
        check(finished, playlist(video).seconds)
        check(heard_again, playlist(audio).seconds)
    seen, heard = watch(video), watch(audio)
    assert seen.problems == heard.problems == []
    assert seen.video is not None
    assert heard.audio is not None
    assert (finished.width, finished.height) == seen.video.sizes[-1]
    # What was encoded until the recorder had subscribed, less than two seconds of it, is not there; all the rest is.
    assert sent["video"]["frames"] - 40 <= seen.video.frames <= sent["video"]["frames"] + 15
    assert max(after - before for before, after in pairwise(heard.audio.times)) < 0.03
    assert abs(seen.video.end - heard.audio.end) < 0.5
