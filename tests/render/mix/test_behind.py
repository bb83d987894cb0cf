"""A machine that is too slow for a while: render falls behind the room, says so, catches up, and leaves out nothing."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rokuga import clock
from rokuga.folders import Generation
from rokuga.journal.reader import Entry, JournalReader
from rokuga.render import main as render
from rokuga.render.lag import lag_seconds
from rokuga.render.output import SpoolWriter
from rokuga.render.plan import Plan, Settings
from rokuga.storage import spool
from rokuga.storage.spool import Finished, Segment
from tests.kit.running import until
from tests.render.material import EPOCH, SECOND
from tests.render.mix.film import BLUE, RED
from tests.render.mix.finished import Call, video

pytestmark = pytest.mark.live

SEGMENT = 4
SLOW = 8
"""seconds that a segment takes on the slow machine: with each it is 4 more behind"""


def made(generation: Generation) -> list[tuple[int, float, str]]:
    """The finished segments: PTS, seconds and hash."""
    entries = [entry for _, entry in spool.read_manifest(generation.spool)]
    assert isinstance(entries[-1], Finished)
    return [(entry.pts, entry.duration, entry.sha256) for entry in entries if isinstance(entry, Segment)]


class Room:
    """A journal that grows as its room's time goes on: what was written at once is copied record by record."""

    def __init__(self, folder: Path, seconds: int) -> None:
        self.undisturbed = Generation(folder / "undisturbed")
        call = Call(self.undisturbed.folder, {"RenderMode": 0}, {"VideoParams": video(fps=5)}, segment_seconds=SEGMENT)
        call.user(0, seconds, "alice", 0, RED, 400)
        call.user(5, seconds - 5, "bob", 1, BLUE, 700)
        call.write(seconds * SECOND, file_seconds=10)
        with JournalReader(self.undisturbed.journal) as reader:
            self._entries = [entry for entry in reader.read() if isinstance(entry, Entry)]
        self.growing = Generation(folder / "growing")
        self.growing.journal.mkdir(parents=True)
        self.now_ns = EPOCH
        self._written = 0

    def go_on(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)
        for entry in self._entries[self._written :]:
            if entry.monotonic_ns > self.now_ns:
                break
            name = f"{entry.position.file:06d}.rj"
            with (self.undisturbed.journal / name).open("rb") as whole, (self.growing.journal / name).open("ab") as file:
                begin = whole.seek(file.tell())
                file.write(whole.read(entry.after.offset - begin))
            self._written += 1

    @property
    def lag(self) -> float:
        """As the node's metric has it."""
        return lag_seconds(self.growing.lag, self.now_ns)


async def test_a_slow_render_says_how_far_behind_it_is_and_catches_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    length, slow_segments = 48, 4
    room = Room(tmp_path, length)
    await render.run(room.undisturbed)
    monkeypatch.setattr(render, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(clock, "monotonic_ns", lambda: room.now_ns)
    write = SpoolWriter.write
    lags: list[float] = []

    def slow_write(writer: SpoolWriter, plan: Plan, settings: Settings) -> None:
        write(writer, plan, settings)
        if len(lags) < slow_segments:
            room.go_on(SLOW)
        lags.append(room.lag)

    monkeypatch.setattr(SpoolWriter, "write", slow_write)
    with capture_logs() as logs:
        following = asyncio.create_task(render.run(room.growing))
        caught_up = 0.0
        while not following.done():
            room.go_on(0.5)
            await asyncio.sleep(0)
            if not caught_up and any(line["event"] == "render has caught up" for line in logs):
                caught_up = (room.now_ns - EPOCH) / SECOND
                assert room.lag < 5
        await following
    said = [line for line in logs if line["log_level"] != "info" or "caught" in line["event"]]
    assert [line["event"] for line in said] == ["render is behind", "render has caught up"]
    assert 10 < said[0]["seconds"] <= 10 + SLOW
    # A mix is decided some 5 s behind the room; then it is 4 s more with each slow segment.
    assert lags[slow_segments - 1] > 4 * (slow_segments - 1) + 4
    assert 0 < caught_up < length
    assert made(room.growing) == made(room.undisturbed)
    assert sum(seconds for _, seconds, _ in made(room.growing)) == pytest.approx(length, abs=0.3), "a picture has 0.2 s"


async def test_a_render_that_is_stopped_for_a_while_leaves_out_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path, 24)
    await render.run(room.undisturbed)
    room.go_on(12)
    command = [sys.executable, "-m", "rokuga.render", str(room.growing.folder)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        # It is told after the first segment was named, and then a second later at the earliest.
        await until(lambda: lag_seconds(room.growing.lag, room.now_ns + 1) > 0, every=0.02)
        assert any(spool.read_manifest(room.growing.spool))
        process.send_signal(signal.SIGSTOP)
        room.go_on(12)
        assert room.lag >= 12
        process.send_signal(signal.SIGCONT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert made(room.growing) == made(room.undisturbed)
