"""Chromium's own HLS player goes through what render writes, to the end and without a stall."""

import asyncio
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.kit.browser import Playback, chromium
from tests.kit.running import until
from tests.kit.seaweed import free_ports
from tests.render.material import SECOND, JournalMaker, Published, coded, h264, opus
from tests.render.test_media import Rendered, rendered

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]


def stopped_camera(folder: Path, codec: str, fill_type: int) -> Rendered:
    """26 s of sound with a hole, the camera up to 7 s and from 18 s on, all in one file."""
    maker = JournalMaker(folder / "journal", params={"av_merge": 1, "fill_type": fill_type, "segment_seconds": 4})
    sound, camera = maker.track(SECOND, "alice", "audio"), maker.track(SECOND, "alice", "video", codec=codec)
    units = h264(192, 108, 10) if codec == "h264" else coded("vp8", 192, 108, 10)
    maker.audio(sound, SECOND, 10, opus(10))
    maker.audio(sound, 15 * SECOND, 12, opus(10), rtp=48_000 * 15)
    maker.video(camera, 2 * SECOND, 5, units)
    maker.video(camera, 18 * SECOND, 9, units, rtp=90_000 * 17)
    maker.write(32 * SECOND)
    return rendered(folder, maker, Published("video"), Published("audio"))


def sound_first(folder: Path) -> Rendered:
    """A user without a camera for the first 9 s, in one file."""
    maker = JournalMaker(folder / "journal", params={"av_merge": 1, "segment_seconds": 4})
    maker.audio(maker.track(SECOND, "alice", "audio"), SECOND, 18, opus(10))
    maker.video(maker.track(9 * SECOND, "alice", "video"), 10 * SECOND, 9, h264(192, 108, 10))
    maker.write(24 * SECOND)
    return rendered(folder, maker, Published("video"), Published("audio"))


def voice(folder: Path) -> Rendered:
    """A voice in mono that becomes stereo, and is muted in between."""
    maker = JournalMaker(folder / "journal", params={"segment_seconds": 4})
    audio = maker.track(SECOND, "alice", "audio")
    mono = opus(10, channels=1)
    maker.audio(audio, SECOND, 12, (*mono[:300], *[b"\x78\x00\x00\x00"] * 300))
    maker.audio(audio, 13 * SECOND, 8, opus(10), rtp=48_000 * 13)
    maker.write(24 * SECOND)
    return rendered(folder, maker, Published("video"), Published("audio"))


def another_codec(folder: Path) -> Rendered:
    """Pictures in VP9, in another size from 6 s on; then H.264."""
    maker = JournalMaker(folder / "journal", params={"segment_seconds": 4})
    video = maker.track(SECOND, "alice", "video", codec="vp9")
    maker.video(video, SECOND, 6, coded("vp9", 192, 108, 10))
    maker.video(video, 7 * SECOND, 6, coded("vp9", 320, 180, 8), rtp=90_000 * 7)
    maker.close(14 * SECOND, video)
    maker.video(maker.track(15 * SECOND, "alice", "video"), 15 * SECOND, 6, h264(320, 180, 10))
    maker.write(26 * SECOND)
    return rendered(folder, maker, Published("video"), Published("audio"))


def turned(folder: Path) -> Rendered:
    """A phone that is turned every 2 s."""
    maker = JournalMaker(folder / "journal", params={"segment_seconds": 4})
    maker.video(maker.track(SECOND, "alice", "video"), SECOND, 10, h264(320, 180, 10), orientations=(0, 0, 0, 1, 1, 1, 3, 3, 3))
    maker.write(15 * SECOND)
    return rendered(folder, maker, Published("video"), Published("audio"))


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Rendered]:
    return {
        "repeat": stopped_camera(tmp_path / "repeat", "h264", 0),
        "black": stopped_camera(tmp_path / "black", "vp8", 1),
        "sound": sound_first(tmp_path / "sound"),
        "voice": voice(tmp_path / "voice"),
        "codec": another_codec(tmp_path / "codec"),
        "turned": turned(tmp_path / "turned"),
    }


async def test_chromium_plays_it_to_the_end(made: dict[str, Rendered], tmp_path: Path) -> None:
    port = free_ports(1)[0]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=[Mount("/", StaticFiles(directory=tmp_path))]), port=port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    try:
        async with chromium() as browser:
            await until(lambda: server.started)
            played: dict[str, Playback] = {}
            for name, done in made.items():
                (playlist,) = done.lists
                played[name] = await browser.play(f"http://127.0.0.1:{port}/{name}/spool/{playlist}", 60, rate=4)
    finally:
        server.should_exit = True
        await serving
    for name, playback in played.items():
        (segments,) = made[name].lists.values()
        assert playback.error == "", name
        assert playback.ended, (name, playback)
        assert abs(playback.time - sum(s.duration for s in segments)) < 0.3, (name, playback)
    assert (played["repeat"].width, played["repeat"].height) == (192, 108)
    assert (played["codec"].width, played["codec"].height) == (320, 180)
    assert (played["turned"].width, played["turned"].height) == (320, 180), "it shows what the sensor saw"
