"""The render process on a small journal: resume points, damage, names, the command."""

import asyncio
import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rokuga import clock
from rokuga.errors import JournalError
from rokuga.folders import Generation
from rokuga.journal.reader import Position, files
from rokuga.journal.records import End, FileHeader, encode
from rokuga.render import main
from rokuga.render.checkpoint import VERSION, Trim, read_checkpoint, write_checkpoint
from rokuga.render.main import run
from rokuga.storage import spool
from rokuga.storage.spool import Finished, Segment
from tests.render.material import EPOCH, SECOND, UTC, JournalMaker, h264, opus

pytestmark = pytest.mark.live


def make(folder: Path, generation: int = 0, **params: Any) -> Generation:
    """20 s of a user, in a file each 10 s."""
    maker = JournalMaker(folder / "journal", params=params, generation=generation)
    maker.video(maker.track(SECOND, "alice", "video"), SECOND, 18, h264(320, 180, 4))
    maker.audio(maker.track(SECOND, "alice", "audio"), SECOND, 18, opus(4))
    maker.write(20 * SECOND, file_seconds=10)
    return Generation(folder)


def manifest(generation: Generation) -> tuple[list[Segment], int]:
    entries = [e for _, e in spool.read_manifest(generation.spool)]
    return [e for e in entries if isinstance(e, Segment)], sum(isinstance(e, Finished) for e in entries)


def test_the_command_renders_and_a_second_time_does_nothing(tmp_path: Path) -> None:
    generation = make(tmp_path)
    command = [sys.executable, "-m", "rokuga.render", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    segments, finished = manifest(generation)
    assert (len(segments), finished) == (6, 1)
    before = (generation.spool / spool.MANIFEST).read_bytes()
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert (generation.spool / spool.MANIFEST).read_bytes() == before


def test_names_sizes_and_modes(tmp_path: Path) -> None:
    generation = make(tmp_path, generation=2, room_id="4711", room_id_type=1, segment_seconds=4)
    asyncio.run(run(generation))
    segments, _ = manifest(generation)
    assert {s.playlist for s in segments} == {
        "ha2_1400000001_4711__UserId_s_YWxpY2U.__UserId_e_main_video.m3u8",
        "ha2_1400000001_4711__UserId_s_YWxpY2U.__UserId_e_main_audio.m3u8",
    }
    for segment in segments:
        path = generation.spool / segment.name
        assert path.stat().st_size == segment.size
        assert path.stat().st_mode & 0o777 == 0o600
        assert segment.name.startswith(segment.playlist.removesuffix(".m3u8") + "_20270115080")
        assert segment.meta["target"] == 6
        assert (segment.width, segment.height) == ((320, 180) if segment.track_type == "video" else (0, 0))
        assert (segment.channels, segment.sample_rate) == ((2, 48_000) if segment.track_type == "audio" else (0, 0))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    """A rendered generation; not to be changed."""
    generation = make(tmp_path_factory.mktemp("done"))
    asyncio.run(run(generation))
    return generation


@pytest.mark.parametrize("text", ["", "[]", '{"version":99}', "broken lines", "of another task", "ahead"])
def test_a_resume_point_of_no_use_costs_nothing_but_time(done: Generation, tmp_path: Path, text: str) -> None:
    shutil.copytree(done.folder, tmp_path / "g0")
    generation = Generation(tmp_path / "g0")
    expected, _ = manifest(generation)
    state = read_checkpoint(generation.checkpoint)
    assert state is not None
    (generation.spool / spool.MANIFEST).unlink()
    match text:
        case "broken lines":
            state["lines"][0]["state"]["index"] = "many"
        case "of another task":
            state["task"] = "other"
        case "ahead":
            pass
        case _:
            state = None
    generation.checkpoint.write_text(json.dumps(state) if state else text)
    asyncio.run(run(generation))
    assert manifest(generation) == (expected, 1)


def test_a_trimmed_journal_needs_what_stands_for_its_beginning(tmp_path: Path) -> None:
    generation = make(tmp_path)
    asyncio.run(run(generation))
    assert Trim(generation).remove(set(), clock.utc_ns() / 1e9 + 60)
    generation.checkpoint.unlink()
    for line in (generation.spool / spool.MANIFEST).read_bytes().splitlines(keepends=True)[-1:]:
        assert b"finished" in line
    made = [e for _, e in spool.read_manifest(generation.spool) if isinstance(e, Segment)]
    (generation.spool / spool.MANIFEST).write_bytes(b"".join(spool.encode(s) for s in made))
    generation.base.write_text("{")
    with pytest.raises(JournalError, match="beginning is gone"):
        asyncio.run(run(generation))


def test_what_is_needed_is_not_trimmed(tmp_path: Path) -> None:
    generation = Generation(tmp_path)
    generation.journal.mkdir()
    for number in range(1, 8):
        (generation.journal / f"{number:06d}.rj").write_bytes(b"x" * 10)
        os.utime(generation.journal / f"{number:06d}.rj", (100 * number, 100 * number))

    def left() -> list[int]:
        return [number for number, _ in files(generation.journal)]

    whole = list(range(1, 8))
    assert Trim(generation).remove(set(), 9999) == 0, "without a resume point"
    state = {"version": VERSION, "start": [6, 77], "files": [2], "made": 9}
    write_checkpoint(generation.checkpoint, state | {"version": VERSION - 1})
    assert Trim(generation).remove(set(), 9999) == 0, "an older program's, which the present one may not understand"
    write_checkpoint(generation.checkpoint, state)
    assert Trim(generation).made == 9
    assert Trim(generation).remove({0}, 9999) == 0, "a segment of which nobody knows what it is made of"
    assert Trim(generation).remove(set(), 100) == 0, "too young"
    assert left() == whole
    assert not generation.base.exists()
    assert Trim(generation).remove({4}, 301) == 20
    assert left() == [2, 4, 5, 6, 7], "a picture that stands for long is of file 2"
    assert read_checkpoint(generation.base) == state
    write_checkpoint(generation.checkpoint, state | {"files": [], "made": 10})
    assert read_checkpoint(generation.base) == state
    assert Trim(generation).remove(set(), 9999) == 30
    assert left() == [6, 7]
    assert read_checkpoint(generation.base) == state | {"files": [], "made": 10}
    assert {p.suffix for p in generation.journal.iterdir()} == {".rj", ".json"}


async def test_a_full_disk_is_waited_for(done: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(done.journal, tmp_path / "journal")
    monkeypatch.setattr(main, "RETRY_SECONDS", 0.001)
    random_ = random.Random(2)
    fsync, fdatasync = os.fsync, os.fdatasync
    refused = 0

    def refusing(sync: Callable[[int], None], fd: int) -> None:
        nonlocal refused
        if random_.random() < 0.4:
            refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(fd)

    monkeypatch.setattr(os, "fsync", lambda fd: refusing(fsync, fd))
    monkeypatch.setattr(os, "fdatasync", lambda fd: refusing(fdatasync, fd))
    await run(Generation(tmp_path))
    assert refused > 5
    segments, finished = manifest(Generation(tmp_path))
    # A line whose sync failed may stand twice.
    assert finished >= 1
    assert {(s.playlist, s.index): s for s in segments} == {(s.playlist, s.index): s for s in manifest(done)[0]}
    assert not list((tmp_path / "spool").glob(".writing-*"))


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    generation = make(tmp_path)
    first = sorted(generation.journal.iterdir())[0]
    with first.open("r+b") as file:
        file.truncate(first.stat().st_size * 4 // 5)
    asyncio.run(run(generation))
    segments, finished = manifest(generation)
    assert finished == 1
    audio = [s for s in segments if s.track_type == "audio"]
    assert [s.discontinuity for s in audio] == [False, False, True]


def test_a_frame_that_cannot_be_read_costs_that_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = make(tmp_path)
    pread = os.pread

    def failing(fd: int, size: int, offset: int) -> bytes:
        # Frames are read one by one, records in large pieces.
        if size < 4096 and offset % 1000 < 30:
            raise OSError(5, "Input/output error")
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    asyncio.run(run(generation))
    segments, finished = manifest(generation)
    assert finished == 1
    assert sum(s.duration for s in segments if s.track_type == "audio") == pytest.approx(18, abs=0.5)


def test_resume_begins_where_the_open_segments_do(done: Generation, tmp_path: Path) -> None:
    generation = make(tmp_path)
    for path in sorted(generation.journal.iterdir())[1:]:
        path.rename(tmp_path / path.name)

    async def follow(seconds: float) -> None:
        rendering = asyncio.create_task(run(generation))
        done, _ = await asyncio.wait([rendering], timeout=seconds)
        rendering.cancel()
        await asyncio.gather(rendering, return_exceptions=True)
        assert not done

    asyncio.run(follow(1.5))
    state = read_checkpoint(generation.checkpoint)
    assert state is None, "nothing was complete within 10 s"
    (tmp_path / "000002.rj").rename(generation.journal / "000002.rj")
    asyncio.run(follow(1.5))
    state = read_checkpoint(generation.checkpoint)
    assert state is not None
    assert {line["state"]["index"] for line in state["lines"]} == {1}
    assert min(Position(*line["position"]) for line in state["lines"]) > Position(1, 10_000)
    # One of the version before is as good.
    write_checkpoint(generation.checkpoint, flat(state) | {"version": 3})
    (tmp_path / "000003.rj").rename(generation.journal / "000003.rj")
    with capture_logs() as logs:
        asyncio.run(run(generation))
    assert next(line["position"] for line in logs if line["event"] == "render begins") == state["start"]
    assert manifest(generation) == manifest(done)


def flat(state: Any) -> Any:
    """As in version 3: references began with the position's two numbers."""
    if isinstance(state, dict):
        return {key: flat(value) for key, value in state.items()}
    if isinstance(state, list):
        return [*state[0], *state[1:]] if len(state) == 8 and isinstance(state[0], list) else [flat(value) for value in state]
    return state


def test_a_journal_that_somebody_else_seals(tmp_path: Path) -> None:
    """Capture was killed; a process after it opens the next file and writes the end, by a clock that began anew."""
    maker = JournalMaker(tmp_path / "journal")
    maker.video(maker.track(SECOND, "alice", "video"), SECOND, 12, h264(320, 180, 4))
    maker.write(13 * SECOND, leave_code=None)
    header = FileHeader("task-1", 0, 2, 5 * SECOND, UTC + 100 * SECOND, EPOCH, UTC)

    async def sealed() -> None:
        rendering = asyncio.create_task(run(Generation(tmp_path)))
        while not (tmp_path / "render.json").exists():
            await asyncio.sleep(0.02)
        (tmp_path / "journal" / "000002.rj").write_bytes(header.encode() + encode(End(-1, "sealed"), 5 * SECOND))
        await asyncio.wait_for(rendering, 30)

    asyncio.run(sealed())
    segments, finished = manifest(Generation(tmp_path))
    assert finished == 1
    assert sum(s.duration for s in segments) == pytest.approx(12, abs=0.05)
