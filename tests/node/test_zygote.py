"""The zygote: forks quickly, tells ends, and its own death harms nobody."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from temporalio.client import Client

from rokuga.config import Janus
from rokuga.control.model import Params
from rokuga.folders import Generation
from rokuga.journal.records import Tick
from rokuga.journal.writer import JournalWriter
from rokuga.node import capture
from rokuga.node.keep import SEALED, Kept, seal
from rokuga.node.outbox import Outbox
from rokuga.node.processes import ProcessError, Zygote, alive, kill
from rokuga.node.zygote import PRELOAD

pytestmark = pytest.mark.live

CHILDREN = "tests.node.children"


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[Zygote]:
    async with Zygote([CHILDREN]) as running:
        yield running
    for path in tmp_path.rglob("*.pid"):
        kill(path.parent, path.stem)


async def began(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while not (folder / "began").exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_exit_codes(zygote: Zygote, tmp_path: Path) -> None:
    pid = await zygote.spawn("good", CHILDREN, tmp_path, ["exit"])
    assert await zygote.ended(tmp_path, "good", pid) == 0
    pid = await zygote.spawn("bad", CHILDREN, tmp_path, ["raise"])
    assert await zygote.ended(tmp_path, "bad", pid) == 1
    assert "RuntimeError: as ordered" in (tmp_path / "bad.err").read_text()
    pid = await zygote.spawn("killed", CHILDREN, tmp_path, ["sleep"])
    kill(tmp_path, "killed")
    assert await zygote.ended(tmp_path, "killed", pid) == -signal.SIGKILL
    assert not alive(tmp_path, "killed")


async def test_an_exit_code_that_comes_late_is_waited_for(zygote: Zygote, tmp_path: Path) -> None:
    pid = await zygote.spawn("killed", CHILDREN, tmp_path, ["sleep"])
    os.kill(zygote.pid, signal.SIGSTOP)  # it tells nothing yet
    try:
        kill(tmp_path, "killed")
        while alive(tmp_path, "killed"):
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(zygote.ended(tmp_path, "killed", pid))
        await asyncio.wait([waiting], timeout=0.2)
        assert not waiting.done()
    finally:
        os.kill(zygote.pid, signal.SIGCONT)
    assert await waiting == -signal.SIGKILL


async def test_a_child_leads_its_session_and_inherits_nothing(zygote: Zygote, tmp_path: Path) -> None:
    secret = os.memfd_create("secret")
    os.set_inheritable(secret, True)
    try:
        pid = await zygote.spawn("child", CHILDREN, tmp_path, ["leak"])
        await began(tmp_path)
        assert os.getsid(pid) == pid
        deadline = time.monotonic() + 10
        while not (tmp_path / "links").exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    finally:
        os.close(secret)
    links = (tmp_path / "links").read_text()
    assert "secret" not in links
    assert str(tmp_path / "child.pid") in links


async def test_the_same_process_never_runs_twice(zygote: Zygote, tmp_path: Path) -> None:
    await zygote.spawn("child", CHILDREN, tmp_path, ["sleep"])
    with pytest.raises(ProcessError, match="running already"):
        await zygote.spawn("child", CHILDREN, tmp_path, ["sleep"])
    async with Zygote([CHILDREN]) as other:
        with pytest.raises(ProcessError, match="running already"):
            await other.spawn("child", CHILDREN, tmp_path, ["sleep"])


async def test_a_folder_that_is_gone_is_told(zygote: Zygote, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="No such file"):
        await zygote.spawn("child", CHILDREN, tmp_path / "missing", ["sleep"])
    assert await zygote.spawn("child", CHILDREN, tmp_path, ["exit"]) > 0


async def test_children_survive_the_zygotes_death_and_are_found_again(zygote: Zygote, tmp_path: Path) -> None:
    pid = await zygote.spawn("child", CHILDREN, tmp_path, ["sleep"])
    await began(tmp_path)
    before = zygote.pid
    os.kill(before, signal.SIGKILL)
    other = await zygote.spawn("other", CHILDREN, tmp_path, ["sleep"])
    assert zygote.pid != before
    assert psutil.Process(pid).is_running()
    assert alive(tmp_path, "child")
    waiting = asyncio.create_task(zygote.ended(tmp_path, "child", pid))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    kill(tmp_path, "child")
    assert await asyncio.wait_for(waiting, 10) is None
    assert alive(tmp_path, "other")
    assert psutil.Process(other).is_running()


async def test_children_survive_the_nodes_end(tmp_path: Path) -> None:
    try:
        async with Zygote([CHILDREN]) as first:
            pid = await first.spawn("child", CHILDREN, tmp_path, ["sleep"])
            await began(tmp_path)
            zygote = first.pid
        assert not psutil.pid_exists(zygote)
        assert alive(tmp_path, "child")
        assert psutil.Process(pid).is_running()
    finally:
        kill(tmp_path, "child")


async def test_the_real_zygote_has_no_threads(tmp_path: Path) -> None:
    async with Zygote(PRELOAD) as running:
        await running.spawn("child", CHILDREN, tmp_path, ["exit"])
        assert psutil.Process(running.pid).num_threads() == 1


class Hanging(Zygote):
    """Whatever is asked for, it forks a capture that answers once."""

    async def spawn(self, name: str, module: str, folder: Path, arguments: Sequence[Any] = ()) -> int:
        return await super().spawn(name, CHILDREN, folder, ["hang"])


async def test_a_capture_that_answers_no_more_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(capture, "HUNG_SECONDS", 1.0)
    generation = Generation(tmp_path)
    outbox = Outbox(generation.outbox, "task", 0, cast(Client, None))
    kept = Kept("task", 0, 1, Params(1, "room", 0, "bot"))
    async with Hanging([CHILDREN]) as zygote:
        running = asyncio.create_task(capture.Capture(generation, zygote, Janus(), outbox, lambda: kept, fresh=True).run())
        try:
            async with asyncio.timeout(30):
                while not (tmp_path / "pids").exists() or len(pids := (tmp_path / "pids").read_text().split()) < 2:
                    await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            kill(tmp_path, "capture")
    assert not psutil.pid_exists(int(pids[0]))


async def test_one_that_began_without_our_knowing_is_not_started_twice(tmp_path: Path) -> None:
    """The disk refused the note that it has started: its end is its end."""
    generation = Generation(tmp_path)
    outbox = Outbox(generation.outbox, "task", 0, cast(Client, None))
    kept = Kept("task", 0, 1, Params(1, "room", 0, "bot"))
    writer = JournalWriter(generation.journal, "task", 0)
    writer.append(Tick())
    writer.close()
    seal(generation, kept, 3, "kicked")
    async with Zygote([CHILDREN]) as zygote:
        ended = await capture.Capture(generation, zygote, Janus(), outbox, lambda: kept, fresh=True).run()
    assert ended is capture.Outcome.ENDED
    assert [report.kind for report in outbox.unacknowledged] == ["started", "stopped"]
    assert [report.payload for report in outbox.of("stopped")] == [{"leave_code": 3}]


async def test_what_was_given_up_before_it_began_does_not_begin_behind_its_end(tmp_path: Path) -> None:
    """The disk refused something else, and its recorder runs once more."""
    generation = Generation(tmp_path)
    outbox = Outbox(generation.outbox, "task", 0, cast(Client, None))
    kept = Kept("task", 0, 1, Params(1, "room", 0, "bot"))
    seal(generation, kept, SEALED, "capture died")
    async with Zygote([CHILDREN]) as zygote:
        ended = await capture.Capture(generation, zygote, Janus(), outbox, lambda: kept, fresh=True).run()
    assert ended is capture.Outcome.SEALED
    assert outbox.unacknowledged == []
