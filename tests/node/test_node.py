"""What a node finds in its folders at its start, and who gets it when several ask at the same time."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from rokuga import clock
from rokuga.config import Config, Store
from rokuga.config import Recorder as RecorderSection
from rokuga.control.model import NOTHING_LEFT, START_FAILED, Params, RecordOrder, StopOrder, StoreTarget
from rokuga.folders import DataFolder, Generation
from rokuga.journal.reader import files
from rokuga.journal.records import FileHeader
from rokuga.node import node as module
from rokuga.node.capture import Outcome
from rokuga.node.keep import Kept, seal
from rokuga.node.node import Node
from rokuga.node.outbox import Outbox
from rokuga.node.processes import Zygote
from rokuga.node.recorder import Recorder, Services
from rokuga.render import checkpoint
from rokuga.storage.gate import Gate, Slots
from rokuga.storage.uploader import Uploader
from tests.storage.spools import Spool

ORDER = RecordOrder("task", 0, 1, Params(1, "room", 0, "bot"), StoreTarget(0, "r", "bucket", "a", "s"), "sig")


class NoClient:
    """Nothing is asked of it."""

    def get_workflow_handle(self, _: str) -> None: ...


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Its recorders do nothing."""

    async def idle(*_: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(Node, "_supervise", idle)
    config = Config(stores=(Store(endpoint="file"),))
    return Node("n", Services(config, DataFolder(tmp_path), cast(Client, NoClient()), Zygote(), Slots()))


def ended(tmp_path: Path, number: int, **changes: Any) -> Generation:
    """A generation whose journal has its end."""
    generation = DataFolder(tmp_path).generation("task", number)
    generation.folder.mkdir(parents=True)
    kept = replace(Kept.of(replace(ORDER, generation=number)), **changes)
    kept.save(generation.order)
    seal(generation, kept, 0, "stopped")
    return generation


async def test_one_journal_that_cannot_be_read_does_not_keep_the_node_from_starting(node: Node, tmp_path: Path) -> None:
    generation = ended(tmp_path, 0)
    future = FileHeader("task", 0, 2, 0, 0, 0, 0).encode()
    (generation.journal / "000002.rj").write_bytes(future[:8] + b"\x63\0" + future[10:])
    ended(tmp_path, 1)
    ended(tmp_path, 2, done=True)
    await node.look_through()
    assert list(node._recorders) == [("task", 1)]


async def test_a_machines_own_tasks_take_half_of_its_node(tmp_path: Path) -> None:
    config = Config(stores=(Store(endpoint="file"),), recorder=RecorderSection(max_tasks=4))
    node = Node("n", Services(config, DataFolder(tmp_path), cast(Client, NoClient()), Zygote(), Slots()))
    assert [node.place_near() for _ in range(3)] == [True, True, False]
    assert [node.place() for _ in range(2)] == ["n", "n"]
    with pytest.raises(ApplicationError, match="no room"):
        node.place()
    node.closing = True
    assert not node.place_near()


async def test_a_generation_has_one_recorder_whoever_finds_it_first(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(tmp_path, 0)
    made: list[Recorder] = []
    keep = node._keep

    def count(key: tuple[str, int], recorder: Recorder) -> None:
        made.append(recorder)
        keep(key, recorder)

    monkeypatch.setattr(node, "_keep", count)
    await asyncio.gather(node.record(ORDER, b"1"), node.look_through(), node.record(ORDER, b"2"))
    assert len(made) == 1


async def test_what_is_done_is_held_unless_its_capture_was_lost(node: Node, tmp_path: Path) -> None:
    """However little was left to upload when the task asks: one that nobody stopped has to be followed by another generation."""
    ended(tmp_path, 0, done=True)
    ended(tmp_path, 1, done=True, lost=True)
    assert [await node.holds("task", number) for number in range(3)] == [True, False, False]
    assert not await node.record(ORDER, b"1")
    with pytest.raises(ApplicationError, match="capture is dead"):
        await node.record(replace(ORDER, generation=1), b"1")
    assert not node._recorders


async def test_what_was_stopped_before_it_was_ordered_does_not_begin(node: Node, tmp_path: Path) -> None:
    """Delete right after Create. One that is on disk from before this node's start is to be finished all the same."""
    ended(tmp_path, 1)
    for number in (0, 1):
        with pytest.raises(ApplicationError, match="not recording here"):
            await node.halt(StopOrder("task", number, 0, "deleted"))
    with pytest.raises(ApplicationError, match="stopped before") as error:
        await node.record(ORDER, b"1")
    assert error.value.type == START_FAILED
    assert not node._recorders
    assert await node.record(replace(ORDER, generation=1), b"1")
    assert await node.record(ORDER, b"2"), "it is remembered for one order only"


async def test_nothing_begins_while_the_node_ends(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Kept.load

    def slow(path: Path) -> Kept | None:
        node.closing = True
        return load(path)

    monkeypatch.setattr(Kept, "load", slow)
    with pytest.raises(ApplicationError):
        await node.record(ORDER, b"1")
    assert not node._recorders


async def test_a_folder_that_goes_while_it_is_looked_at_is_no_error(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0
    done = asyncio.Event()

    def sweep(before: float) -> int:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise FileNotFoundError("as told")
        loop.call_soon_threadsafe(done.set)
        return 0

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(node._disk, "_sweep", sweep)
    monkeypatch.setattr(module, "ABANDONED_SECONDS", 0.01)
    watching = asyncio.create_task(node.watch())
    try:
        await asyncio.wait_for(done.wait(), 10)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_days_of_a_stores_refusals_fit_the_answer_of_recover(node: Node, tmp_path: Path) -> None:
    generation = ended(tmp_path, 0)
    box = Outbox(generation.outbox, "task", 0, cast(Client, NoClient()))
    await box.add("uploaded", "uploaded/x", {"file": "x"})
    for minute in range(module.LATE_ERRORS + 50):
        await box.add("upload_error", f"upload_error/NoSuchBucket/{minute}", {"code": "NoSuchBucket", "message": "m"})
    await box.add("drained", "drained", {})
    recovering = asyncio.create_task(node.recover(ORDER, lambda: None))
    async with asyncio.timeout(10):
        while not node._recorders:
            await asyncio.sleep(0.01)
        node._recorders["task", 0].drained.set()
        reports = (await recovering).reports
    assert [r.kind for r in reports] == ["uploaded"] + ["upload_error"] * module.LATE_ERRORS + ["drained"]
    assert reports[-2].key == f"upload_error/NoSuchBucket/{module.LATE_ERRORS + 49}"


async def test_of_one_that_could_not_start_there_is_nothing_to_recover(node: Node) -> None:
    """Its failure could not be told in time, so the task took it for lost."""
    await node.record(ORDER, b"1")
    recovering = asyncio.create_task(node.recover(ORDER, lambda: None))
    await asyncio.sleep(0)
    node._recorders["task", 0].outcome = Outcome.START_FAILED
    with pytest.raises(ApplicationError, match="nothing of that generation") as error:
        await asyncio.wait_for(recovering, 10)
    assert error.value.type == NOTHING_LEFT


async def test_a_recorders_journal_goes_when_the_store_has_what_was_made_of_it(node: Node, tmp_path: Path) -> None:
    recorder = node._make(Kept.of(ORDER))
    assert await recorder.trim(clock.utc_ns() / 1e9 + 1) == 0, "it has not begun to upload"
    generation = recorder.generation
    generation.journal.mkdir(parents=True)
    for number in range(1, 7):
        (generation.journal / f"{number:06d}.rj").write_bytes(b"x")
    made = Spool(generation.spool)
    segments = [made.add() for _ in range(4)]
    checkpoint.write_checkpoint(generation.checkpoint, {"version": checkpoint.VERSION, "start": [6, 1], "files": [1], "made": 4})
    ledger = Uploader(generation.spool, Gate(), Slots(), recorder.outbox.add).ledger
    recorder._uploader = cast(Uploader, SimpleNamespace(ledger=ledger))

    def left() -> list[int]:
        return [number for number, _ in files(generation.journal)]

    for number, segment in enumerate(segments):
        assert await recorder.trim(clock.utc_ns() / 1e9 + 1) == 0, "it may be made of anything"
        assert ledger.exists(replace(segment, journal=[number + 1, number + 2]))
    for segment in segments[:2]:
        ledger.confirm(segment)
    assert await recorder.trim(clock.utc_ns() / 1e9 - 60) == 0, "too young"
    assert await recorder.trim(clock.utc_ns() / 1e9 + 1) == 1
    assert left() == [1, 3, 4, 5, 6]
    for segment in segments[2:]:
        ledger.confirm(segment)
    assert await recorder.trim(clock.utc_ns() / 1e9 + 1) == 3
    assert left() == [1, 6]
    assert checkpoint.read_checkpoint(generation.base) == checkpoint.read_checkpoint(generation.checkpoint)
