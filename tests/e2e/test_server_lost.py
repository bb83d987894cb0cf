"""The media server is killed and comes back, or only the recorder's link to it is cut: one recording, the same files."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from rokuga.config import Janus
from rokuga.embedded import EmbeddedJanus
from rokuga.errors import RoomError
from rokuga.journal.records import End, RoomEvent
from rokuga.publish import Publisher
from tests.capture.kit import PARAMS, CaptureProcess
from tests.kit.media_checks import Seen, not_in_order, playlist, playlists, slices_of, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.rendered import rendered
from tests.kit.running import Running, until
from tests.kit.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def check_one_break(path: Path, least: float, most: float) -> tuple[Seen, float, float]:
    """The playlist plays, and has one discontinuity, which is so many seconds long; from when to when that is."""
    index, seen = playlist(path), watch(path)
    assert seen.problems == [], path.name
    assert ["EXT-X-DISCONTINUITY" in entry.tags for entry in index.entries].count(True) == 1, path.name
    line = seen.video or seen.audio
    assert line is not None
    ((begin, end),) = [(a, b) for a, b in pairwise(line.times) if b - a > 1]
    assert least < end - begin < most, path.name
    return seen, begin, end


@asynccontextmanager
async def back(janus: Janus, name: str) -> AsyncIterator[Publisher]:
    """The user comes back as soon as the server does."""
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(60):
            while True:
                try:
                    user = await stack.enter_async_context(person(janus, "room", name))
                    break
                except RoomError:
                    await asyncio.sleep(0.1)
        yield user


async def test_janus_killed_in_the_middle_leaves_one_discontinuity(tmp_path: Path) -> None:
    prepare("alice", "bob")
    async with Receiver() as receiver, Running(tmp_path, callback_url=receiver.url, recorder={"segment_seconds": 4}) as system:
        async with person(system.janus, "room", "alice") as before, person(system.janus, "room", "bob", "audio"):
            task_id = await system.create("room")
            folder = system.store(task_id)
            await until(lambda: len(list(playlists(folder))) == 3)
            os.kill(system.pids["janus"], signal.SIGKILL)
        async with back(system.janus, "alice") as after:
            count = len(list(folder.glob("*.ts")))
            await until(lambda: len(list(folder.glob("*.ts"))) >= count + 4)
            await after.unpublish()
            await asyncio.sleep(1)  # the last packets' way
            await system.delete(task_id)
            await receiver.wait_for(305, task_id=task_id)
        types = receiver.types(task_id)
        (out,) = [r for r in receiver.events(task_id) if r.type == 302]
        assert out.payload == {"LeaveCode": 0}
        assert types.count(301) == 1
        assert types.count(304) == 3, "no files but those that there were"
        bobs, sound, video = sorted(playlists(folder), key=lambda path: (playlist(path).tag("EXT-X-TRTC-USER-ID") != "bob", path.name))
        assert "EXT-X-DISCONTINUITY" not in playlist(bobs).text
        assert watch(bobs).problems == []
        seen, begin, _ = check_one_break(video, 1, 30)
        check_one_break(sound, 1, 30)
        assert seen.video is not None
        cut = (seen.video.times.index(begin) + 1) * (len(seen.video.slices) // seen.video.frames)
        # The pictures with which each part begins are flashes, and alike.
        assert not_in_order(slices_of(before.sent["video"]), seen.video.slices[1:cut]) == ""
        assert not_in_order(slices_of(after.sent["video"]), seen.video.slices[cut + 1 :]) == ""
        assert seen.video.slices[-1] == slices_of(after.sent["video"])[-1]


async def test_a_link_that_is_cut_and_mended_costs_only_the_time_between(tmp_path: Path) -> None:
    """Janus and the users go on; for three seconds the recorder cannot speak to it."""
    prepare("alice")
    async with EmbeddedJanus(tmp_path / "janus") as janus, CaptureProcess(tmp_path / "g0") as capture:
        wire = Wire(janus.config.port)
        await wire.mend()
        params = replace(PARAMS, segment_seconds=4)
        assert (await capture.start(janus.config.model_copy(update={"url": f"ws://127.0.0.1:{wire.port}"}), params))["ok"]
        async with person(janus.config, "room", "alice") as alice:
            await until(lambda: len(alice.sent["video"]) > 100)
            await wire.cut()
            await asyncio.sleep(3)
            await wire.mend()
            count = len(alice.sent["video"])
            await until(lambda: len(alice.sent["video"]) > count + 120)
            await alice.unpublish()
        await capture.stop()
        await wire.cut()
    journal = capture.journal()
    assert [event.event for event in journal.of(RoomEvent)] == ["joined", "link-lost", "link-found", "left"]
    assert journal.records[-1] == End(0, "deleted")
    found = await rendered(capture.generation)
    assert set(found) == {("alice", "main", "audio"), ("alice", "main", "video")}
    for (_, _, kind), path in found.items():
        seen, begin, _ = check_one_break(path, 2.5, 8)
        if seen.video:
            sent = slices_of(alice.sent["video"])
            cut = (seen.video.times.index(begin) + 1) * (len(seen.video.slices) // seen.video.frames)
            for part in (seen.video.slices[:cut], seen.video.slices[cut:]):
                assert not_in_order(sent, part[1:]) == "", kind  # flashes, with which they begin, are alike
            assert seen.video.slices[-1] == sent[-1]
            # The picture's clock went on: flashes stay on the same grid.
            before = [mark for mark in seen.video.marks if mark <= begin][-1]
            after = next(mark for mark in seen.video.marks if mark > begin)
            assert abs((after - before) - round(after - before)) < 0.04
