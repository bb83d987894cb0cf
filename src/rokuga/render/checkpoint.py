"""Render's resume point, and giving up the part of the journal that lies before it.

A resume point is the fold's state (JSON, ``Fold.state``). Together with the journal from ``start`` on, and the files in ``files``, it is
as good as the whole journal. So a journal is trimmed as logs are: ``base.json`` beside the journal's files is a resume point that stands
for what is gone, and a render that has no resume point of its own begins there instead of at the first record.
"""

import json
import os
from pathlib import Path
from typing import Any

from rokuga.folders import Generation
from rokuga.journal.reader import files

VERSION = 4
"""Of the state."""
READABLE = (3, VERSION)
"""Recordings outlive upgrades and their journals may be trimmed: code that changes the state must be able to go on from the version
before."""


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The resume point, None if there is none or it cannot be read as one."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace the resume point atomically. Raises OSError."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(json.dumps(state, separators=(",", ":")).encode())
        while view:
            view = view[os.write(fd, view) :]
        os.fdatasync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)


class Trim:
    """One trimming of a generation's journal, by its node, while capture and render may be at work. Blocking; methods raise OSError.

    Takes the present resume point as the coming base: another name of the same file, so a full disk has room for it.
    """

    def __init__(self, generation: Generation) -> None:
        self._journal = generation.journal
        self._base = generation.base
        self._staged = generation.base.with_suffix(".new")
        self._staged.unlink(missing_ok=True)
        state = None
        if generation.checkpoint.exists():
            os.link(generation.checkpoint, self._staged)
            state = read_checkpoint(self._staged)
        self._start = 0
        self._needed: set[int] = set()
        self.made = 0
        """how many segments the manifest had then, at least"""
        if state is not None and state.get("version") == VERSION:
            self._start = int(state["start"][0])
            self._needed = set(state["files"])
            self.made = int(state["made"])

    def remove(self, unconfirmed: set[int], before: float) -> int:
        """Remove the files that render does not need, that no segment which the store has not confirmed is made of (``unconfirmed``: the
        files' numbers, 0 for all), and that were last written before that UTC (seconds). How many bytes that was.
        """
        needed = self._needed | unconfirmed
        gone = []
        for number, path in files(self._journal):
            if number >= self._start or 0 in unconfirmed:
                break
            about = path.stat()
            if number not in needed and about.st_mtime < before:
                gone.append((path, about.st_size))
        if not gone:
            self._staged.unlink(missing_ok=True)
            return 0
        self._staged.replace(self._base)
        folder = os.open(self._journal, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for path, _ in gone:
            path.unlink()
        return sum(size for _, size in gone)
