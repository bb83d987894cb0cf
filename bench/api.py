"""``python -m bench.api``: how fast the API answers while recordings run, and 10,000 Modify calls on one task. See docs/benchmarks.md."""

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine, meter
from bench.lean import LeanClient
from bench.ours import BUCKET
from rokuga import clock, logs
from rokuga.api.usersig import make
from rokuga.client import CallError, Client
from rokuga.demo.system import System
from rokuga.errors import RokugaError
from rokuga.folders import DataFolder
from rokuga.running import read as read_run

APPS = (1400000001, 1400000002)
"""the generated configuration's, and one more with a SecretId of its own"""
USER_SIG_KEY = "0123456789abcdef0123456789abcdef"
SECRETS = ("bench-secret-1", "bench-secret-2")
STORAGE = {"Vendor": 0, "Region": "local", "Bucket": BUCKET, "AccessKey": "none", "SecretKey": "none"}
IDLE_SECONDS = 86400
"""MaxIdleTime: the rooms are empty"""
DESCRIBES, MODIFIES = 15.0, 15.0
"""calls a second with each SecretId"""
PAIRS = 2.0
"""Create and Delete, a second, in all"""
LIFE_SECONDS = 1.5
"""of a recording that is created and deleted"""
GOAL_P99 = 0.3
GOAL_CREATE = 1.0
AT_A_TIME = 4
"""Modify calls on one task"""
SETTLE_SECONDS = 5.0


@dataclass
class Answers:
    """Seconds of each call by action, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)

    async def time(self, action: str, call: Awaitable[object]) -> object:
        """Await a call that is not tried again; None if it failed."""
        began = time.monotonic()
        try:
            return await call
        except CallError as error:
            self.errors[f"{action}: {error.code}"] += 1
            return None
        finally:
            self.seconds[action].append(time.monotonic() - began)


@dataclass
class Caller:
    """One customer: an app with a SecretId."""

    client: Client
    app: int
    tasks: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def create(self) -> str:
        """A single-stream recording of an empty room of its own."""
        number = next(self.numbers)
        bot = f"bot_{number}"
        sig = make(self.app, bot, USER_SIG_KEY, clock.utc_ms() // 1000, 86400)
        return await self.client.create(f"quiet {self.app} {number}", bot, sig, STORAGE, {"MaxIdleTime": IDLE_SECONDS})


@dataclass(frozen=True)
class Rates:
    """Calls a second: Describe and Modify with each SecretId, pairs of Create and Delete in all."""

    describes: float = DESCRIBES
    modifies: float = MODIFIES
    pairs: float = PAIRS


async def paced(per_second: float, until: float, call: Callable[[], Awaitable[object]]) -> None:
    """Begin so many calls a second, evenly, whether those before are answered or not; until all are."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        due = loop.time()
        while per_second and due < until:
            await asyncio.sleep(due - loop.time())
            group.create_task(_awaited(call))
            due += 1 / per_second


async def _awaited(call: Callable[[], Awaitable[object]]) -> None:
    await call()


async def load(callers: list[Caller], answers: Answers, seconds: float, rates: Rates) -> None:
    """What the goals are about, with the rates that are."""
    until = asyncio.get_running_loop().time() + seconds
    creators = itertools.cycle(callers)

    async def pair() -> None:
        caller = next(creators)
        task_id = await answers.time("Create", caller.create())
        if task_id is not None:
            await asyncio.sleep(LIFE_SECONDS)
            await answers.time("Delete", caller.client.delete(str(task_id)))

    async with asyncio.TaskGroup() as group:
        group.create_task(paced(rates.pairs, until, pair))
        for caller in callers:
            tasks, numbers = itertools.cycle(caller.tasks), itertools.count()

            async def describe(caller: Caller = caller, tasks: Iterator[str] = tasks) -> object:
                return await answers.time("Describe", caller.client.describe(next(tasks)))

            async def modify(caller: Caller = caller, tasks: Iterator[str] = tasks, numbers: Iterator[int] = numbers) -> object:
                lists = {"UnSubscribeVideoUserIds": [f"nobody_{next(numbers)}"]}
                return await answers.time("Modify", caller.client.modify(next(tasks), lists))

            group.create_task(paced(rates.describes, until, describe))
            group.create_task(paced(rates.modifies, until, modify))


async def modify_often(caller: Caller, answers: Answers, count: int) -> None:
    """So many Modify calls on one task, AT_A_TIME of them under way."""
    numbers = iter(range(count))

    async def on() -> None:
        for number in numbers:
            lists = {"UnSubscribeVideoUserIds": [f"nobody_{number}"]}
            await answers.time("Modify", caller.client.modify(caller.tasks[0], lists))

    await asyncio.gather(*(on() for _ in range(AT_A_TIME)))


def show(answers: Answers) -> None:
    print(f"{'':10}{'calls':>8}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'most ms':>10}")
    for action, seconds in sorted(answers.seconds.items()):
        shares = [f"{1000 * meter.percentile(seconds, share):10.0f}" for share in (0.5, 0.95, 0.99)]
        print(f"{action:10}{len(seconds):8}{''.join(shares)}{1000 * max(seconds):10.0f}")
    for error, count in answers.errors.most_common():
        print(f"  {count} x {error}")
    print(flush=True)


def verdict(goals: Iterable[tuple[bool, str]]) -> bool:
    """Print which goals are reached; whether all are."""
    reached = True
    for well, words in goals:
        print(f"{'reached' if well else 'MISSED '}  {words}")
        reached &= well
    return reached


@asynccontextmanager
async def callers_of(system: System) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as stack:
        callers = []
        for app in system.config.apps:
            client = LeanClient(system.api, app.secret_id, app.secret_key.get_secret_value(), app.sdk_app_id)
            callers.append(Caller(await stack.enter_async_context(client), app.sdk_app_id))
        yield callers


async def bench(seconds: float, tasks: int, modifies: int, rates: Rates, folder: Path) -> bool:
    """Whether the goals are reached. Raises RokugaError."""
    data = folder / "data"
    logs.configure("bench", DataFolder(data).logs)
    await machine.describe(f"{tasks} recordings of empty rooms, {seconds:.0f} s, then {modifies} Modify calls on one of them")
    async with System(data, environ()) as system, callers_of(system) as callers:
        for number in range(tasks):
            caller = callers[number % len(callers)]
            caller.tasks.append(await caller.create())
        await asyncio.sleep(SETTLE_SECONDS)
        pids: dict[str, int] = read_run(data)["pids"]
        before, began, answers, busy = usage(pids), time.monotonic(), Answers(), meter.Load()
        await load(callers, answers, seconds, rates)
        after, took = usage(pids), time.monotonic() - began
        show(answers)
        shares = ", ".join(f"{part} {100 * (after[part] - before[part]) / took:.0f} %" for part in after)
        print(f"machine busy {100 * busy.busy():.0f} % of all cores; of one core: {shares}\n")
        often = Answers()
        began = time.monotonic()
        await modify_often(callers[0], often, modifies)
        took = time.monotonic() - began
        show(often)
        if modifies:
            print(f"{modifies / took:.0f} Modify calls a second on one task, {AT_A_TIME} at a time\n")
        for caller in callers:
            for task_id in caller.tasks:
                await caller.client.delete(task_id)
    quick = [0.0] + [s for action, all_of_it in answers.seconds.items() if action != "Create" for s in all_of_it]
    p99, slowest = meter.percentile(quick, 0.99), max(answers.seconds["Create"], default=0.0)
    goals = [
        (p99 < GOAL_P99, f"p99 of Describe, Modify and Delete {1000 * p99:.0f} ms, goal {1000 * GOAL_P99:.0f} ms"),
        (slowest < GOAL_CREATE, f"slowest Create {1000 * slowest:.0f} ms, goal {1000 * GOAL_CREATE:.0f} ms"),
        (not answers.errors, f"{sum(answers.errors.values())} errors under load, goal 0"),
        (not often.errors, f"{sum(often.errors.values())} errors of {modifies} Modify calls on one task, goal 0"),
    ]
    return verdict(goals)


def usage(pids: dict[str, int]) -> dict[str, float]:
    """CPU seconds so far of each part, of this process, which asks, and without captures and renders, which are nobody's children."""
    return {part: meter.cpu(pid) for part, pid in pids.items() if part != "up"} | {"bench": meter.cpu(os.getpid())}


def environ() -> dict[str, str]:
    """Two apps with keys that we know. The second part calls faster than 20 times a second; the first does not."""
    found = {"ROKUGA_SERVER__PORT": "0", "ROKUGA_SERVER__REQUESTS_PER_SECOND": "1000"}
    for number, (app, secret) in enumerate(zip(APPS, SECRETS, strict=True)):
        keys = {"SDK_APP_ID": str(app), "SECRET_ID": f"AKIDbench{number}", "SECRET_KEY": secret, "USER_SIG_KEY": USER_SIG_KEY}
        found |= {f"ROKUGA_APPS__{number}__{key}": value for key, value in keys.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.api", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the load lasts")
    parser.add_argument("--tasks", type=int, default=30, help="how many recordings run meanwhile")
    parser.add_argument("--modifies", type=int, default=10_000, help="Modify calls on one task, afterwards")
    parser.add_argument("--describes", type=float, default=DESCRIBES, help="Describe calls a second with each SecretId")
    parser.add_argument("--updates", type=float, default=MODIFIES, help="Modify calls a second with each SecretId")
    parser.add_argument("--pairs", type=float, default=PAIRS, help="Create and Delete a second, in all")
    given = parser.parse_args()
    rates = Rates(given.describes, given.updates, given.pairs)
    folder = Path(tempfile.mkdtemp(prefix="rokuga-bench-"))
    print(f"all files are below {folder}", file=sys.stderr)
    try:
        reached = asyncio.run(bench(given.seconds, given.tasks, given.modifies, rates, folder))
    except RokugaError as error:
        sys.exit(f"bench.api: {error}")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
