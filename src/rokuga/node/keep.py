"""What a node keeps on disk of a generation beside its media: the order without its secrets, and how its journal ended."""

import base64
import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rokuga.control.model import Lists, Params, RecordOrder
from rokuga.folders import Generation
from rokuga.journal.reader import Entry, JournalReader, Position, Run, files, last_track
from rokuga.journal.records import End
from rokuga.journal.writer import JournalWriter
from rokuga.storage import spool
from rokuga.storage.spool import Finished

SEALED = -1
"""Leave code of a journal that was closed by the node, because its capture died or was given up."""
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Kept:
    """``order.json``: enough to go on after a restart of the node, and no secret."""

    task_id: str
    generation: int
    version: int
    """of ``params``, in this generation's journal"""
    params: Params
    predecessor_session: int = 0
    token: bytes = b""
    """task token of the ``record`` activity that waits for this generation"""
    done: bool = False
    """everything is in the store and every report was accepted or handed over"""
    lost: bool = False
    """done, and it was not stopped: its capture is dead, the task needs another generation"""
    told: int = 0
    """the latest version of its task"""
    modified_ms: int = 0
    """UTC, when they came by the node's door; 0: they are of that version"""
    expires_ms: int = 0
    """UTC, 0: never"""

    @staticmethod
    def of(order: RecordOrder, token: bytes = b"") -> "Kept":
        version, session = order.version, order.predecessor_session
        return Kept(order.task_id, order.generation, version, order.params, session, token, told=version, expires_ms=order.expires_ms)

    def but(self, **changes: Any) -> "Kept":
        return replace(self, **changes)

    def save(self, path: Path) -> None:
        """Atomically and synced. Raises OSError."""
        data = json.dumps({**asdict(self), "token": base64.b64encode(self.token).decode()}, ensure_ascii=False).encode()
        # A name of its own: two threads may be at it, and half a file must not replace a whole one.
        fd, fresh = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        try:
            with os.fdopen(fd, "wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(fd)
            Path(fresh).replace(path)
        except OSError:
            Path(fresh).unlink(missing_ok=True)
            raise

    @staticmethod
    def load(path: Path) -> "Kept | None":
        """None if there is none that can be read."""
        try:
            fields = json.loads(path.read_bytes())
            params = fields["params"]
            params = Params(**{**params, "lists": Lists(**params["lists"])})
            return Kept(**{**fields, "params": params, "token": base64.b64decode(fields["token"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def journal_end(folder: Path) -> End | None:
    """The End record of a journal, None while it has none. Reads the newest file with a record only; blocking. Raises JournalError."""
    for number, _ in reversed(files(folder)):
        some = False
        with JournalReader(folder, Position(number, 0)) as reader:
            for item in reader.read():
                if isinstance(item, Entry):
                    if isinstance(item.record, End):
                        return item.record
                    some = True
        if some:
            return None
    return None


def journal_begun(folder: Path) -> bool:
    """Whether capture has written to it: one that was sealed before it began has its End alone. Blocking. Raises JournalError."""
    numbers = [number for number, _ in files(folder)]
    if not numbers:
        return False
    with JournalReader(folder, Position(numbers[0], 0)) as reader:
        return any(not isinstance(item.record, End) for item in reader.read() if isinstance(item, Entry))


def seal(generation: Generation, kept: Kept, leave_code: int, cause: str) -> None:
    """Give the journal of a dead capture its end, in a file of its own; blocking. Raises OSError, JournalError.

    Its time is that of the last record: a mix goes on up to there, and this may be days later.
    """
    ended_ns = _last_ns(generation.journal)
    writer = JournalWriter(generation.journal, kept.task_id, kept.generation)
    writer.append(End(leave_code, cause), ended_ns)
    writer.close()
    if writer.failed is not None:
        raise writer.failed


def _last_ns(folder: Path) -> int | None:
    """When the newest record was appended (monotonic ns), None: there is none."""
    for number, _ in reversed(files(folder)):
        with JournalReader(folder, Position(number, 0)) as reader:
            last = max((item.monotonic_ns for item in reader.runs() if isinstance(item, Entry | Run)), default=None)
        if last is not None:
            return last
    return None


def finish_trackless(generation: Generation) -> bool:
    """Of an ended journal without any track render would only say that nothing follows: say so in its place; blocking.

    False if there is a track. Raises OSError, JournalError.
    """
    if last_track(generation.journal):
        return False
    spool.append(generation.spool / spool.MANIFEST, spool.encode(Finished()))
    return True


def manifest_finished(generation: Generation) -> bool:
    """Whether render has written all there is."""
    path = generation.spool / spool.MANIFEST
    try:
        start = max(0, path.stat().st_size - _TAIL_BYTES)
    except FileNotFoundError:
        return False
    return any(line.get("finished") for _, line in spool.lines(path, start))
