"""The log of what the store has: ``confirmed`` in a spool. It stays small in recordings of days."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rokuga.storage import spool

COMPACT_BYTES = 4 * 1024 * 1024
"""So much may be appended until the file is written anew."""


class ConfirmedLog:
    """The one writer of a generation's ``confirmed``. Blocking, one call at a time; methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / spool.CONFIRMED
        self._appended = 0

    def load(self) -> Iterator[dict[str, Any]]:
        """The lines that are there."""
        for after, line in spool.lines(self._path):
            self._appended = after
            yield line

    @property
    def is_long(self) -> bool:
        return self._appended > COMPACT_BYTES

    def append(self, lines: Iterable[dict[str, Any]]) -> None:
        """They are on the disk when this returns."""
        data = b"".join(map(_encode, lines))
        spool.append(self._path, data)
        self._appended += len(data)

    def compact(self, lines: Iterable[dict[str, Any]]) -> None:
        """Replace all lines by these, which say as much. Refused, it is long again only after as many bytes more."""
        self._appended = 0
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.unlink(missing_ok=True)
        spool.append(fresh, b"".join(map(_encode, lines)))
        fresh.replace(self._path)


def _encode(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
