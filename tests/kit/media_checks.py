"""Judges recordings as a player sees them: decodes the *playlist* from end to end and says what it saw and heard, and when.

Times are seconds on the files' own timeline. Generated media flash white and beep at each full second of their own time.
"""

import asyncio
import hashlib
import statistics
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import av.logging

from rokuga.publish.clip import Unit, nal_units

WHITE = 200
"""Darkest luma of a flash; the generated picture's own text is small."""
LOUD = 0.2
"""Of full scale; a beep has 0.6, the tone beside it 0.04."""
QUIET_SECONDS = 0.2
"""How long it was quiet before what counts as an onset."""
SLICES = (1, 5)


@dataclass
class Line:
    """What one stream of a playlist held. ``begin`` to ``end``: from the first frame's start to the last one's end."""

    frames: int = 0
    begin: float = 0.0
    end: float = 0.0
    times: list[float] = field(default_factory=list)
    marks: list[float] = field(default_factory=list)
    """flashes, or onsets of beeps"""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    slices: list[bytes] = field(default_factory=list)
    """SHA-256 of each slice NAL unit, in order"""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass
class Seen:
    """``problems`` is empty when everything was in order."""

    video: Line | None = None
    audio: Line | None = None
    problems: list[str] = field(default_factory=list)


def watch(source: str | Path, *, packets: int = 0) -> Seen:
    """Demux and decode a playlist, file or URL. ``packets``: read only so many (a playlist that still grows), else to the end.

    Problems: anything FFmpeg warns of, corrupt packets, times that do not rise, frames that cannot be decoded, missing files.
    """
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=False) as logs:
            seen = _watch(str(source), packets)
    finally:
        av.logging.set_level(before)
    said = {f"{name}: {text.strip()}" for _, name, text in logs}
    seen.problems += [f"FFmpeg: {line}" for line in sorted(said)]
    return seen


async def watch_apart(*sources: str | Path, packets: int = 0) -> list[Seen]:
    """``watch`` in another process: publishers in this one have their own times to keep, and decoding holds the GIL."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return [await loop.run_in_executor(pool, partial(watch, source, packets=packets)) for source in sources]


def _watch(source: str, most: int) -> Seen:
    seen = Seen()
    last: dict[int, int] = {}
    beeps = _Onsets()
    options = {"live_start_index": "0"} if source.endswith(".m3u8") else {}
    try:
        with av.open(source, options=options) as container:
            for stream in (*container.streams.video, *container.streams.audio):
                stream.codec_context.thread_count = 1
            for count, packet in enumerate(container.demux(*container.streams.video[:1], *container.streams.audio[:1])):
                if most and count >= most:
                    break
                if packet.is_corrupt:
                    seen.problems.append(f"packet {count} is corrupt")
                if packet.dts is not None:
                    if packet.dts <= last.get(packet.stream_index, packet.dts - 1):
                        seen.problems.append(f"time does not rise: {packet.dts} behind {last[packet.stream_index]}")
                    last[packet.stream_index] = packet.dts
                _take(seen, packet, beeps)
    except (av.FFmpegError, OSError) as error:
        seen.problems.append(f"cannot be read: {error!r}")
    if seen.audio:
        seen.audio.marks = beeps.found
    return seen


def _take(seen: Seen, packet: "av.Packet[Any]", beeps: "_Onsets") -> None:
    if packet.stream.type == "video":
        line = seen.video = seen.video or Line()
        for nal in nal_units(bytes(packet)):
            if nal[0] & 31 in SLICES:
                line.slices.append(hashlib.sha256(nal).digest())
    else:
        line = seen.audio = seen.audio or Line()
    try:
        frames = packet.decode()
    except av.FFmpegError as error:
        seen.problems.append(f"not decoded at {packet.pts}: {error!r}")
        return
    for frame in frames:
        assert isinstance(frame, (av.VideoFrame, av.AudioFrame))
        assert frame.time is not None
        if not line.frames:
            line.begin = frame.time
        line.frames += 1
        line.times.append(frame.time)
        if frame.is_corrupt:
            seen.problems.append(f"the picture at {frame.time:.3f} is corrupt")
        if isinstance(frame, av.VideoFrame):
            if (size := (frame.width, frame.height)) not in line.sizes[-1:]:
                line.sizes.append(size)
            if _white(frame):
                line.marks.append(frame.time)
            line.end = frame.time + _gap(line.times)
        else:
            beeps.hear(frame)
            line.end = frame.time + frame.samples / frame.sample_rate


def _gap(times: list[float]) -> float:
    """How long a picture is shown that nothing follows: as long as the one before."""
    return times[-1] - times[-2] if len(times) > 1 else 0.0


def _white(frame: av.VideoFrame) -> bool:
    plane = frame.planes[0]
    data = memoryview(bytes(plane))
    # A row in eight, and the middle of the row: the padding behind it is not picture.
    return all(min(data[row * plane.line_size : row * plane.line_size + frame.width : 16]) > WHITE for row in range(0, frame.height, 8))


class _Onsets:
    """Where it gets loud after it was quiet, to the sample."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self._loud_until = -1.0

    def hear(self, frame: av.AudioFrame) -> None:
        assert frame.time is not None
        sound = memoryview(bytes(frame.planes[0])).cast("f")[: frame.samples].tolist()
        if max(sound) < LOUD and min(sound) > -LOUD:
            return
        for number, value in enumerate(sound):
            if abs(value) >= LOUD:
                time = frame.time + number / frame.sample_rate
                if time - self._loud_until > QUIET_SECONDS:
                    self.found.append(time)
                self._loud_until = time


def offsets(flashes: list[float], beeps: list[float]) -> list[float]:
    """For each flash that has a beep within half a second: flash minus beep, seconds. A flash of two pictures counts once."""
    first = [time for before, time in pairwise([-1.0, *flashes]) if time - before > 0.5]
    pairs = []
    for flash in first:
        near = min(beeps, key=lambda beep: abs(beep - flash), default=None)
        if near is not None and abs(flash - near) < 0.5:
            pairs.append(flash - near)
    return pairs


def sync(flashes: list[float], beeps: list[float]) -> tuple[float, float, int]:
    """Mean and standard deviation of flash minus beep in seconds, and how many pairs there were."""
    pairs = offsets(flashes, beeps)
    return statistics.fmean(pairs), statistics.pstdev(pairs), len(pairs)


def slices_of(units: Iterable[Unit]) -> list[bytes]:
    """SHA-256 of each slice NAL unit that was published, in order."""
    return [hashlib.sha256(nal).digest() for unit in units for nal in nal_units(unit.data) if nal[0] & 31 in SLICES]


def not_in_order(sent: list[bytes], recorded: list[bytes]) -> str:
    """Empty if ``recorded`` is an unbroken stretch of ``sent``; else what is wrong with it."""
    if not recorded:
        return "nothing was recorded"
    if recorded[0] not in sent:
        return "the first recorded slice was never published"
    start = sent.index(recorded[0])
    for number, (ours, theirs) in enumerate(zip(recorded, sent[start:], strict=False)):
        if ours != theirs:
            place = sent.index(ours) - start if ours in sent else None
            return f"slice {number} of {len(recorded)} is " + (
                "never published" if place is None else f"number {place} of what was published"
            )
    if len(recorded) > len(sent) - start:
        return f"{len(recorded)} slices, but only {len(sent) - start} were published from there on"
    return ""


@dataclass(frozen=True)
class Entry:
    """One segment as its playlist lists it."""

    name: str
    seconds: float
    tags: dict[str, str]
    """the tags in front of it that belong to it alone"""


@dataclass(frozen=True)
class Playlist:
    """An index file, parsed with nothing of the product's own code."""

    text: str

    def tag(self, name: str) -> str:
        """The value of the first tag of that name, empty if there is none."""
        return next((line.partition(":")[2] for line in self.text.splitlines() if line.partition(":")[0] == f"#{name}"), "")

    @property
    def entries(self) -> list[Entry]:
        found, tags = [], {}
        for line in self.text.splitlines():
            if line.startswith("#"):
                name, _, value = line[1:].partition(":")
                tags[name] = value
            elif line:
                found.append(Entry(line, float(tags["EXTINF"].split(",")[0]), tags))
                tags = {}
        return found

    @property
    def seconds(self) -> float:
        return sum(entry.seconds for entry in self.entries)

    @property
    def closed(self) -> bool:
        return self.text.rstrip().endswith("#EXT-X-ENDLIST")


def playlist(path: Path) -> Playlist:
    return Playlist(path.read_text("utf-8"))


def playlists(folder: Path) -> Iterator[Path]:
    """All index files of a task, sorted."""
    return iter(sorted(folder.glob("*.m3u8")))
