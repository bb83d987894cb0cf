"""The log of what the store has: ``confirmed`` in a spool. It can go on growing on a full disk, and stays small in recordings of days.

On a full disk only uploaded segments make room, and a segment may go only when it stands here. So the file's next bytes are reserved:
it ends in zeros, which no reader takes for a line.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rokuga.storage import spool

RESERVE_BYTES = 256 * 1024
"""A thousand segments' lines."""
COMPACT_BYTES = 4 * 1024 * 1024
"""So much may be appended until the file is written anew."""


class ConfirmedLog:
    """The one writer of a generation's ``confirmed``. Blocking, one call at a time; methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / spool.CONFIRMED
        self._fd = -1
        self._end = 0
        self._compacted = 0

    def load(self) -> Iterator[dict[str, Any]]:
        """The lines that are there; ``append`` goes on behind the last one."""
        self.close()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = 0
        for after, line in spool.lines(self._path):
            self._end = after
            yield line

    @property
    def is_long(self) -> bool:
        return self._end - self._compacted > COMPACT_BYTES

    def append(self, line: dict[str, Any]) -> None:
        """It is on the disk when this returns."""
        data = _encode(line)
        size = os.fstat(self._fd).st_size
        if size - self._end < RESERVE_BYTES // 2 + len(data):
            try:
                os.posix_fallocate(self._fd, 0, self._end + len(data) + RESERVE_BYTES)
            except OSError:
                # Full. That is what the rest of the reserve is for.
                pass
        _write(self._fd, data, self._end)
        os.fdatasync(self._fd)
        self._end += len(data)

    def compact(self, lines: Iterable[dict[str, Any]]) -> None:
        """Replace all lines by these, which say as much. Refused, it is long again only after as many bytes more."""
        data = b"".join(map(_encode, lines))
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, len(data) + RESERVE_BYTES)
            _write(fd, data, 0)
            os.fsync(fd)
            fresh.replace(self._path)
        except OSError:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            self._compacted = self._end
            raise
        os.close(self._fd)
        self._fd, self._end, self._compacted = fd, len(data), len(data)

    def close(self, done: bool = False) -> None:
        """``done``: nothing will be appended any more, the reserve is given back."""
        if self._fd >= 0:
            if done:
                os.ftruncate(self._fd, self._end)
            os.close(self._fd)
            self._fd = -1


def _encode(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
