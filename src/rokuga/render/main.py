"""The render process of a generation: follows its journal until the end, and leaves segments and a manifest in its spool."""

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any

import structlog

from rokuga.errors import JournalError
from rokuga.folders import Generation
from rokuga.journal.reader import Damage, Entry, JournalReader, Position, Run, last_header
from rokuga.journal.records import FileHeader
from rokuga.render.checkpoint import READABLE, read_checkpoint, write_checkpoint
from rokuga.render.fold import Fold
from rokuga.render.lag import Lag
from rokuga.render.output import SpoolWriter, read_past
from rokuga.render.plan import Plan, Ref

POLL_SECONDS = 0.5
RETRY_SECONDS = 1.0
"""A full or failing disk is tried again this often, for ever: render falls behind and catches up, it never drops."""
QUIET_NS = 30_000_000_000
"""A resume point is also written when there was no segment for this long (journal time)."""
BREATH = 1000
"""Records between two turns of the event loop while catching up, at least."""
GARBAGE = 100_000
"""New objects between two searches for cycles. Frames wait in their thousands and form none: in a mix of 25 they are 85,000 objects just
before a segment, and to look at them, and at all that stays, again and again takes a fifth of a per cent of a core."""


async def run(generation: Generation) -> None:
    """Render all of a generation's journal, as it grows, up to its end record. Started again, it goes on where it was.

    Raises JournalError if the journal cannot be one.
    """
    gc.set_threshold(GARBAGE)
    header = last_header(generation.journal)
    while header is None:
        await asyncio.sleep(POLL_SECONDS)
        header = last_header(generation.journal)
    await _Render(generation, header).run()


class _Render:
    def __init__(self, generation: Generation, header: FileHeader) -> None:
        self._generation = generation
        self._header = header
        self._log = structlog.get_logger(__name__).bind(task_id=header.task_id, generation=header.generation)
        self._saved_ns = 0
        self._lag = Lag(generation.lag, self._log)
        self._frames = JournalReader(generation.journal)
        self._writer = SpoolWriter(generation, header, self._payload)

    async def run(self) -> None:
        if self._writer.finished:
            return
        fold = self._begin()
        self._log.info("render begins", position=[fold.start.file, fold.start.offset])
        with self._frames, JournalReader(self._generation.journal, fold.start) as reader:
            while True:
                try:
                    if await self._read_on(fold, reader):
                        return
                except OSError as error:
                    self._log.error("journal cannot be read", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                await asyncio.sleep(POLL_SECONDS)

    async def _read_on(self, fold: Fold, reader: JournalReader) -> bool:
        """Everything that is there now; True when that was the end."""
        last: Entry | Run | None = None
        records = 0
        for item in reader.runs():
            if isinstance(item, Damage):
                self._log.error("journal is damaged", file=item.position.file, offset=item.position.offset, reason=item.reason)
                continue
            records += len(item.frames) if isinstance(item, Run) else 1
            plans = fold.feed(item)
            for plan in plans:
                await self._write(fold, plan)
            if plans or records >= BREATH:
                self._lag.at(item.monotonic_ns)
            self._saved_ns = self._saved_ns or item.monotonic_ns
            if plans or item.monotonic_ns - self._saved_ns > QUIET_NS:
                self._saved_ns = item.monotonic_ns
                self._save(fold, item.after)
            if fold.ended:
                await self._finish()
                return True
            if records >= BREATH:
                records = 0
                await asyncio.sleep(0)
            last = item
        if last is not None:
            self._lag.at(last.monotonic_ns)
        return False

    async def _write(self, fold: Fold, plan: Plan) -> None:
        assert fold.settings is not None
        while True:
            try:
                self._writer.write(plan, fold.settings)
            except OSError as error:
                self._log.error("segment cannot be written", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _save(self, fold: Fold, after: Position) -> None:
        try:
            write_checkpoint(self._generation.checkpoint, self._identity() | fold.state(after))
        except OSError as error:
            # Not needed to go on: a later one, or none, costs only time.
            self._log.warning("resume point cannot be written", error=str(error))

    async def _finish(self) -> None:
        while True:
            try:
                self._writer.finish()
            except OSError as error:
                self._log.error("manifest cannot be written", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._log.info("render is finished")
                return

    def _identity(self) -> dict[str, Any]:
        return {"task": self._header.task_id, "generation": self._header.generation, "epoch": self._header.epoch_ns}

    def _begin(self) -> Fold:
        """From the resume point, else from what stands for the journal's beginning, else from that. Raises JournalError."""
        fold = self._resumed(self._generation.checkpoint)
        if fold is None:
            # Nobody may take it for the present one.
            self._generation.checkpoint.unlink(missing_ok=True)
            fold = self._resumed(self._generation.base)
        if fold is not None:
            return fold
        if self._generation.base.exists():
            raise JournalError("the journal's beginning is gone, and what stands for it (base.json) cannot be used")
        return Fold(self._header, self._read)

    def _resumed(self, path: Path) -> Fold | None:
        state = read_checkpoint(path)
        if state is None:
            return None
        log = self._log.bind(file=path.name)
        identity = self._identity()
        if state.get("version") not in READABLE or {k: state.get(k) for k in identity} != identity:
            log.warning("resume point is of something else")
            return None
        try:
            past = read_past(self._generation.spool, state["made"])
            fold = Fold(self._header, self._read, state, past)
            ahead = any(done > self._writer.next_place(key) for key, done in fold.progress().items())
        except (KeyError, TypeError, ValueError, IndexError) as error:
            log.warning("resume point cannot be used", error=repr(error))
            return None
        if past is None or ahead:
            log.warning("resume point knows segments that the manifest does not")
            return None
        return fold

    def _payload(self, ref: Ref) -> bytes:
        return self._read(ref.position, ref.size)

    def _read(self, position: Position, size: int) -> bytes:
        try:
            return self._frames.payload(position, size)
        except (OSError, JournalError) as error:
            self._log.error("frame cannot be read", file=position.file, offset=position.offset, error=str(error))
            return b""


def main() -> None:
    """``python -m rokuga.render FOLDER``: render the generation in that folder."""
    asyncio.run(run(Generation(Path(sys.argv[1]))))
