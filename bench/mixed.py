"""``python -m bench.mixed``: what a mixed recording costs, beside ffmpeg, GStreamer and a browser. See docs/benchmarks.md."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import check, composers, machine, meter, render
from bench.composers import Mix
from bench.machine import table
from bench.onscreen import OnScreen
from bench.ours import START_SECONDS, Ours
from bench.peer import gstreamer_version
from bench.people import Crowd, clip
from rokuga import clock, logs
from rokuga.demo.system import System
from rokuga.errors import RokugaError
from rokuga.folders import DataFolder
from rokuga.storage import spool
from rokuga.storage.spool import Segment

MIXES = {mix.tiles: mix for mix in (Mix(1, 1280, 720), Mix(2, 640, 480), Mix(4, 1280, 720), Mix(9, 1280, 720), Mix(25, 1280, 720))}
RENDER_GOAL, LIVE_GOAL, GSTREAMER_GOAL, BROWSER_GOAL, LAYERS_GOAL = 1.15, 1.35, 0.70, 0.50, 0.75
SHOWN = 0.90
"""Of the pictures that were published: a browser that shows fewer does not do the work."""
MOST = 25
SETTLE_SECONDS = 3.0
SEGMENT_SECONDS = 60.0
"""One of ten is finished within."""
LATE_SECONDS = 5.0
"""By which a render that keeps up may have fallen behind, or caught up, meanwhile."""
EDGE_SECONDS = 4.0
"""A recording begins when its first keyframe comes, and ends somewhere."""
OFFLINE = ("render", "ffmpeg", "GStreamer")
PACED, PACED_LAYERS = "ffmpeg -re", "ffmpeg -re, layers"
"""beside the room, at the pace of life; and beside the room whose users send layers, though it reads none of them"""


@dataclass(frozen=True)
class Options:
    tiles: tuple[int, ...]
    seconds: int
    warmup: float
    window: float
    rounds: int
    live_rounds: int
    browser: bool
    folder: Path


@dataclass
class Figures:
    """Of one mix, in % of a core: a value per round and contender. ``shown``: shares of the pictures that the browser showed."""

    mix: Mix
    cpu: dict[str, list[float]] = field(default_factory=dict)
    capture: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    rates: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def add(self, name: str, percent: float) -> None:
        self.cpu.setdefault(name, []).append(percent)
        print(f"{self.mix.name}: {name} {percent:.1f} % of a core", file=sys.stderr, flush=True)

    def of(self, name: str) -> float:
        return meter.median(self.cpu[name])

    def ratio(self, name: str, to: str) -> float | None:
        """None where one of them was not measured."""
        return self.of(name) / self.of(to) if name in self.cpu and to in self.cpu else None


def params(mix: Mix) -> dict[str, Any]:
    """What the journal says that is to be recorded."""
    return {**render.PARAMS, "record_mode": 2, "transcode": mix.transcode(), "layout": {"MixLayoutMode": 3, "RenderMode": 1}}


def check_files(figures: Figures, who: str, files: list[Path], seconds: float) -> None:
    """Pictures, sound and rates of what a contender has made; ``seconds`` at least."""
    told = []
    for kind, rate in (("video", figures.mix.fps), ("audio", 48000 / check.AAC_SAMPLES)):
        found = check.decode(f"{figures.mix.name} {who} {kind}", files, kind, rate)
        # A browser's screen is grabbed when it is; the others' pictures come from a clock that is exact.
        edge = round(0.02 * found.seconds * rate) if who == "browser" else check.EDGE
        wanted = figures.mix.bit_rate / 1000 if kind == "video" and who != "browser" else 0
        figures.problems += check.judge(found, seconds, rate, wanted, edge)
        told.append(f"{found.rate:.0f}")
    figures.rates.setdefault(who, []).append("+".join(told))


class Offline:
    """Contenders that need no room: each has all of its input when it begins."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._sent = clip()
        self._video, self._audio = composers.write_inputs(self._sent, options.seconds, options.folder)

    def measure(self, figures: Figures) -> None:
        for turn in range(self._options.rounds):
            for who in OFFLINE:
                folder = self._options.folder / f"{figures.mix.tiles}-{turn}-{who}"
                folder.mkdir()
                self._measure(figures, who, folder)

    def again(self, figures: Figures, turn: int) -> None:
        """ffmpeg once more, in turn with what a room costs: the machine may be quicker or slower by then."""
        folder = self._options.folder / f"{figures.mix.tiles}-{turn}-again"
        folder.mkdir()
        self._measure(figures, "ffmpeg", folder)

    def _measure(self, figures: Figures, who: str, folder: Path) -> None:
        cpu, files = self._ours(figures.mix, folder) if who == "render" else self._other(who, figures.mix, folder)
        figures.add(who, 100 * cpu / self._options.seconds)
        # Our users come one second after the beginning.
        check_files(figures, who, files, self._options.seconds - (2 if who == "render" else 0.1))

    def _ours(self, mix: Mix, folder: Path) -> tuple[float, list[Path]]:
        render.write_journal(folder, self._sent, mix.tiles, self._options.seconds, params(mix))
        cpu = render.render_whole(folder)
        names = [entry.name for _, entry in spool.read_manifest(folder / "spool") if isinstance(entry, Segment)]
        return cpu, [folder / "spool" / name for name in names]

    def _other(self, who: str, mix: Mix, folder: Path) -> tuple[float, list[Path]]:
        make = composers.ffmpeg if who == "ffmpeg" else composers.gstreamer
        cpu = composers.run(make(mix, self._video, self._audio, folder), folder / "said.log")
        return cpu, sorted(folder.glob("*.ts"), key=lambda path: (len(path.name), path.name))

    def profile(self, mix: Mix) -> list[tuple[str, float]]:
        """Where our render's time goes, in % of a core."""
        folder = self._options.folder / f"{mix.tiles}-profile"
        render.write_journal(folder, self._sent, mix.tiles, self._options.seconds, params(mix))
        return [(name, 100 * spent / self._options.seconds) for name, spent in render.profile_whole(folder)]


class Live:
    """Contenders that record a room, and ffmpeg beside it: on the same busy machine, at the same pace, but from files."""

    def __init__(self, options: Options, offline: Offline, ours: Ours, system: System) -> None:
        self._options = options
        self._offline = offline
        self._ours = ours
        self._system = system
        inputs = options.folder / "paced"
        inputs.mkdir()
        self._video, self._audio = composers.write_inputs(clip(), options.warmup + options.window + EDGE_SECONDS, inputs)

    async def measure(self, figures: Figures) -> None:
        room, mix = f"mixed {figures.mix.tiles}", figures.mix
        async with Crowd(self._system.janus, room) as crowd:
            await crowd.grow(mix.tiles)
            for turn in range(self._options.live_rounds):
                await self._task(room, figures, "live")
                await self._ffmpeg(figures, PACED, self._options.folder / f"{mix.tiles}-{turn}-paced")
                if self._options.browser:
                    await self._screen(room, crowd.users, figures, self._options.folder / f"{mix.tiles}-{turn}-browser")
        if mix.tiles == MOST:
            for turn in range(self._options.live_rounds):
                await asyncio.to_thread(self._offline.again, figures, turn)
                layered = f"{room} layers {turn}"
                async with Crowd(self._system.janus, layered, layered=True) as crowd:
                    await crowd.grow(mix.tiles)
                    await self._task(layered, figures, "live, layers")
                    await self._ffmpeg(figures, PACED_LAYERS, self._options.folder / f"{mix.tiles}-{turn}-layers-paced")

    async def _window(self, figures: Figures) -> None:
        load = meter.Load()
        await asyncio.sleep(self._options.window)
        figures.busy.append(load.busy())

    async def _task(self, room: str, figures: Figures, who: str) -> None:
        mix, ours = figures.mix, self._ours
        await asyncio.sleep(SETTLE_SECONDS)
        layout = {"MixLayoutMode": 3, "RenderMode": 1}
        task_id = await ours.create(room, mode=2, MixTranscodeParams=mix.transcode(), MixLayoutParams=layout)
        await self._until_started(task_id)
        await asyncio.sleep(self._options.warmup)
        used = await self._segments(task_id, figures)
        await ours.delete(task_id)
        if lost := ours.lost(task_id):
            figures.problems.append(f"{mix.name} {who}: {lost} packets lost")
        if who == "live":
            figures.capture.append(used["capture"])
        figures.add(who, sum(used.values()))
        ((_, _, files),) = ours.tracks(task_id)
        await asyncio.to_thread(check_files, figures, who, files, self._options.warmup + self._options.window - EDGE_SECONDS)

    async def _segments(self, task_id: str, figures: Figures) -> dict[str, float]:
        """What capture and render take of a core, from the end of a segment to that of another, a window of media later.

        Render works a segment at a time and may be behind: a window of the clock might have a piece of work too few, or too many.
        """
        made = len(self._made(task_id))
        await self._until_made(task_id, made + 1)
        load, begin, before = meter.Load(), clock.monotonic_ns(), self._ours.usage(task_id)
        first = made = len(self._made(task_id))
        while sum(seconds := self._made(task_id)[first:]) < self._options.window:
            made += 1
            await self._until_made(task_id, made)
        after, elapsed = self._ours.usage(task_id), (clock.monotonic_ns() - begin) / 1e9
        figures.busy.append(load.busy())
        late = elapsed - sum(seconds)
        if abs(late) > LATE_SECONDS:
            figures.problems.append(f"{figures.mix.name}: render took {elapsed:.0f} s for segments of {sum(seconds):.0f} s")
        spent = {role: 100 * (after[role] - before.get(role, 0.0)) for role in ("capture", "render")}
        return {"capture": spent["capture"] / elapsed, "render": spent["render"] / sum(seconds)}

    def _made(self, task_id: str) -> list[float]:
        """Length of each segment that render has finished, in s."""
        entries = (entry for _, entry in spool.read_manifest(self._ours.generation(task_id).spool))
        return [entry.duration for entry in entries if isinstance(entry, Segment)]

    async def _until_made(self, task_id: str, count: int) -> None:
        async with asyncio.timeout(SEGMENT_SECONDS):
            while len(self._made(task_id)) < count:
                await asyncio.sleep(0.1)

    async def _until_started(self, task_id: str) -> None:
        folder = self._ours.generation(task_id).folder
        async with asyncio.timeout(START_SECONDS):
            while not all((folder / f"{name}.pid").exists() for name in ("capture", "render")):
                await asyncio.sleep(0.1)

    async def _ffmpeg(self, figures: Figures, who: str, folder: Path) -> None:
        folder.mkdir()
        await asyncio.sleep(SETTLE_SECONDS)
        process = composers.start(composers.ffmpeg(figures.mix, self._video, self._audio, folder, paced=True), folder / "said.log")
        try:
            await asyncio.sleep(self._options.warmup)
            before = meter.below(process.pid)
            await self._window(figures)
            figures.add(who, 100 * (meter.below(process.pid) - before) / self._options.window)
            await asyncio.to_thread(composers.finish, PACED, process, folder / "said.log")
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        files = sorted(folder.glob("*.ts"), key=lambda path: (len(path.name), path.name))
        await asyncio.to_thread(check_files, figures, who, files, self._options.warmup + self._options.window)

    async def _screen(self, room: str, users: list[str], figures: Figures, folder: Path) -> None:
        async with OnScreen(self._system.janus, room, users, figures.mix, folder) as screen:
            await asyncio.sleep(self._options.warmup)
            cpu, shown = screen.cpu(), await screen.shown()
            await self._window(figures)
            figures.add("browser", 100 * (screen.cpu() - cpu) / self._options.window)
            published = self._options.window * composers.LOOK.fps * len(users)
            figures.shown.append((await screen.shown() - shown) / published)
        files = sorted(folder.glob("*.ts"), key=lambda path: (len(path.name), path.name))
        await asyncio.to_thread(check_files, figures, "browser", files, self._options.window)


def _told(values: list[float]) -> str:
    if not values:
        return "-"
    text = f"{meter.median(values):.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):.1f}-{max(values):.1f})"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def report(results: list[Figures], profile: list[tuple[str, float]]) -> bool:
    """Print everything; whether all goals are reached and all outputs were right."""
    print("CPU in % of a core: median (range) of the rounds. live: capture and render together.")
    names = ("render", "ffmpeg", "GStreamer", "live", PACED, "browser", "live, layers", PACED_LAYERS)
    rows = [["tiles", *names, "of live: capture", "browser shows %", "machine busy %"]]
    for f in results:
        busy = f"{100 * max(f.busy):.0f}" if f.busy else "-"
        shown = f"{100 * meter.median(f.shown):.0f}" if f.shown else "-"
        rows.append([f.mix.name, *(_told(f.cpu.get(name, [])) for name in names), _told(f.capture), shown, busy])
    table(rows)
    pairs = [("render", "ffmpeg"), ("render", "GStreamer"), ("live", "ffmpeg"), ("live", PACED), ("live", "browser")]
    pairs += [("live, layers", "ffmpeg"), ("live, layers", PACED_LAYERS)]
    rows = [["tiles", *(f"{who} / {to}" for who, to in pairs)]]
    rows += [[f.mix.name, *(_ratio(f.ratio(*pair)) for pair in pairs)] for f in results]
    table(rows)
    print("Bit rates of what was recorded, picture+sound, kb/s:")
    for f in results:
        print(f"  {f.mix.name}: " + "; ".join(f"{who} {', '.join(rates)}" for who, rates in f.rates.items()))
    print()
    if profile:
        print(f"Where render's time goes ({results[-1].mix.name}), % of a core, under a profiler:")
        for name, percent in profile:
            print(f"  {percent:5.1f}  {name}")
        print()
    problems = [problem for f in results for problem in f.problems]
    for problem in problems:
        print(f"WRONG: {problem}")
    reached = True
    for text, value, goal in _goals(results):
        good = value is not None and value <= goal
        reached &= good
        print(f"{'reached' if good else 'MISSED '}  {text} {_ratio(value)}, goal {goal:.2f}")
    return reached and not problems


def _goals(results: list[Figures]) -> Iterator[tuple[str, float | None, float]]:
    for f in results:
        yield f"{f.mix.name}: render to ffmpeg", f.ratio("render", "ffmpeg"), RENDER_GOAL
        if "live" in f.cpu:
            yield f"{f.mix.name}: live to ffmpeg", f.ratio("live", "ffmpeg"), LIVE_GOAL
        if f.mix.tiles == MOST:
            yield f"{f.mix.name}: render to GStreamer", f.ratio("render", "GStreamer"), GSTREAMER_GOAL
            if "live, layers" in f.cpu:
                yield f"{f.mix.name}: live with layers to ffmpeg without", f.ratio("live, layers", "ffmpeg"), LAYERS_GOAL
    able = [f for f in results if f.shown and meter.median(f.shown) >= SHOWN]
    if able:
        largest = able[-1]
        text = f"{largest.mix.name}, the largest at which the browser shows {100 * SHOWN:.0f} %: live to browser"
        yield text, largest.ratio("live", "browser"), BROWSER_GOAL


async def bench(options: Options) -> bool:
    """Raises RokugaError when a contender does not work at all."""
    data = options.folder / "data"
    logs.configure("bench", DataFolder(data).logs)
    what = f"{options.seconds} s of journal, {options.rounds} rounds; live: warm-up {options.warmup:.0f} s, window {options.window:.0f} s"
    await machine.describe(gstreamer_version(), f"{what}, {options.live_rounds} rounds")
    offline = await asyncio.to_thread(Offline, options)
    results = [Figures(MIXES[tiles]) for tiles in options.tiles]
    for figures in results:
        await asyncio.to_thread(offline.measure, figures)
    profile = await asyncio.to_thread(offline.profile, results[-1].mix)
    if options.live_rounds:
        async with System(data, {"ROKUGA_SERVER__PORT": "0"}) as system:
            live = Live(options, offline, Ours(system, data), system)
            for figures in results:
                await live.measure(figures)
    return report(results, profile)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="bench.mixed", description=__doc__)
    parser.add_argument("--tiles", default="1,2,4,9,25", help="numbers of users in the picture, of 1, 2, 4, 9 and 25")
    parser.add_argument("--seconds", type=int, default=60, help="length of what is rendered from files; a multiple of 10")
    parser.add_argument("--rounds", type=int, default=3, help="how often the contenders that work from files alternate")
    parser.add_argument("--warmup", type=float, default=15, help="seconds before each live window")
    parser.add_argument("--window", type=float, default=60, help="seconds that are measured live; a multiple of 10")
    parser.add_argument("--live-rounds", type=int, default=3, help="how often the live contenders alternate; 0: not at all")
    parser.add_argument("--no-browser", action="store_true", help="leave the browser out")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rokuga-bench-"))
    tiles = tuple(sorted(int(n) for n in given.tiles.split(",")))
    if unknown := set(tiles) - set(MIXES):
        parser.error(f"--tiles knows 1, 2, 4, 9 and 25, not {', '.join(map(str, sorted(unknown)))}")
    return Options(tiles, given.seconds, given.warmup, given.window, given.rounds, given.live_rounds, not given.no_browser, folder)


def main() -> None:
    options = _options()
    print(f"all files are below {options.folder}", file=sys.stderr)
    try:
        reached = asyncio.run(bench(options))
    except RokugaError as error:
        sys.exit(f"bench.mixed: {error}")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
