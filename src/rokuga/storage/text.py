"""The text of a playlist that grows for days: all but its end lies on the disk."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rokuga.hls.playlist import END, Index
from rokuga.storage.spool import Segment

HELD_BYTES = 16 * 1024
PREFIX = ".text-"
"""Names of these files begin so. They are made anew from the manifest by each process that needs them."""


class PlaylistText:
    """One playlist's text; blocking, one call at a time. The first HELD_BYTES, a dozen minutes, need no file."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{PREFIX}{name}"
        self._index = Index()
        self._tail = bytearray()
        self._filed = 0
        self.count = 0
        """segments that it lists"""

    def add(self, segments: Iterable[Segment]) -> None:
        """The next ones, in order."""
        for segment in segments:
            self._tail += self._index.add(segment).encode()
            self.count += 1
        if len(self._tail) > HELD_BYTES:
            # A full disk: it is held in memory for longer.
            with suppress(OSError):
                self._file()

    def grown(self, segments: Iterable[Segment], ended: bool) -> bytes:
        """``add`` and ``whole``."""
        self.add(segments)
        return self.whole(ended)

    def whole(self, ended: bool) -> bytes:
        """What the store shall have. Raises OSError."""
        head, end = self._index.head.encode(), END.encode() if ended else b""
        if not self._filed:
            return head + self._tail + end
        with self._path.open("rb", buffering=0) as file:
            filed = file.read(self._filed)
        if len(filed) != self._filed:
            raise OSError(errno.EIO, "a playlist's text is cut off", str(self._path))
        return b"".join((head, filed, self._tail, end))

    @property
    def size(self) -> int:
        """About so many bytes."""
        return self._filed + len(self._tail)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _file(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if self._filed else os.O_TRUNC), 0o600)
        try:
            while self._tail:
                written = os.pwrite(fd, self._tail, self._filed)
                self._filed += written
                del self._tail[:written]
        finally:
            os.close(fd)


def remove_texts(folder: Path) -> None:
    """Those that processes before this one have left."""
    for path in folder.glob(f"{PREFIX}*"):
        path.unlink(missing_ok=True)
