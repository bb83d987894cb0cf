"""What a task's journal says, for tests that look behind the files."""

from pathlib import Path
from typing import Any

from rokuga.folders import DataFolder
from rokuga.journal.reader import Entry, JournalReader
from rokuga.journal.records import RoomEvent, TrackOpened


def records(data: Path, task_id: str, generation: int = 0) -> list[Any]:
    """All records so far, frames included; damage is an error."""
    with JournalReader(DataFolder(data).generation(task_id, generation).journal) as reader:
        found = []
        for entry in reader.read():
            assert isinstance(entry, Entry), entry
            found.append(entry.record)
        return found


def opened(data: Path, task_id: str) -> list[tuple[str, str, str]]:
    """(UserId, MediaId, kind) of each track that was opened, in order."""
    return [(r.user_id, r.media_id, r.kind) for r in records(data, task_id) if isinstance(r, TrackOpened)]


def order(data: Path, task_id: str) -> list[str]:
    """Users by their place in room-entry order."""
    places = {r.user_id: r.order for r in records(data, task_id) if isinstance(r, RoomEvent) and r.order >= 0}
    return sorted(places, key=lambda user: places[user])
