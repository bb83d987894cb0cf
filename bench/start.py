"""``python -m bench.start``: from Create's answer to the first media in the journal. See docs/benchmarks.md."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, meter
from bench.ours import START_SECONDS, Ours
from bench.people import Crowd
from rokuga import logs
from rokuga.demo.system import System
from rokuga.errors import JournalError, RokugaError
from rokuga.folders import DataFolder
from rokuga.journal.reader import Entry, JournalReader
from rokuga.journal.records import Frame

ROOM = "bench"
GOAL_SECONDS = 1.0
LOOK_SECONDS = 0.05


def first_media_ns(journal: Path) -> int:
    """When the first frame was appended (monotonic ns), 0 if there is none yet."""
    try:
        with JournalReader(journal) as reader:
            frames = (e.monotonic_ns for e in reader.read() if isinstance(e, Entry) and isinstance(e.record, Frame))
            return next(frames, 0)
    except (OSError, JournalError):
        return 0  # it is not there yet


async def one(ours: Ours) -> float:
    """Seconds of one start; its recording is ended."""
    task_id = await ours.create(ROOM)
    # The same clock as the journal's: CLOCK_MONOTONIC is one for all processes of a machine.
    answered = time.monotonic_ns()
    async with asyncio.timeout(START_SECONDS):
        while not (came := first_media_ns(ours.generation(task_id).journal)):
            await asyncio.sleep(LOOK_SECONDS)
    await ours.delete(task_id)
    return (came - answered) / 1e9


async def bench(count: int, users: int, folder: Path) -> bool:
    """Whether the goal is reached. Raises RokugaError."""
    data = folder / "data"
    logs.configure("bench", DataFolder(data).logs)
    await machine.describe(f"{count} starts one after the other, {users} user(s) in the room")
    seconds = []
    async with System(data, {"ROKUGA_SERVER__PORT": "0"}) as system, Crowd(system.janus, ROOM) as crowd:
        await crowd.grow(users)
        ours = Ours(system, data)
        for _ in range(count):
            seconds.append(await one(ours))
    p50, p95 = (meter.percentile(seconds, share) for share in (0.50, 0.95))
    print("From the answer to CreateCloudRecording to the first frame in the journal, ms (below 0: it was there before the answer):")
    print(f"  p50 {1000 * p50:.0f}   p95 {1000 * p95:.0f}   least {1000 * min(seconds):.0f}   most {1000 * max(seconds):.0f}\n")
    reached = p95 <= GOAL_SECONDS
    print(f"{'reached' if reached else 'MISSED '}  p95 {p95:.2f} s, goal {GOAL_SECONDS:.0f} s")
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.start", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="how many recordings are started")
    parser.add_argument("--users", type=int, default=1, help="how many users publish in the room")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rokuga-bench-"))
    print(f"all files are below {folder}", file=sys.stderr)
    try:
        reached = asyncio.run(bench(given.count, given.users, folder))
    except RokugaError as error:
        sys.exit(f"bench.start: {error}")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
