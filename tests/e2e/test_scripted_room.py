"""A room as data: who does what at which second. The finished files are judged second by second against it."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import av
import pytest

from rokuga.config import Janus
from rokuga.publish import Publisher, Source
from tests.kit.media_checks import Line, Playlist, playlist, playlists, watch
from tests.kit.people import clip, screen
from tests.kit.receiver import Receiver
from tests.kit.running import Running, until

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(300)]

ROOM = "scripted"
PLAN = [
    (0, "alice", "join"),
    (1, "bob", "join"),
    (5, "carol", "join"),
    (8, "alice", "mute"),
    (9, "bob", "share"),
    (13, "alice", "unmute"),
    (14, "carol", "camera off"),
    (15, "bob", "unshare"),
    (19, "alice", "drop"),
    (19, "bob", "share"),
    (20, "carol", "camera on"),
    (24, "alice", "join"),
    (25, "bob", "unshare"),
    (26, "carol", "leave"),
    (28, "dave", "join"),
    (31, "carol", "join"),
    (32, "bob", "camera off"),
    (34, "dave", "drop"),
    (36, "bob", "mute"),
    (41, "", "end"),
]
EFFECTS: dict[str, tuple[dict[Source, bool], str]] = {
    "mute": ({"audio": False}, "pause"),
    "unmute": ({"audio": True}, "resume"),
    "camera off": ({"video": False}, "pause"),
    "camera on": ({"video": True}, "resume"),
    "share": ({"aux": True}, "publish"),
    "unshare": ({"aux": False}, "stop"),
    "join": ({"audio": True, "video": True}, ""),
    "leave": ({"audio": False, "video": False, "aux": False}, ""),
    "drop": ({"audio": False, "video": False, "aux": False}, ""),
}
"""Action → what is on or off from then on, and what a publisher calls it, for those sources."""
START_SECONDS = 2.5
"""Until what was switched on must be there: subscribing, and the next keyframe, one of which comes every second."""
STOP_SECONDS = 0.5
EDGE_SECONDS = 0.1
"""A publisher's clock is only estimated, and a run of sound begins with the encoder's priming."""
LEAST = {"audio": 40, "video": 12, "aux": 4}
"""frames in each second"""


@dataclass
class Switch:
    """A source goes on or off between ``begin`` and ``end`` (UTC, seconds): when the action was begun and when it was done."""

    on: bool
    begin: float
    end: float


@dataclass
class Script:
    """Plays the plan and notes when things really happened."""

    janus: Janus
    stack: AsyncExitStack
    people: dict[str, Publisher] = field(default_factory=dict)
    switches: dict[tuple[str, Source], list[Switch]] = field(default_factory=dict)

    async def run(self) -> tuple[float, float]:
        """Begin and end, UTC in seconds. Everybody's actions follow one another; those of others do not wait for them."""
        began = time.time()
        users = dict.fromkeys(user for _, user, _ in PLAN if user)
        await asyncio.gather(*(self._act(began, user) for user in users))
        await asyncio.sleep(began + PLAN[-1][0] - time.time())
        ended = time.time()
        for switches in self.switches.values():
            if switches[-1].on:
                switches.append(Switch(False, ended, ended))
        return began, ended

    async def _act(self, began: float, user: str) -> None:
        for second, name, action in PLAN:
            if name != user:
                continue
            await asyncio.sleep(max(0.0, began + second - time.time()))
            before = time.time()
            effects, method = EFFECTS[action]
            if action == "join":
                whole = clip(user, width=320, height=180, gop=1)
                publisher = Publisher(self.janus, ROOM, user, whole, aux=screen(user))
                self.people[user] = await self.stack.enter_async_context(publisher)
            elif action == "leave":
                await self.people[user].leave()
            elif action == "drop":
                await self.people[user].drop()
            else:
                done = getattr(self.people[user], method)(*effects)
                if done is not None:
                    await done
            after = time.time()
            for source, on in effects.items():
                switches = self.switches.get((user, source), [])
                if on != (bool(switches) and switches[-1].on):
                    self.switches[user, source] = [*switches, Switch(on, before, after)]

    def expected(self, user: str, source: Source, begin: float, end: float) -> bool | None:
        """Whether the source must be there (or must not) all the time from ``begin`` to ``end``; None: it may."""
        state = False
        certain_from = 0.0
        for switch in self.switches.get((user, source), []):
            if switch.begin < end:
                if switch.begin > begin:
                    return None
                state = switch.on
                certain_from = switch.end + (START_SECONDS if switch.on else STOP_SECONDS)
        return state if begin >= certain_from else None


@dataclass
class Track:
    """What a file shows: UTC seconds of its frames, and of its flashes or beeps."""

    frames: list[float]
    marks: list[float]

    def count(self, begin: float, end: float) -> tuple[int, int]:
        """Frames and marks within."""
        return sum(begin <= at < end for at in self.frames), sum(begin - EDGE_SECONDS <= at < end + EDGE_SECONDS for at in self.marks)


def utc(folder: Path, index: Playlist, line: Line) -> Track:
    """Each segment's own EXT-X-PROGRAM-DATE-TIME says when what is in it was."""
    begins = []
    for entry in index.entries:
        with av.open(str(folder / entry.name)) as container:
            assert container.start_time is not None
            begins.append((container.start_time / 1e6, datetime.fromisoformat(entry.tags["EXT-X-PROGRAM-DATE-TIME"]).timestamp()))
    assert begins == sorted(begins)

    def at(time_: float) -> float:
        begin, told = [b for b in begins if b[0] <= time_ + 0.001][-1]
        return told + time_ - begin

    return Track([at(t) for t in line.times], [at(t) for t in line.marks])


async def test_each_second_shows_who_was_there_and_nobody_else(tmp_path: Path) -> None:
    for user in {user for _, user, _ in PLAN if user}:
        clip(user, width=320, height=180, gop=1)
    screen("bob")
    async with Receiver() as receiver, Running(tmp_path, callback_url=receiver.url, recorder={"segment_seconds": 4}) as system:
        task_id = await system.create(ROOM)
        await until(lambda: receiver.types(task_id)[:1] == [301])
        async with AsyncExitStack() as stack:
            script = Script(system.janus, stack)
            began, ended = await script.run()
            await system.delete(task_id)
        await receiver.wait_for(305, task_id=task_id)
        folder = system.store(task_id)
        tracks: dict[tuple[str, Source], Track] = {}
        for path in playlists(folder):
            seen, index = watch(path), playlist(path)
            assert seen.problems == [], path.name
            line = seen.video or seen.audio
            assert line is not None
            source: Source = "audio" if seen.audio else "aux" if index.tag("EXT-X-TRTC-MEDIA-ID") == "aux" else "video"
            tracks[index.tag("EXT-X-TRTC-USER-ID"), source] = utc(folder, index, line)
    assert set(tracks) == set(script.switches), "a file for each that was ever there, and no other"
    judged: Counter[bool | None] = Counter()
    wrong = []
    for (user, source), track in tracks.items():
        for second in range(int(ended - began) + 2):
            begin = began + second
            must = script.expected(user, source, begin, begin + 1)
            judged[must] += 1
            frames, marks = track.count(begin, begin + 1)
            if must is True and (frames < LEAST[source] or (source != "aux" and not marks)):
                wrong.append(f"{user}'s {source} is missing in second {second}: {frames} frames, {marks} marks")
            if must is False and (frames := track.count(begin + EDGE_SECONDS, begin + 1 - EDGE_SECONDS)[0]):
                wrong.append(f"{user}'s {source} is in second {second}: {frames} frames")
    assert wrong == []
    assert judged[True] > 60, judged
    assert judged[False] > 60, judged
