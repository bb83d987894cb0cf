"""The browser helpers against Janus alone: what Chromium publishes arrives, and it plays HLS to its end."""

from pathlib import Path

import pytest

from rokuga.embedded import EmbeddedJanus
from rokuga.publish import generate, look_of
from tests.kit.browser import chromium
from tests.kit.room_user import room_user
from tests.kit.running import until
from tests.kit.served import served
from tests.kit.test_media_checks import write

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]


async def test_chromium_publishes_h264(tmp_path: Path) -> None:
    async with EmbeddedJanus(tmp_path / "janus") as server, chromium() as browser:
        user = await browser.publish(server.config, "room", "chrome")
        async with room_user(server.config, "room", "watcher") as watcher:
            (publisher,) = watcher.events[-1]["plugindata"]["data"]["publishers"]
            assert [(stream["type"], stream["codec"]) for stream in publisher["streams"]] == [("audio", "opus"), ("video", "h264")]

            async def flowing() -> bool:
                sent = await user.sent()
                return sent["video"]["frames"] > 20 and sent["audio"]["packets"] > 50

            await until(flowing, 30)
            await user.leave()


async def test_chromium_plays_hls_to_its_end(tmp_path: Path) -> None:
    clip = generate(look_of("alice", width=320, height=180, seconds=6), tmp_path / "cache")
    folder = tmp_path / "hls"
    folder.mkdir()
    write(folder / "a.m3u8", clip, cuts=3)
    async with served(folder) as address, chromium() as browser:
        played = await browser.play(address + "a.m3u8", 60)
        assert played.error == ""
        assert played.ended
        assert abs(played.time - 6) < 0.2
        assert (played.width, played.height) == (320, 180)
        assert (await browser.play(address + "b.m3u8", 60)).error
