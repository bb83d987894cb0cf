"""``python -m bench.single``: what recording a user costs, beside GStreamer and Janus' own recording. See docs/benchmarks.md."""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench import check, machine, meter, mjr
from bench.machine import table
from bench.ours import START_SECONDS, Ours
from bench.peer import GStreamer, gstreamer_version
from bench.people import Crowd, clip, rates
from rokuga import logs
from rokuga.demo.system import System
from rokuga.errors import RokugaError
from rokuga.folders import DataFolder

GOAL_RATIO, GOAL_CAPTURE, GOAL_BYTES, GOAL_USERS = 0.40, 0.5, 60e6, 10
SEGMENT_SECONDS = 10.0
ENDS_SECONDS = 4.0
"""A recording begins when its first keyframe comes and may end in the middle of a picture group."""
SETTLE_SECONDS = 3.0
PEER_EDGE = 8
"""AAC frames: ``webrtcbin`` moves a user's streams by up to a tenth of a second at the start, to align them."""
ROLES = ("capture", "render", "node", "rest")


@dataclass(frozen=True)
class Options:
    users: tuple[int, ...]
    warmup: float
    window: float
    rounds: int
    mjr: bool
    folder: Path


@dataclass
class Figures:
    """Of one number of users, a value per round; CPU in % of a core per user, memory in bytes per task."""

    users: int
    ours: dict[str, list[float]] = field(default_factory=lambda: {role: [] for role in ROLES})
    peer: list[float] = field(default_factory=list)
    lost: int = 0
    memory: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rates: dict[str, list[float]] = field(default_factory=dict)
    mjr_live: float = 0.0
    mjr_after: float = 0.0

    @property
    def totals(self) -> list[float]:
        return [sum(values) for values in zip(*self.ours.values(), strict=True)]

    @property
    def ratio(self) -> float:
        return meter.median(self.totals) / meter.median(self.peer)


class Bench:
    """One run over all numbers of users."""

    def __init__(self, options: Options, ours: Ours, system: System) -> None:
        self._options = options
        self._ours = ours
        self._system = system
        self._clip = rates(clip())
        self._channels = "native"

    async def run(self) -> list[Figures]:
        found = []
        for number, users in enumerate(self._options.users):
            room = f"bench {number}"
            recordings = self._options.folder / f"mjr-{users}"
            async with mjr.open_room(self._system.janus, room, recordings) as switch, Crowd(self._system.janus, room) as crowd:
                await crowd.grow(users)
                figures = Figures(users)
                for turn in range(self._options.rounds):
                    await asyncio.sleep(SETTLE_SECONDS)
                    record = await self._with_task(room, figures)
                    await asyncio.sleep(SETTLE_SECONDS)
                    idle = await self._with_peer(room, crowd.users, figures, self._options.folder / f"gstreamer-{users}-{turn}")
                    for role in ROLES:
                        figures.ours[role].append(self._share(record.get(role, 0.0) - idle.get(role, 0.0), users))
                    _progress(figures, turn)
                _compare_sound(figures)
                if self._options.mjr:
                    await self._with_mjr(switch, recordings, figures)
            found.append(figures)
        return found

    def _share(self, cpu_seconds: float, users: int) -> float:
        """In % of a core per user, over a window."""
        return 100 * cpu_seconds / self._options.window / users

    async def _window(self, figures: Figures) -> None:
        load = meter.Load()
        await asyncio.sleep(self._options.window)
        figures.busy.append(load.busy())

    async def _with_task(self, room: str, figures: Figures) -> dict[str, float]:
        """Record with Rokuga: CPU seconds of all its processes in the window, by role."""
        ours = self._ours
        task_id = await ours.create(room)
        await _until_started(ours, task_id)
        await asyncio.sleep(self._options.warmup)
        before = ours.usage(task_id)
        await self._window(figures)
        after = ours.usage(task_id)
        figures.memory.append(sum(meter.private_bytes(pid) for pid in ours.pids(task_id).values()))
        await ours.delete(task_id)
        figures.lost += ours.lost(task_id)
        tracks = [(name, kind, files) for name, kind, files in ours.tracks(task_id)]
        await asyncio.to_thread(self._check, "ours", tracks, figures, 0.0)
        return {role: after[role] - before.get(role, 0.0) for role in after}

    async def _with_peer(self, room: str, users: list[str], figures: Figures, folder: Path) -> dict[str, float]:
        """Record with GStreamer, and what Rokuga takes meanwhile without a task."""
        async with GStreamer(self._system.janus, room, users, folder, SEGMENT_SECONDS, self._channels) as peer:
            await asyncio.sleep(self._options.warmup)
            before, cpu = self._ours.usage(), meter.cpu(peer.pid)
            await self._window(figures)
            after = self._ours.usage()
            figures.peer.append(self._share(meter.cpu(peer.pid) - cpu, figures.users))
        tracks = []
        for user in users:
            for kind in ("video", "audio"):
                # The last segment ends in the middle of something.
                place = user.replace(" ", "_")
                files = sorted(folder.glob(f"{place}-{kind}-*.ts"))[:-1]
                tracks.append((f"GStreamer {user} {kind}", kind, check.join(files, folder / f"{place}-{kind}.ts")))
        await asyncio.to_thread(self._check, "GStreamer", tracks, figures, SEGMENT_SECONDS + 2)
        return {role: after[role] - before.get(role, 0.0) for role in after}

    def _check(self, who: str, tracks: list[tuple[str, str, list[Path]]], figures: Figures, missing: float) -> None:
        """Decode everything; GStreamer's sound gets as many channels as ours has."""
        least = self._options.warmup + self._options.window - ENDS_SECONDS - missing
        if len(tracks) != 2 * figures.users:
            figures.problems.append(f"{who}: {len(tracks)} tracks, not {2 * figures.users}")
        for name, kind, files in tracks:
            frame_rate = self._clip.pictures if kind == "video" else 48000 / check.AAC_SAMPLES
            found = check.decode(name, files, kind, frame_rate)
            if who == "ours" and kind == "audio":
                self._channels = str(found.channels)
            edge = check.EDGE if who == "ours" else PEER_EDGE
            figures.problems += check.judge(found, least, frame_rate, self._clip.video if kind == "video" else 0, edge)
            figures.rates.setdefault(f"{who} {kind}", []).append(found.rate)

    async def _with_mjr(self, switch: mjr.Room, folder: Path, figures: Figures) -> None:
        """Janus without and with recording, nobody subscribing; then the conversion."""
        used = []
        for on in (False, True):
            if on:
                await switch.record(True)
            await asyncio.sleep(SETTLE_SECONDS)
            before = meter.cpu(self._ours.janus)
            await self._window(figures)
            used.append(meter.cpu(self._ours.janus) - before)
        await asyncio.sleep(SETTLE_SECONDS)
        await switch.record(False)
        await asyncio.sleep(1)
        made, cpu = await mjr.convert_all(folder)
        if len(made) != 2 * figures.users:
            figures.problems.append(f"Janus recorded {len(made)} files, not {2 * figures.users}")
        figures.mjr_live = self._share(used[1] - used[0], figures.users)
        recorded = self._options.window + 2 * SETTLE_SECONDS
        figures.mjr_after = 100 * cpu / recorded / figures.users
        for path in made:
            kind = "audio" if path.suffix == ".opus" else "video"
            rate = self._clip.pictures if kind == "video" else 50
            found = await asyncio.to_thread(check.decode, f"Janus {path.name}", [path], kind, rate, True)
            figures.problems += check.judge(found, self._options.window - ENDS_SECONDS, rate, self._clip.video if kind == "video" else 0)


async def _until_started(ours: Ours, task_id: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while not all(p.with_suffix(".pid").exists() for p in map(ours.generation(task_id).folder.joinpath, ("capture", "render"))):
            await asyncio.sleep(0.1)


def _compare_sound(figures: Figures) -> None:
    """What the AAC coder makes of 64 kb/s depends on the sound and on FFmpeg's version; both must make nearly the same of it."""
    ours, peer = (meter.median(figures.rates[f"{who} audio"]) for who in ("ours", "GStreamer"))
    if abs(ours - peer) > check.TOLERANCE * (ours + peer) / 2:
        figures.problems.append(f"sound of {ours:.0f} kb/s and of {peer:.0f} kb/s cannot be compared")


def _progress(figures: Figures, turn: int) -> None:
    print(
        f"{figures.users} users, round {turn + 1}: ours {figures.totals[-1]:.2f} %, GStreamer {figures.peer[-1]:.2f} % of a core per user",
        file=sys.stderr,
        flush=True,
    )


def _told(values: list[float], digits: int = 2) -> str:
    """Median, and the range if there is one."""
    text = f"{meter.median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def report(results: list[Figures], options: Options) -> bool:
    """Print everything; whether all goals are reached and all outputs were right."""
    print("CPU in % of a core per user: median (range) of the rounds. node, rest: with the task minus without.")
    rows = [["users", "capture", "render", "node", "rest", "ours", "GStreamer", "ratio", "lost", "memory MB", "machine busy %"]]
    for f in results:
        parts = [_told(f.ours[role]) for role in ROLES]
        busy = f"{100 * max(f.busy):.0f}"
        memory = _told([m / 1e6 for m in f.memory], 1)
        rows.append([str(f.users), *parts, _told(f.totals), _told(f.peer), f"{f.ratio:.2f}", str(f.lost), memory, busy])
    table(rows)
    if options.mjr:
        print("Janus' own recording (not live; sound stays Opus), % of a core per user: extra CPU of Janus, then of janus-pp-rec.")
        rows = [["users", "Janus", "janus-pp-rec", "both"]]
        rows += [[str(f.users), *(f"{v:.2f}" for v in (f.mjr_live, f.mjr_after, f.mjr_live + f.mjr_after))] for f in results]
        table(rows)
    print("Bit rates of what was recorded, kb/s, of all tracks:")
    for name in sorted({name for f in results for name in f.rates}):
        values = [v for f in results for v in f.rates.get(name, [])]
        print(f"  {name}: {_told(values, 0)}")
    print()
    problems = [problem for f in results for problem in f.problems]
    for problem in problems:
        print(f"WRONG: {problem}")
    return _goals(results) and not problems


def _goals(results: list[Figures]) -> bool:
    at = next((f for f in results if f.users == GOAL_USERS), results[-1])
    capture, memory = meter.median(at.ours["capture"]), max(m for f in results for m in f.memory)
    lost = sum(f.lost for f in results)
    goals = [
        (f"ratio to GStreamer at {at.users} users {at.ratio:.2f}, goal {GOAL_RATIO:.2f}", at.ratio <= GOAL_RATIO),
        (f"capture at {at.users} users {capture:.2f} % of a core per user, goal {GOAL_CAPTURE}", capture <= GOAL_CAPTURE),
        (f"packets lost {lost}, goal 0", lost == 0),
        (f"private memory of a task at most {memory / 1e6:.1f} MB, goal {GOAL_BYTES / 1e6:.0f}", memory <= GOAL_BYTES),
    ]
    for text, reached in goals:
        print(f"{'reached' if reached else 'MISSED '}  {text}")
    return all(reached for _, reached in goals)


async def bench(options: Options) -> bool:
    """Raises RokugaError when a contender does not work at all."""
    data = options.folder / "data"
    logs.configure("bench", DataFolder(data).logs)
    await machine.describe(gstreamer_version(), f"warm-up {options.warmup:.0f} s, window {options.window:.0f} s, {options.rounds} rounds")
    async with System(data, {"ROKUGA_SERVER__PORT": "0"}) as system:
        results = await Bench(options, Ours(system, data), system).run()
    return report(results, options)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="bench.single", description=__doc__)
    parser.add_argument("--users", default="1,2,5,10,20", help="numbers of users in a room, one measurement each")
    parser.add_argument("--warmup", type=float, default=15, help="seconds before each window")
    parser.add_argument("--window", type=float, default=60, help="seconds that are measured; a multiple of 10, the length of a segment")
    parser.add_argument("--rounds", type=int, default=3, help="how often the contenders alternate")
    parser.add_argument("--no-mjr", action="store_true", help="leave Janus' own recording out")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rokuga-bench-"))
    users = tuple(int(n) for n in given.users.split(","))
    return Options(users, given.warmup, given.window, given.rounds, not given.no_mjr, folder)


def main() -> None:
    options = _options()
    print(f"all files are below {options.folder}", file=sys.stderr)
    try:
        reached = asyncio.run(bench(options))
    except RokugaError as error:
        sys.exit(f"bench.single: {error}")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
