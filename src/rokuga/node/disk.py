"""A node's disk: what recordings hold of it, and giving up what was kept only in case it is wanted.

Journals of which the store has everything are kept for ``keep_journal_hours``. Where the disk is short, the oldest of them go before:
they are insurance, and room is what recordings need.
"""

import asyncio
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import structlog

from rokuga import clock
from rokuga.config import Recorder as Limits
from rokuga.headroom import RESERVED_BYTES, free_bytes
from rokuga.node.keep import Kept

FREE_BYTES = 4 * RESERVED_BYTES
"""A disk with less than this is short, whatever the recordings hold: others may fill it, too."""
SHARES = (1.0, 0.5, 0.25, 0.1, 0.0)
"""For how much of ``keep_journal_hours`` journals are kept, one after the other until the disk is not short any more."""


class Trimmed(Protocol):
    """A recorder, as far as its journal's room is concerned."""

    async def trim(self, before: float) -> int: ...


class Disk:
    """``tidy`` is called again and again; in between ``is_short`` says what the last time has shown."""

    def __init__(self, tasks: Path, limits: Limits) -> None:
        self._tasks = tasks
        self._limits = limits
        self.is_short = False
        self._log = structlog.get_logger(__name__)

    async def tidy(self, recorders: Iterable[Trimmed]) -> None:
        """Remove what was kept long enough; on a short disk, what was kept for less. Raises OSError."""
        now = clock.utc_ns() / 1e9
        for share in SHARES:
            before = now - share * self._limits.keep_journal_hours * 3600
            trimmed = sum([await self._trim(recorder, before) for recorder in recorders])
            swept = await asyncio.to_thread(self._sweep, before)
            if share < 1 and (trimmed or swept):
                self._log.warning(
                    "the disk is short: journals go early", hours=share * self._limits.keep_journal_hours, bytes=trimmed + swept
                )
            held = await asyncio.to_thread(_held, self._tasks)
            free = await asyncio.to_thread(free_bytes, self._tasks)
            short = held >= self._limits.spool_max_bytes or free < FREE_BYTES
            if not short:
                break
        if short != self.is_short:
            self._log.log(30 if short else 20, "no new recordings: the disk is short" if short else "room again", held=held, free=free)
        self.is_short = short

    async def _trim(self, recorder: Trimmed, before: float) -> int:
        try:
            return await recorder.trim(before)
        except OSError as error:
            # One folder's trouble is not the others'.
            self._log.error("a journal cannot be trimmed", error=str(error))
            return 0

    def _sweep(self, before: float) -> int:
        """Remove the folders of generations that are done and were so before that UTC; how many bytes. Blocking."""
        swept = 0
        for folder in self._tasks.glob("*/g*"):
            kept = Kept.load(folder / "order.json")
            if kept is not None and kept.done and (folder / "order.json").stat().st_mtime < before:
                swept += _bytes(folder)
                remove(folder)
        return swept


def remove(folder: Path) -> None:
    """A generation's folder, and its task's if that was the last one."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.rmdir()
    except OSError:
        pass  # Another generation is still there.


def _held(tasks: Path) -> int:
    """Bytes in all generations' folders."""
    return sum(_bytes(folder) for folder in tasks.glob("*/g*"))


def _bytes(folder: Path) -> int:
    """Bytes on the disk below a folder, of what stays while we look."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118  (10,000s of files)
            except FileNotFoundError:
                continue
    return total
