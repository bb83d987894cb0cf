"""What a node keeps on disk of a generation."""

import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from rokuga.control.model import Lists, Params, RecordOrder, StoreTarget
from rokuga.folders import Generation
from rokuga.journal.reader import Entry, JournalReader
from rokuga.journal.records import End, Tick, TrackOpened
from rokuga.journal.writer import JournalWriter
from rokuga.node.keep import SEALED, Kept, finish_trackless, journal_begun, journal_end, manifest_finished, seal
from rokuga.node.main import locked, own_id
from rokuga.storage import spool
from rokuga.storage.spool import Finished
from tests.storage.spools import Spool

ORDER = RecordOrder(
    "task",
    2,
    3,
    Params(1400000001, "room", 0, "bot", lists=Lists(audio_allow=["a", ".*$"])),
    StoreTarget(0, "r", "b", "AKIDkey", "very-secret"),
    "user-sig",
    17,
)


def test_the_order_comes_back_without_its_secrets(tmp_path: Path) -> None:
    kept = Kept.of(ORDER, b"\x00token\xff")
    kept.save(tmp_path / "order.json")
    assert Kept.load(tmp_path / "order.json") == kept
    text = (tmp_path / "order.json").read_text()
    assert not any(secret in text for secret in ("AKIDkey", "very-secret", "user-sig"))
    assert (tmp_path / "order.json").stat().st_mode & 0o777 == 0o600


def test_half_an_order_never_replaces_a_whole_one(tmp_path: Path) -> None:
    """A file-size limit stands for the full disk: it takes a part of a write, then nothing."""
    path = tmp_path / "order.json"
    kept = Kept.of(ORDER)
    kept.save(path)
    long = replace(kept, params=replace(kept.params, lists=Lists(audio_allow=[f"user-{n}" for n in range(1000)])))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            long.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert Kept.load(path) == kept
    assert [p.name for p in tmp_path.iterdir()] == ["order.json"]


def test_two_threads_may_save_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    orders = [Kept.of(ORDER, b"x" * size) for size in (1, 100, 1000, 10_000)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(kept.save, path) for kept in orders * 25]:
            done.result()
            assert Kept.load(path) in orders


@pytest.mark.parametrize("text", ["", "{", "[]", '{"task_id": "t"}', '{"params": {}, "token": ""}'])
def test_an_order_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "order.json").write_text(text)
    assert Kept.load(tmp_path / "order.json") is None
    assert Kept.load(tmp_path / "missing.json") is None


def test_a_dead_captures_journal_gets_its_end(tmp_path: Path) -> None:
    generation = Generation(tmp_path)
    writer = JournalWriter(generation.journal, "task", 2)
    writer.append(Tick())
    writer.close()
    epoch = writer.epoch_ns
    assert journal_end(generation.journal) is None
    with (generation.journal / "000001.rj").open("ab") as torn:
        torn.write(b"\x10\x00\x00\x00half")
    seal(generation, Kept.of(ORDER), SEALED, "given up")
    assert journal_end(generation.journal) == End(SEALED, "given up")
    with JournalReader(generation.journal) as reader:
        entries = [item for item in reader.read() if isinstance(item, Entry)]
        records = [entry.record for entry in entries]
        assert reader.header is not None
        assert reader.header.epoch_ns == epoch
    assert records == [Tick(), End(SEALED, "given up")]
    assert entries[0].monotonic_ns == entries[1].monotonic_ns, "however late it is sealed, nothing came after its last record"
    assert journal_begun(generation.journal)


def test_an_end_is_found_before_a_file_that_was_begun_and_never_used(tmp_path: Path) -> None:
    generation = Generation(tmp_path)
    seal(generation, Kept.of(ORDER), 3, "kicked")
    for _ in range(2):
        JournalWriter(generation.journal, "task", 2).close()
    assert journal_end(generation.journal) == End(3, "kicked")
    seal(Generation(tmp_path / "goes on"), Kept.of(ORDER), 3, "kicked")
    writer = JournalWriter(tmp_path / "goes on" / "journal", "task", 2)
    writer.append(Tick())
    writer.close()
    assert journal_end(tmp_path / "goes on" / "journal") is None


def test_a_journal_without_tracks_is_finished_without_render(tmp_path: Path) -> None:
    generation = Generation(tmp_path)
    generation.spool.mkdir()
    seal(generation, Kept.of(ORDER), 0, "deleted")
    assert finish_trackless(generation)
    assert manifest_finished(generation)
    generation = Generation(tmp_path / "other")
    generation.spool.mkdir(parents=True)
    writer = JournalWriter(generation.journal, "task", 0)
    writer.append(TrackOpened(1, "alice", "main", "audio", "opus", 48000))
    writer.close()
    seal(generation, Kept.of(ORDER), 0, "deleted")
    assert not finish_trackless(generation)
    assert not manifest_finished(generation)


def test_a_journal_that_never_was_is_sealed_too(tmp_path: Path) -> None:
    assert journal_end(tmp_path / "journal") is None
    assert not journal_begun(tmp_path / "journal")
    seal(Generation(tmp_path), Kept.of(ORDER), 0, "stopped")
    assert journal_end(tmp_path / "journal") == End(0, "stopped")
    assert not journal_begun(tmp_path / "journal")


def test_a_finished_manifest(tmp_path: Path) -> None:
    generation = Generation(tmp_path)
    assert not manifest_finished(generation)
    made = Spool(generation.spool)
    for _ in range(40):
        made.add(size=10)
    assert not manifest_finished(generation)
    made.finish()
    assert manifest_finished(generation)
    assert spool.encode(Finished()).startswith(b'{"finished"')


def test_two_nodes_never_share_a_data_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "node.lock"):
        with pytest.raises(Exception, match="in use by another node"):
            with locked(tmp_path / "node.lock"):
                pass
    with locked(tmp_path / "node.lock"):
        pass


def test_a_node_stays_who_it_is(tmp_path: Path) -> None:
    first = own_id(tmp_path / "node-id")
    assert own_id(tmp_path / "node-id") == first
    assert len(first) == 12


def test_order_fields_can_be_replaced(tmp_path: Path) -> None:
    kept = Kept.of(ORDER)
    assert kept.but(version=9) == replace(kept, version=9)
