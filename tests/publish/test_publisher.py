"""A publisher in a real Janus: what others in the room see of it, and which units it sends when."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rokuga.config import Janus
from rokuga.embedded import EmbeddedJanus
from rokuga.publish import Clip, Publisher, generate, look_of, run
from rokuga.publish.clip import AUDIO_CLOCK, VIDEO_CLOCK
from rokuga.room.link import Message
from rokuga.room.session import open_session

pytestmark = pytest.mark.live


@pytest.fixture
async def janus(tmp_path: Path) -> AsyncIterator[Janus]:
    async with EmbeddedJanus(tmp_path / "janus") as server:
        yield server.config


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return generate(look_of("alice", width=320, height=180, seconds=4), tmp_path_factory.mktemp("cache"))


async def until(seen: Callable[[], object], seconds: float = 20) -> None:
    """Poll until ``seen`` is true."""
    async with asyncio.timeout(seconds):
        while not seen():
            await asyncio.sleep(0.05)


class Watcher:
    """Somebody else in the room, who notes what Janus tells."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def message(self, message: Message) -> None:
        self.events.append(message.get("plugindata", {}).get("data", {}))

    def lost(self, error: Exception) -> None:
        self.events.append({"lost": str(error)})

    def streams(self) -> list[tuple[str, str, bool]]:
        """(type, description, disabled) of the publisher seen last."""
        last = next(publisher for event in reversed(self.events) for publisher in event.get("publishers", []))
        return [(s["type"], s.get("description", ""), s.get("disabled", False)) for s in last["streams"]]

    def said(self, word: str, value: str) -> bool:
        return any(event.get(word) == value for event in self.events)


async def test_camera_microphone_and_screen_are_seen_as_such(janus: Janus, clip: Clip) -> None:
    watcher = Watcher()
    async with Publisher(janus, "room", "alice", clip, keep=True) as alice, open_session(janus) as session:
        handle = await session.attach(watcher)
        await handle.request({"request": "join", "ptype": "publisher", "room": "room", "id": "watcher"})
        assert watcher.streams() == [("audio", "", False), ("video", "", False)]
        await alice.publish("aux")
        await until(lambda: watcher.streams() == [("audio", "", False), ("video", "", False), ("video", "aux", False)])
        await until(lambda: len(alice.sent["aux"]) > 5)
        await alice.stop("aux")
        await until(lambda: watcher.streams()[2][2])
        assert alice.sent["aux"][0].key
        await alice.unpublish()
        await until(lambda: watcher.said("unpublished", "alice"))
        await alice.publish("audio")
        await until(lambda: watcher.streams() == [("audio", "", False)])
        await alice.drop()
        await until(lambda: watcher.said("leaving", "alice"))


async def test_audio_and_video_keep_one_clock_and_a_late_one_joins_in_step(janus: Janus, clip: Clip) -> None:
    async with Publisher(janus, "room", "alice", clip, delays={"audio": 1.0}, keep=True) as alice:
        await until(lambda: alice.position() > 2.2)
        audio, video = alice.sent["audio"], alice.sent["video"]
        assert (audio[0].pts, video[0].pts) == (AUDIO_CLOCK, 0)
        assert abs(audio[-1].pts / AUDIO_CLOCK - video[-1].pts / VIDEO_CLOCK) < 0.5
        assert [after.pts - before.pts for before, after in pairwise(video)] == [6000] * (len(video) - 1)


async def test_a_paused_camera_sends_nothing_and_comes_back_with_a_keyframe(janus: Janus, clip: Clip) -> None:
    async with Publisher(janus, "room", "alice", clip, keep=True) as alice:
        await until(lambda: len(alice.sent["video"]) > 10)
        alice.pause("video")
        count, sound = len(alice.sent["video"]), len(alice.sent["audio"])
        await until(lambda: len(alice.sent["audio"]) > sound + 60)
        assert len(alice.sent["video"]) == count
        alice.resume("video")
        await until(lambda: len(alice.sent["video"]) > count)
        assert alice.sent["video"][count].key


async def test_who_left_can_come_back(janus: Janus, clip: Clip) -> None:
    async with Publisher(janus, "room", "alice", clip, keep=True) as alice:
        await alice.leave()
        count = len(alice.sent["audio"])
        await alice.join()
        await alice.publish("audio", "video")
        await until(lambda: len(alice.sent["audio"]) > count)


async def test_integer_rooms_know_the_user_by_display(tmp_path: Path, clip: Clip) -> None:
    async with EmbeddedJanus(tmp_path / "janus", Janus(room_ids="integer")) as server:
        watcher = Watcher()
        async with Publisher(server.config, "1234", "alice", clip), open_session(server.config) as session:
            handle = await session.attach(watcher)
            await handle.request({"request": "join", "ptype": "publisher", "room": 1234})
            assert watcher.events[-1]["publishers"][0]["display"] == "alice"


async def test_the_command_publishes_for_as_long_as_asked(janus: Janus, tmp_path: Path) -> None:
    watcher = Watcher()
    async with Publisher(janus, "room", "first", Clip(1.0), sources=()), open_session(janus) as session:
        handle = await session.attach(watcher)
        await handle.request({"request": "join", "ptype": "publisher", "room": "room", "id": "watcher"})
        await run(janus, "room", "alice", aux=True, seconds=1, cache=tmp_path)
        await until(lambda: watcher.said("leaving", "alice"))
        assert [kind for kind, _, _ in watcher.streams()] == ["audio", "video", "video"]
