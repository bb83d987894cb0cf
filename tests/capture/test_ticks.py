"""What a tick in the journal promises: all that came before it is in front of it."""

import asyncio
import time
from pathlib import Path

import pytest
import structlog

from rokuga import clock
from rokuga.capture.main import Capture
from rokuga.capture.recording import Recording
from rokuga.folders import Generation
from rokuga.journal.records import Record, Tick
from rokuga.journal.writer import JournalWriter
from tests.capture.kit import PARAMS


class Slow(Recording):
    """Its third round of media blocks for longer than the ticks are apart."""

    def __init__(self, journal: JournalWriter) -> None:
        super().__init__(journal, PARAMS, 1, structlog.get_logger())
        self.receiving.set()
        self.rounds: list[int] = []

    def tick(self) -> float:
        began = clock.monotonic_ns()
        if len(self.rounds) == 2:
            time.sleep(1.2)
        self.rounds.append(began)
        return 0.1


async def test_no_tick_is_ahead_of_what_was_read_after_a_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = Generation(tmp_path)
    capture = Capture(generation, "task", 0)
    journal = JournalWriter(generation.journal, "task", 0)
    recording = Slow(journal)
    promised: list[tuple[int, int]] = []
    append = journal.append

    def watched(record: Record, now_ns: int | None = None) -> int:
        if isinstance(record, Tick):
            assert now_ns is not None
            # The last round may not have emptied the sockets.
            promised.append((now_ns, recording.rounds[-2] if len(recording.rounds) > 1 else now_ns))
        return append(record, now_ns)

    monkeypatch.setattr(journal, "append", watched)
    began = clock.monotonic_ns()
    running = [asyncio.create_task(capture._media_ticks(recording, journal)), asyncio.create_task(capture._seconds(recording, journal))]
    async with asyncio.timeout(20):
        while len(promised) < 4:
            await asyncio.sleep(0.05)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    journal.close()
    assert all(tick <= read for tick, read in promised)
    assert promised[-1][0] > began + 2_000_000_000
