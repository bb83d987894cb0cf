"""The spool of a generation: finished segments and two append-only logs.

``manifest`` is written by render alone (what exists), ``confirmed`` by the uploader alone (what the store has). Both hold one
JSON object a line. A line torn by a crash is passed over when reading; who goes on writing ends it with a newline first.
A file is in the manifest only after it was renamed into place and synced; it leaves the disk only after it is in ``confirmed``.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "manifest"
CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished media segment. Times: ``pts`` in 90 kHz ticks (not wrapped), ``duration`` in seconds, UTC in ms."""

    playlist: str
    """name of its .m3u8, without prefix"""
    index: int
    """from 0, without holes within a playlist"""
    name: str
    size: int
    sha256: str
    pts: int
    duration: float
    begin_ms: int
    user_id: str
    media_id: str
    track_type: str
    """audio, video or audio_video"""
    discontinuity: bool = False
    width: int = 0
    height: int = 0
    channels: int = 0
    sample_rate: int = 0
    journal: list[int] = field(default_factory=list)
    """numbers of the journal files that it is made of"""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """Render has written all there is; nothing follows in the manifest."""

    finished: bool = True


def encode(entry: Segment | Finished) -> bytes:
    return json.dumps(asdict(entry), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def lines(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each whole line from ``offset`` on, with the offset behind it; torn or foreign lines are passed over."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    value = json.loads(line)
                except ValueError:
                    continue
                if isinstance(value, dict):
                    yield offset, value
    except FileNotFoundError:
        return


def read_manifest(folder: Path, offset: int = 0) -> Iterator[tuple[int, Segment | Finished]]:
    """Manifest entries from a byte offset on, each with the offset behind it. A segment may stand twice (same content)."""
    for after, value in lines(folder / MANIFEST, offset):
        yield after, Finished() if value.get("finished") else Segment(**value)


def append(path: Path, data: bytes) -> None:
    """Append whole lines and sync. Ends a line that a crash has torn first. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fdatasync(fd)
    finally:
        os.close(fd)
