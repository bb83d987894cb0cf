"""What a node keeps of its recordings, and what it gives up where the disk is short."""

import os
from pathlib import Path

import pytest

from rokuga import clock
from rokuga.config import Recorder as Limits
from rokuga.folders import DataFolder, Generation
from rokuga.node import disk
from rokuga.node.disk import Disk
from rokuga.node.keep import Kept
from tests.node.test_keep import ORDER

HOUR = 3600
MEGABYTE = 1024 * 1024


class Recording:
    """A recorder of which each hour's journal has a megabyte, the last 30 hours' at first."""

    def __init__(self, folder: Path, hours: int = 30) -> None:
        self.files = {}
        folder.mkdir(parents=True)
        for hour in range(hours):
            self.files[hour] = folder / f"{hour}"
            self.files[hour].write_bytes(bytes(MEGABYTE))

    async def trim(self, before: float) -> int:
        oldest = (clock.utc_ns() / 1e9 - before) / HOUR
        gone = [hour for hour in self.files if hour > oldest]
        for hour in gone:
            self.files.pop(hour).unlink()
        return len(gone) * MEGABYTE


class Refusing:
    async def trim(self, before: float) -> int:
        raise OSError("as told")


def ended(tasks: Path, name: str, hours: float, done: bool = True) -> Generation:
    """A recording that ended so long ago and has left two megabytes."""
    generation = DataFolder(tasks.parent).generation(name, 0)
    generation.journal.mkdir(parents=True)
    (generation.journal / "000001.rj").write_bytes(bytes(2 * MEGABYTE))
    Kept.of(ORDER).but(task_id=name, generation=0, done=done).save(generation.order)
    at = clock.utc_ns() / 1e9 - hours * HOUR
    os.utime(generation.order, (at, at))
    return generation


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    return tmp_path / "tasks"


async def test_with_room_everything_is_kept_as_long_as_promised(tasks: Path) -> None:
    recording = Recording(tasks / "running" / "g0" / "journal")
    old, young, owed = ended(tasks, "old", 25), ended(tasks, "young", 23), ended(tasks, "owed", 99, done=False)
    own = Disk(tasks, Limits())
    await own.tidy([Refusing(), recording])
    assert not own.is_short
    assert sorted(recording.files) == list(range(25))
    assert not old.folder.parent.exists()
    assert young.folder.exists()
    assert owed.folder.exists()


async def test_where_recordings_hold_too_much_kept_journals_go_first(tasks: Path) -> None:
    recording = Recording(tasks / "running" / "g0" / "journal")
    older, younger, owed = ended(tasks, "older", 20), ended(tasks, "younger", 4), ended(tasks, "owed", 99, done=False)
    own = Disk(tasks, Limits(spool_max_bytes=20 * MEGABYTE))
    await own.tidy([recording])
    assert not own.is_short
    assert sorted(recording.files) == list(range(13))
    assert not older.folder.exists()
    assert younger.folder.exists()
    own = Disk(tasks, Limits(spool_max_bytes=2 * MEGABYTE))
    await own.tidy([recording])
    assert own.is_short, "what is owed is never given up"
    assert sorted(recording.files) == [0] or not recording.files
    assert not younger.folder.exists()
    assert owed.folder.exists()


async def test_a_disk_that_others_have_filled_is_short_until_it_is_not(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: disk.FREE_BYTES - 1)
    own = Disk(tasks, Limits())
    await own.tidy([])
    assert own.is_short
    monkeypatch.setattr(disk, "free_bytes", lambda _: disk.FREE_BYTES)
    await own.tidy([])
    assert not own.is_short
