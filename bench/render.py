"""``python -m bench.render``: what rendering a journal of single-stream recordings costs. See docs/benchmarks.md."""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from heapq import merge
from itertools import count
from pathlib import Path
from typing import Any

from av.audio.frame import AudioFrame

from bench import meter
from bench.people import clip
from rokuga.capture.recording import TICK_SECONDS
from rokuga.folders import Generation
from rokuga.journal.records import End, FileHeader, Frame, Params, Record, RoomEvent, Tick, TrackOpened, encode
from rokuga.journal.writer import FILE_NS
from rokuga.node.zygote import settle_garbage
from rokuga.publish.clip import AUDIO_CLOCK, OPUS_SAMPLES, Clip, Kind, Unit, clock_of
from rokuga.render import main as render
from rokuga.render.decode import SAMPLE, OpusDecoder
from rokuga.render.sound import aac_encoder

SECOND = 1_000_000_000
EPOCH, UTC = 1_000 * SECOND, 1_800_000_000 * SECOND
PARAMS = {"sdk_app_id": 1400000001, "room_id": "bench", "room_id_type": 0, "segment_seconds": 10}
LATE_NS = 1_000_000
"""From a frame's arrival to its append."""
SPEED = 10
"""A journal that grows does so this much faster than in life, and is polled that much more often: the work is the same."""


def records(sent: Clip, users: int, seconds: int, params: dict[str, Any] = PARAMS) -> Iterator[tuple[int, Record]]:
    """All records with their append times (ns since the epoch), in order.

    Users come 37.1 ms apart and each a little later than that: all sound alike, and at even distances some numbers of them would
    cancel each other out.
    """

    def track(number: int, kind: Kind, begin: int) -> Iterator[tuple[int, Record]]:
        clock = clock_of(kind)
        for unit in sent.rounds(kind):
            at = begin + unit.pts * SECOND // clock
            if at >= seconds * SECOND:
                return
            yield at + LATE_NS, _frame(number, unit, EPOCH + at)

    opened: list[tuple[int, Record]] = [(0, Params(1, params)), *((0, RoomEvent("joined", f"user {n + 1}", n)) for n in range(users))]
    tracks: list[Iterator[tuple[int, Record]]] = []
    for number in range(users):
        begin = SECOND + number * 37_100_000 + number**2 * 530_000
        for kind in ("video", "audio"):
            track_number = len(tracks) + 1
            codec, rate = ("h264", 90_000) if kind == "video" else ("opus", 48_000)
            opened.append((begin, TrackOpened(track_number, f"user {number + 1}", "main", kind, codec, rate, 0 if kind == "video" else 2)))
            tracks.append(track(track_number, kind, begin))
    ticks: Iterator[tuple[int, Record]] = ((s * SECOND, Tick()) for s in range(1, seconds))
    yield from merge(opened, ticks, *tracks, key=lambda item: item[0])
    yield seconds * SECOND, End(0, "deleted")


def _frame(track: int, unit: Unit, arrival_ns: int) -> Frame:
    return Frame(track, unit.pts, arrival_ns, arrival_ns, unit.key, unit.data)


def flushes(folder: Path, sent: Clip, users: int, seconds: int, params: dict[str, Any] = PARAMS) -> Iterator[tuple[int, Path, bytes]]:
    """The journal as capture writes it: when (ns since the epoch), to which file, what."""
    everything = records(sent, users, seconds, params)
    pending = next(everything, None)
    file = 0
    for number in count(1):
        at = number * int(TICK_SECONDS * SECOND)
        data = b""
        if at // FILE_NS + 1 > file:
            file += 1
            now = (file - 1) * FILE_NS
            data = FileHeader("bench", 0, file, EPOCH + now, UTC + now, EPOCH, UTC).encode()
        while pending is not None and pending[0] < at:
            data += encode(pending[1], EPOCH + pending[0])
            pending = next(everything, None)
        yield at, folder / f"{file:06d}.rj", data
        if pending is None:
            return


def write_journal(folder: Path, sent: Clip, users: int, seconds: int, params: dict[str, Any]) -> None:
    """A whole journal, in the generation's folder ``folder``."""
    journal = folder / "journal"
    journal.mkdir(parents=True)
    for _, path, data in flushes(journal, sent, users, seconds, params):
        with path.open("ab") as file:
            file.write(data)


def render_whole(folder: Path) -> float:
    """CPU seconds of a process that renders the generation in ``folder``, without starting Python."""
    return _told_by(_rendering(folder, render.POLL_SECONDS))["cpu"]


PARTS = {
    "decoding pictures": ("mix/tiles.py", ("give",)),
    "scaling": ("mix/tiles.py", ("_scaled",)),
    "painting the canvas": ("mix/canvas.py", ()),
    "encoding pictures": ("mix/video.py", ("encode", "rest")),
    "decoding sound": ("render/decode.py", ()),
    "adding, limiting, stretching sound": ("mix/bus.py", ()),
    "encoding sound": ("render/sound.py", ("_encode",)),
    "reading the journal": ("journal/reader.py", ()),
}
"""Of a mix: file and functions (none: all) in whose own code, or in library calls that they make, the time is spent"""
Where = tuple[str, int, str]


def profile_whole(folder: Path) -> list[tuple[str, float]]:
    """CPU seconds by part of a render process, the rest last."""
    out = folder / "profile"
    command = [sys.executable, "-m", "bench.render", "--child", str(folder), "--profile", str(out)]
    _told_by(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    found: dict[str, float] = {}
    for where, spent in _spent(pstats.Stats(str(out)).stats):  # type: ignore[attr-defined]
        part = next((name for name, (file, names) in PARTS.items() if _within(where, file, names)), "the rest")
        found[part] = found.get(part, 0.0) + spent
    rest = found.pop("the rest", 0.0)
    return [*sorted(found.items(), key=lambda item: -item[1]), ("the rest", rest)]


def _spent(stats: dict[Where, Any]) -> Iterator[tuple[Where, float]]:
    """Own time of Python's functions, and that of libraries' functions under who called them."""
    for where, (_, _, own, _, callers) in stats.items():
        if where[0] != "~" or not callers:
            yield where, own
        else:
            yield from ((caller, spent) for caller, (_, _, spent, _) in callers.items())


def _within(where: Where, file: str, names: tuple[str, ...]) -> bool:
    path, _, function = where
    return path.endswith(file) and (not names or function in names)


def _rendering(folder: Path, poll_seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.render", "--child", str(folder), "--poll", str(poll_seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _told_by(child: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = child.communicate(timeout=600)
    if child.returncode:
        raise SystemExit(f"bench.render: the child ended with {child.returncode}")
    told: dict[str, float] = json.loads(out.splitlines()[-1])
    return told


def child(folder: Path, poll_seconds: float, profile: Path | None) -> None:
    """Render that generation and say what it took, without starting Python."""
    settle_garbage()
    render.POLL_SECONDS = poll_seconds
    watcher = cProfile.Profile(time.process_time)
    began = time.process_time()
    if profile:
        watcher.enable()
    asyncio.run(render.run(Generation(folder)))
    if profile:
        watcher.dump_stats(profile)
    print(json.dumps({"cpu": time.process_time() - began, "private": meter.private_bytes(os.getpid())}))


def measure(folder: Path, sent: Clip, users: int, seconds: int, growing: bool) -> dict[str, float]:
    """CPU seconds and private bytes of one render, of a whole journal or of one that grows."""
    journal = folder / "journal"
    journal.mkdir(parents=True)
    whole = flushes(journal, sent, users, seconds)
    rendering = _rendering(folder, render.POLL_SECONDS / SPEED) if growing else None
    began = time.monotonic_ns()
    for at, path, data in whole:
        if growing:
            time.sleep(max(0, began + at // SPEED - time.monotonic_ns()) / 1e9)
        with path.open("ab") as file:
            file.write(data)
    return _told_by(rendering or _rendering(folder, render.POLL_SECONDS))


def codecs(sent: Clip) -> float:
    """CPU in % of a core of decoding and encoding the clip's sound, with as few calls as possible."""
    packets = [(unit.data, OPUS_SAMPLES) for unit in sent.audio]
    began = time.process_time()
    sound = OpusDecoder(1).decode(packets)
    frame = AudioFrame("fltp", "mono", len(sound) // SAMPLE)
    frame.sample_rate = AUDIO_CLOCK
    frame.planes[0].update(sound)
    aac_encoder(1).encode(frame)
    return 100 * (time.process_time() - began) / sent.seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.render", description=__doc__)
    parser.add_argument("--users", type=int, default=10, help="how many users are recorded")
    parser.add_argument("--seconds", type=int, default=120, help="length of the recording")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--profile", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--poll", type=float, default=render.POLL_SECONDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.poll, given.profile)
        return
    sent = clip()
    alone = [codecs(sent) for _ in range(given.rounds)]
    print(f"codecs: {meter.median(alone):.3f} ({min(alone):.3f}-{max(alone):.3f}) % of a core per user", flush=True)
    with tempfile.TemporaryDirectory(prefix="rokuga-bench-") as folder:
        for growing in (False, True):
            name = "growing journal" if growing else "whole journal"
            told = [measure(Path(folder) / f"{growing}-{turn}", sent, given.users, given.seconds, growing) for turn in range(given.rounds)]
            shares = [100 * t["cpu"] / given.seconds / given.users for t in told]
            private = max(t["private"] for t in told) / 1e6
            print(
                f"{name}: {meter.median(shares):.3f} ({min(shares):.3f}-{max(shares):.3f}) % of a core per user, {private:.1f} MB private",
                flush=True,
            )


if __name__ == "__main__":
    main()
