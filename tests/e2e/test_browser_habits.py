"""What people do with a browser in a call, and what is in the files afterwards: decoded from end to end, and played."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.async_api import Error

from rokuga.embedded import EmbeddedJanus
from tests.capture.kit import PARAMS, CaptureProcess
from tests.kit.browser import SIMULCAST, Chromium, chromium
from tests.kit.media_checks import Line, Playlist, playlist, watch
from tests.kit.rendered import Key, rendered
from tests.kit.served import served

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), pytest.mark.browser]

WIDTH, HEIGHT = 320, 180
START_SECONDS = 2.5
"""A busy machine takes so long from the first packet until the page says that it publishes."""
STALL_SECONDS = 2.0
"""And so long it may forget its camera."""
GAPLESS_SECONDS = 0.03
PACE = 4
"""The browser plays that many times as fast."""


@dataclass
class Recorded:
    """A finished recording. ``ended`` is the UTC of its end."""

    capture: CaptureProcess
    ended: float = 0.0
    files: dict[Key, Path] = field(default_factory=dict)

    def line(self, user: str, kind: str, media: str = "main") -> tuple[Line, Playlist]:
        """What that playlist holds; it must be in order."""
        path = self.files[user, media, kind]
        seen, index = watch(path), playlist(path)
        assert seen.problems == [], path.name
        line = seen.video or seen.audio
        assert line is not None
        assert set(sizes_told(index)) <= set(line.sizes)
        assert sizes_told(index)[:1] == line.sizes[:1]
        return line, index


@asynccontextmanager
async def recording(janus: EmbeddedJanus, folder: Path) -> AsyncIterator[Recorded]:
    """Record the room meanwhile; the files are there afterwards."""
    async with CaptureProcess(folder) as capture:
        assert (await capture.start(janus.config, replace(PARAMS, segment_seconds=4)))["ok"]
        recorded = Recorded(capture)
        yield recorded
        recorded.ended = time.time()
        await capture.stop()
    recorded.files = await rendered(capture.generation)


def holes(line: Line, least: float = STALL_SECONDS) -> list[float]:
    """How long nothing came, each time that it was more than ``least`` seconds."""
    return [after - before for before, after in pairwise(line.times) if after - before > least]


def breaks(index: Playlist) -> int:
    return sum("EXT-X-DISCONTINUITY" in entry.tags for entry in index.entries)


def sizes_told(index: Playlist) -> list[tuple[int, int]]:
    """What the playlist says of the pictures' size, each time that it does."""
    found = re.findall(r"VIDEO-METADATA:WIDTH:(\d+) HEIGHT:(\d+)", index.text)
    return [(int(width), int(height)) for width, height in found]


def wide(size: tuple[int, int]) -> bool:
    """Whether a browser made it of a picture of 16:9 by making it smaller."""
    return abs(size[0] / size[1] - 16 / 9) < 0.05


async def play(browser: Chromium, recorded: Recorded, *keys: Key) -> None:
    """The browser plays these playlists to their ends."""
    async with served(recorded.capture.generation.spool) as address:
        played = await asyncio.gather(*(browser.play(address + recorded.files[key].name, 120, PACE) for key in keys))
    for key, one in zip(keys, played, strict=True):
        assert one.error == "", (key, one.log)
        assert one.ended, (key, one)
        assert abs(one.time - playlist(recorded.files[key]).seconds) < 1, (key, one)


async def test_muting_pausing_unplugging_and_sharing_a_screen(tmp_path: Path) -> None:
    async with EmbeddedJanus(tmp_path / "janus") as janus, chromium() as browser:
        # They are there before: a browser that opens four pages at once stalls, and this is not about how it starts.
        names = ("muter", "pauser", "unplugger", "sharer")
        people = [await browser.publish(janus.config, "room", name, "h264", WIDTH, HEIGHT) for name in names]
        muter, pauser, unplugger, sharer = people
        async with recording(janus, tmp_path / "g0") as recorded:
            began = time.time()
            unplugged = 0.0

            async def mute() -> None:
                await asyncio.sleep(3)
                for on in ("true", "false"):
                    await muter.run(f"user.mute('audio', {on}), user.mute('video', {on})")
                    await asyncio.sleep(4)

            async def pause() -> None:
                for kind, seconds in (("video", 3.0), ("video", 8.0), ("audio", 3.0)):
                    await asyncio.sleep(3)
                    await pauser.run(f"user.off('{kind}')")
                    await asyncio.sleep(seconds)
                    await pauser.run(f"user.on('{kind}')")

            async def share() -> None:
                for _ in range(10):
                    await sharer.run("user.share('h264', 480, 270)")
                    await asyncio.sleep(1.5)
                    await sharer.run("user.unshare()")
                    await asyncio.sleep(0.7)

            async def unplug() -> None:
                await asyncio.sleep(6)
                nonlocal unplugged
                await unplugger.run("user.unplug('video')")
                unplugged = time.time()

            await asyncio.gather(mute(), pause(), share(), unplug())
            await asyncio.sleep(3)

        # A mute is sent as silence and black: there is no hole in anything.
        for kind in ("audio", "video"):
            line, index = recorded.line("muter", kind)
            assert breaks(index) == 0
            assert holes(line, GAPLESS_SECONDS if kind == "audio" else STALL_SECONDS) == []
            assert abs(line.seconds - (recorded.ended - began)) < START_SECONDS

        # What is switched off leaves a hole as long as it was off: longer than 5 s of video, 1 s of sound is told.
        line, index = recorded.line("pauser", "video")
        assert holes(line) == pytest.approx([3.0, 8.0], abs=1.2)
        assert breaks(index) == 1
        line, index = recorded.line("pauser", "audio")
        assert holes(line) == pytest.approx([3.0], abs=1.2)
        assert breaks(index) == 1

        # An unplugged camera ends the picture and not the sound.
        line, index = recorded.line("unplugger", "video")
        assert breaks(index) == 0
        assert abs(line.seconds - (unplugged - began)) < START_SECONDS
        sound, index = recorded.line("unplugger", "audio")
        assert breaks(index) == 0
        assert holes(sound, GAPLESS_SECONDS) == []
        assert abs(sound.seconds - (recorded.ended - began)) < START_SECONDS

        # Ten shares, each with its picture, and nothing else of the user touched.
        line, index = recorded.line("sharer", "video", "aux")
        assert all(wide(size) and size[0] <= 480 for size in line.sizes), line.sizes
        assert breaks(index) == 9
        assert len(holes(line, 0.4)) >= 9
        assert all(entry.seconds > 0.2 for entry in index.entries)
        assert 10 * 0.7 < index.seconds < 10 * 2.5
        for kind in ("audio", "video"):
            line, index = recorded.line("sharer", kind)
            assert breaks(index) == 0
            assert holes(line, GAPLESS_SECONDS if kind == "audio" else STALL_SECONDS) == []
        await play(browser, recorded, ("sharer", "aux", "video"), ("pauser", "main", "video"), ("muter", "main", "video"))


async def test_a_picture_that_grows_with_the_network(tmp_path: Path) -> None:
    """720p and 30 pictures a second from the start: the browser begins small and changes the size several times."""
    async with EmbeddedJanus(tmp_path / "janus") as janus, chromium() as browser:
        async with recording(janus, tmp_path / "g0") as recorded:
            user = await browser.publish(janus.config, "room", "grower", "h264", 1280, 720, 30)
            await asyncio.sleep(16)
            # And where the machine is too slow for any change, here is one.
            await user.run("user.video.setParameters(Object.assign(user.video.getParameters(), {encodings: [{scaleResolutionDownBy: 8}]}))")
            await recorded.capture.until_journal(lambda journal: (journal.shown("grower", "h264") or (WIDTH, HEIGHT))[0] <= 160)
            await asyncio.sleep(2)
        line, index = recorded.line("grower", "video")
        assert len(line.sizes) >= 2
        assert line.sizes[-1][0] <= 160
        assert all(map(wide, line.sizes))
        assert breaks(index) == 0
        assert holes(line) == []
        sound, sounds = recorded.line("grower", "audio")
        assert breaks(sounds) == 0
        assert abs(sound.seconds - line.seconds) < 2
        await play(browser, recorded, ("grower", "main", "video"))


async def test_two_tabs_with_one_id_and_a_return_with_another_codec(tmp_path: Path) -> None:
    async with EmbeddedJanus(tmp_path / "janus") as janus, chromium() as browser:
        async with recording(janus, tmp_path / "g0") as recorded:
            changer = await browser.publish(janus.config, "room", "changer", "vp8", WIDTH, HEIGHT)
            twin = await browser.publish(janus.config, "room", "twin", "h264", WIDTH, HEIGHT)
            began = time.time()
            await asyncio.sleep(4)
            with pytest.raises(Error, match="436"):
                await browser.publish(janus.config, "room", "twin", "h264", WIDTH, HEIGHT)
            await changer.leave()
            await asyncio.sleep(2)
            changer = await browser.publish(janus.config, "room", "changer", "h264", WIDTH, HEIGHT)
            await asyncio.sleep(6)
            await twin.leave()
            await asyncio.sleep(2)
            again = await browser.publish(janus.config, "room", "twin", "h264", WIDTH, HEIGHT)
            await asyncio.sleep(5)
            await again.leave()
            await changer.leave()
        whole = recorded.ended - began
        assert set(recorded.files) == {(user, "main", kind) for user in ("changer", "twin") for kind in ("audio", "video")}
        for user in ("changer", "twin"):
            for kind in ("audio", "video"):
                line, index = recorded.line(user, kind)
                assert breaks(index) == 1, (user, kind)
                assert kind == "video" or len(holes(line, 1.0)) == 1, (user, holes(line, 1.0))
                assert whole - 3 < line.seconds < whole + 2 * START_SECONDS
        await play(browser, recorded, *recorded.files)


async def test_simulcast_whose_highest_layer_comes_and_goes(tmp_path: Path) -> None:
    """The picture changes its size with the layers, in step with the sound, without a break."""
    users = {"passed on": "h264", "transcoded": "vp8"}
    async with EmbeddedJanus(tmp_path / "janus") as janus, chromium() as browser:
        async with recording(janus, tmp_path / "g0") as recorded:
            people = [await browser.publish(janus.config, "room", n, codec, 640, 360, layers=SIMULCAST) for n, codec in users.items()]

            async def until_shown(size: tuple[int, int]) -> None:
                await recorded.capture.until_journal(lambda journal: all(journal.shown(n, codec) == size for n, codec in users.items()))
                await asyncio.sleep(2)

            await until_shown((640, 360))
            for active, size in (
                ("[false, true, true]", (320, 180)),
                ("[true, true, true]", (640, 360)),
                ("[false, false, true]", (160, 90)),
                ("[true, true, true]", (640, 360)),
            ):
                for user in people:
                    await user.run(f"user.layers({active})")
                await until_shown(size)
        for name in users:
            line, index = recorded.line(name, "video")
            assert breaks(index) == 0
            assert len(line.sizes) >= 5, line.sizes
            assert line.sizes[-1] == (640, 360)
            assert all(map(wide, line.sizes))
            assert holes(line) == []
            assert min(after - before for before, after in pairwise(line.times)) >= 0.0049
            sound, sounds = recorded.line(name, "audio")
            assert breaks(sounds) == 0
            assert holes(sound, GAPLESS_SECONDS) == []
            assert abs(sound.end - line.end) < 0.5
        await play(browser, recorded, *((name, "main", "video") for name in users))
