"""A room as data: who does what at which second. The finished files are judged second by second against it.

Two tasks record it: one each stream alone, one everybody in one picture.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rokuga.config import Janus
from rokuga.publish import Clip, Publisher, Source, generate
from rokuga.publish.media import Look
from rokuga.publish.run import cache_folder
from rokuga.render.mix.colour import yuv
from tests.kit.media_checks import Line, Playlist, playlist, playlists, watch
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
    (11, "", "bob big"),
    (13, "alice", "unmute"),
    (14, "carol", "camera off"),
    (15, "bob", "unshare"),
    (19, "alice", "drop"),
    (19, "bob", "share"),
    (20, "carol", "camera on"),
    (22, "", "grid"),
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
LAYOUTS: dict[str, dict[str, Any]] = {
    "grid": {"MixLayoutMode": 3, "BackGroundColor": "#000000"},
    "bob big": {"MixLayoutMode": 1, "MaxResolutionUserId": "bob", "BackGroundColor": "#000000"},
}
"""Actions of nobody: what the mix looks like from then on. It begins as a grid."""
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
COLOURS = {"alice": (170, 40, 40), "bob": (40, 120, 40), "carol": (50, 50, 190), "dave": (150, 60, 160), "bob screen": (150, 130, 20)}
TONES = {"alice": 300, "bob": 450, "carol": 630, "dave": 820}
"""Hz, between the beeps"""
MIX_SIZE = (640, 360)
HEARD = 0.008
"""The tone has 0.04 of full scale."""
MODIFY_SECONDS = 1.0
"""after Modify's answer the mix looks like that"""
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
    modify: Callable[[dict[str, Any]], Awaitable[None]]
    people: dict[str, Publisher] = field(default_factory=dict)
    switches: dict[tuple[str, Source], list[Switch]] = field(default_factory=dict)
    places: dict[tuple[str, str], list[Switch]] = field(default_factory=dict)
    """of main and aux: when the room knew of it, sent or not"""
    looks: list[tuple[str, float, float]] = field(default_factory=list)
    """layouts of the mix: name, when Modify was called, when it was answered"""

    async def run(self) -> tuple[float, float]:
        """Begin and end, UTC in seconds. Everybody's actions follow one another; those of others do not wait for them."""
        began = time.time()
        self.looks.append(("grid", began, began))
        users = dict.fromkeys(user for _, user, _ in PLAN if user)
        await asyncio.gather(self._direct(began), *(self._act(began, user) for user in users))
        await asyncio.sleep(began + PLAN[-1][0] - time.time())
        ended = time.time()
        for switches in (*self.switches.values(), *self.places.values()):
            if switches[-1].on:
                switches.append(Switch(False, ended, ended))
        return began, ended

    async def _direct(self, began: float) -> None:
        for second, user, action in PLAN:
            if not user and action in LAYOUTS:
                await asyncio.sleep(max(0.0, began + second - time.time()))
                before = time.time()
                await self.modify(LAYOUTS[action])
                self.looks.append((action, before, time.time()))

    async def _act(self, began: float, user: str) -> None:
        for second, name, action in PLAN:
            if name != user:
                continue
            await asyncio.sleep(max(0.0, began + second - time.time()))
            before = time.time()
            effects, method = EFFECTS[action]
            if action == "join":
                publisher = Publisher(self.janus, ROOM, user, camera(user), aux=shared(user))
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
            for media in ("main", "aux"):
                if (action in ("join", "leave", "drop") and (media == "main" or self.shown(user, media))) or (
                    media == "aux" and action in ("share", "unshare")
                ):
                    self.places.setdefault((user, media), []).append(Switch(action in ("join", "share"), before, after))

    def shown(self, user: str, media: str) -> bool:
        places = self.places.get((user, media), [])
        return bool(places) and places[-1].on

    def expected(self, user: str, source: Source, begin: float, end: float) -> bool | None:
        """Whether the source must be there (or must not) all the time from ``begin`` to ``end``; None: it may."""
        return certain(self.switches.get((user, source), []), begin, end)

    def cast(self, begin: float, end: float) -> list[str] | None:
        """Whose pictures the mix must have, in order, all the time; None: that is changing."""
        found: list[tuple[float, bool, str]] = []
        for (user, media), switches in self.places.items():
            on = certain(switches, begin, end)
            if on is None:
                return None
            if on:
                came = max(s.begin for s in self.places[user, "main"] if s.on and s.begin < end)
                found.append((came, media == "aux", user if media == "main" else f"{user} screen"))
        return [name for _, _, name in sorted(found)]

    def look(self, begin: float, end: float) -> str | None:
        """What the mix must look like all the time; None: that is changing."""
        name = ""
        for name_, called, answered in self.looks:
            if called < end:
                if begin < answered + MODIFY_SECONDS and called > self.looks[0][1]:
                    return None
                name = name_
        return name


def certain(switches: list[Switch], begin: float, end: float) -> bool | None:
    """Whether it is on all the time from ``begin`` to ``end``; None: perhaps."""
    state = False
    certain_from = 0.0
    for switch in switches:
        if switch.begin < end:
            if switch.begin > begin:
                return None
            state = switch.on
            certain_from = switch.end + (START_SECONDS if switch.on else STOP_SECONDS)
    return state if begin >= certain_from else None


def camera(user: str) -> Clip:
    return dyed(user, tone=TONES[user], width=320, height=180, gop=1)


def shared(user: str) -> Clip:
    """What the user's screen shows; only bob's is ever seen."""
    return dyed(f"{user} screen", tone=200, fps=5, gop=1, flash=False)


def dyed(name: str, **options: Any) -> Clip:
    red, green, blue = COLOURS.get(name, (128, 128, 128))
    return generate(Look(name=name, colour=f"#{red:02x}{green:02x}{blue:02x}", **options), cache_folder())


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


@dataclass
class Film:
    """The mix: pictures and sound with their UTC seconds."""

    pictures: list[tuple[float, Any]]
    sound: list[tuple[float, NDArray[np.float32]]]

    @staticmethod
    def of(folder: Path, index: Playlist) -> "Film":
        film = Film([], [])
        for entry in index.entries:
            told = datetime.fromisoformat(entry.tags["EXT-X-PROGRAM-DATE-TIME"]).timestamp()
            with av.open(str(folder / entry.name)) as container:
                assert container.start_time is not None
                began = container.start_time / 1e6
                for frame in container.decode():
                    assert frame.time is not None
                    if isinstance(frame, av.VideoFrame):
                        planes = [np.frombuffer(bytes(p), np.uint8).reshape(p.height, p.line_size) for p in frame.planes]
                        film.pictures.append((told + frame.time - began, planes))
                    elif isinstance(frame, av.AudioFrame):
                        film.sound.append((told + frame.time - began, np.frombuffer(bytes(frame.planes[0]), np.float32)[: frame.samples]))
        return film

    def colours(self, x: float, y: float, begin: float, end: float) -> Counter[str]:
        """Whose colour a point of the canvas has, picture by picture."""
        found: Counter[str] = Counter()
        across, down = int(x * MIX_SIZE[0]), int(y * MIX_SIZE[1])
        for at, planes in self.pictures:
            if begin <= at < end:
                chroma = int(planes[1][down // 2, across // 2]), int(planes[2][down // 2, across // 2])
                luma = int(planes[0][down, across])
                near = min(SHADES, key=lambda name: sum((a - b) ** 2 for a, b in zip(SHADES[name], (luma, *chroma), strict=True)))
                found[near] += 1
        return found

    def level(self, tone: float, begin: float, end: float) -> float:
        """Of a tone; full scale is 1."""
        heard = np.concatenate([samples for at, samples in self.sound if begin <= at < end])
        wave = np.hanning(len(heard)) * np.exp(-2j * np.pi * tone / 48_000 * np.arange(len(heard)))
        return float(4 * abs(np.sum(heard * wave)) / len(heard))


SHADES: dict[str, tuple[int, int, int]] = {name: yuv(colour) for name, colour in COLOURS.items()} | {
    "nobody": (16, 128, 128),
    "a flash": (235, 128, 128),
}


def spots(look: str, cast: list[str]) -> dict[str, tuple[float, float]]:
    """A point of each one's picture where there is nothing but its colour, in parts of the canvas; and one where nobody is."""
    count = len(cast)
    if look == "grid":
        columns = 1 if count <= 1 else 2 if count <= 4 else 3
        rows = 1 if count <= 2 else columns
        cells = {name: (n % columns / columns, n // columns / rows, 1 / columns, 1 / rows) for n, name in enumerate(cast)}
        empty = {"nobody": (0.5 + 0.5 * (columns - 1) / columns, 0.5 + 0.5 * (rows - 1) / rows)} if count < columns * rows else {}
    else:
        small = [name for name in cast if name != "bob"]
        cells = {name: (0.012 + n * 0.247, 1 - 0.247, 0.235, 0.235) for n, name in enumerate(small)} | {"bob": (0.0, 0.0, 1.0, 1.0)}
        empty = {}
    # Name and clock stand in the middle; a bar and noise are below.
    return {name: (left + width * 0.06, top + height * 0.1) for name, (left, top, width, height) in cells.items()} | empty


def judge_mix(script: Script, film: Film, began: float, ended: float) -> tuple[list[str], Counter[str]]:
    """What is wrong, and how much was judged."""
    wrong: list[str] = []
    judged: Counter[str] = Counter()
    for second in range(int(ended - began)):
        begin, end = began + second, began + second + 1
        cast, look = script.cast(begin, end), script.look(begin, end)
        if cast and look and (look == "grid" or "bob" in cast):
            for name, (x, y) in spots(look, cast).items():
                found = film.colours(x, y, begin + EDGE_SECONDS, end - EDGE_SECONDS)
                judged["picture"] += 1
                if not found or found.most_common(1)[0][0] != name:
                    wrong.append(f"second {second}, {look} of {cast}: {name}'s place shows {dict(found)}")
        for user, tone in TONES.items():
            must = script.expected(user, "audio", begin, end)
            if must is None:
                continue
            level = film.level(tone, begin + EDGE_SECONDS, end - EDGE_SECONDS)
            judged["sound" if must else "silence"] += 1
            if (level > HEARD) != must:
                wrong.append(f"second {second}: {user} is heard with {level:.4f}, {must=}")
    return wrong, judged


async def test_each_second_shows_who_was_there_and_nobody_else(tmp_path: Path) -> None:
    for user in TONES:
        camera(user)
        shared(user)
    async with Receiver() as receiver, Running(tmp_path, callback_url=receiver.url, recorder={"segment_seconds": 4}) as system:
        task_id = await system.create(ROOM)
        video = {"Width": MIX_SIZE[0], "Height": MIX_SIZE[1], "Fps": 15, "BitRate": 1_000_000, "Gop": 4}
        mix_id = await system.create(
            ROOM, bot="mixer", record={"RecordMode": 2}, MixTranscodeParams={"VideoParams": video}, MixLayoutParams=LAYOUTS["grid"]
        )
        await until(lambda: receiver.types(task_id)[:1] == [301] and receiver.types(mix_id)[:1] == [301])

        async def modify(layout: dict[str, Any]) -> None:
            await system.modify(mix_id, MixLayoutParams=layout)

        async with AsyncExitStack() as stack:
            script = Script(system.janus, stack, modify)
            began, ended = await script.run()
            await asyncio.gather(system.delete(task_id), system.delete(mix_id))
        await receiver.wait_for(305, task_id=task_id)
        await receiver.wait_for(305, task_id=mix_id)
        folder = system.store(task_id)
        tracks: dict[tuple[str, Source], Track] = {}
        for path in playlists(folder):
            seen, index = watch(path), playlist(path)
            assert seen.problems == [], path.name
            line = seen.video or seen.audio
            assert line is not None
            source: Source = "audio" if seen.audio else "aux" if index.tag("EXT-X-TRTC-MEDIA-ID") == "aux" else "video"
            tracks[index.tag("EXT-X-TRTC-USER-ID"), source] = utc(folder, index, line)
        (mixed,) = playlists(system.store(mix_id))
        assert watch(mixed).problems == []
        film = Film.of(mixed.parent, playlist(mixed))
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
    wrong, much = judge_mix(script, film, began, ended)
    assert wrong == []
    assert min(much["picture"], much["sound"], much["silence"]) > 25, much
