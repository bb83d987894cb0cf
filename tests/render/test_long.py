"""A recording of days, in little time: across the 26.5 hours' wrap, with a clock that is 200 ppm off, in bounded memory and state."""

import asyncio
import json
from pathlib import Path

import av
import pytest

from rokuga.folders import Generation
from rokuga.journal.reader import JournalReader
from rokuga.journal.records import FileHeader, Frame, Params, Tick, TrackOpened, encode
from rokuga.render import checkpoint
from rokuga.render import main as render
from rokuga.render.plan import HEAD_START_90K
from rokuga.storage import spool
from rokuga.storage.spool import Segment
from tests.render.material import EPOCH, PARAMS, SECOND, UTC, h264

pytestmark = pytest.mark.live

HOUR = 3600
HOURS = 28
STEP = 3
"""seconds from picture to picture"""
SKEW = 1.0002
"""The publisher's clock runs fast by 200 ppm: 20 s in these 28 hours."""
WRAP = 2**33
PLAYLIST_HOURS = 10


def write_journal(folder: Path) -> None:
    """A screen that shows a picture every STEP seconds, an IDR each 30 s; a file an hour."""
    folder.mkdir(parents=True)
    units = h264(192, 108, 4, gop=30 // STEP)
    params = {**PARAMS, "segment_seconds": 60, "playlist_seconds": PLAYLIST_HOURS * HOUR}
    for hour in range(HOURS):
        now = hour * HOUR * SECOND
        data = bytearray(FileHeader("task-1", 0, hour + 1, EPOCH + now, UTC + now, EPOCH, UTC).encode())
        if hour == 0:
            data += encode(Params(1, params), EPOCH)
            data += encode(TrackOpened(1, "alice", "main", "video", "h264", 90_000), EPOCH)
        for second in range(hour * HOUR, (hour + 1) * HOUR, STEP):
            arrival = EPOCH + second * SECOND
            payload, key = units[second // STEP % len(units)]
            data += encode(Frame(1, round(second * 90_000 * SKEW), arrival, arrival, key, payload), arrival)
            data += encode(Tick(), arrival)
        (folder / f"{hour + 1:06d}.rj").write_bytes(data)


def private_bytes() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(("Private_Clean", "Private_Dirty")))


def test_28_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = Generation(tmp_path)
    write_journal(generation.journal)
    memory: list[int] = []
    states: list[int] = []
    save = checkpoint.write_checkpoint

    def noting(path: Path, state: dict[str, object]) -> None:
        states.append(len(json.dumps(state)))
        if len(states) % 60 == 0:
            memory.append(private_bytes())
        save(path, state)

    monkeypatch.setattr(render, "write_checkpoint", noting)
    # Nobody says that it is over: all but the last minute is rendered.
    asyncio.run(rendered_up_to(generation, HOURS * 60 - 2))
    assert max(memory) - memory[2] < 8_000_000, memory
    assert max(states[100:]) <= max(states[:100]) + 200
    segments = [entry for _, entry in spool.read_manifest(generation.spool) if isinstance(entry, Segment)]
    check_playlists(segments)
    for number, segment in enumerate(segments):
        # Each begins with an IDR at a true multiple of 30 s, to 10 ms although the publisher is 20 s ahead at the end.
        true = segment.pts / 90_000 - HEAD_START_90K / 90_000
        assert abs(true - round(true / 30) * 30) < 0.010, (number, true)
        assert segment.begin_ms == UTC // 1_000_000 + (segment.pts - HEAD_START_90K) // 90
        assert not segment.discontinuity
    check_wrap(generation, segments)


async def rendered_up_to(generation: Generation, count: int) -> None:
    following = asyncio.create_task(render.run(generation))
    async with asyncio.timeout(300):
        while sum(1 for _ in spool.lines(generation.spool / spool.MANIFEST)) < count:
            await asyncio.sleep(0.2)
    following.cancel()
    await asyncio.wait([following])


def check_playlists(segments: list[Segment]) -> None:
    lists: dict[str, list[Segment]] = {}
    for segment in segments:
        lists.setdefault(segment.playlist, []).append(segment)
    stem = next(iter(lists)).removesuffix(".m3u8")
    assert list(lists) == [f"{stem}.m3u8", f"{stem}_1.m3u8", f"{stem}_2.m3u8"]
    for part in lists.values():
        assert [s.index for s in part] == list(range(len(part)))
        assert abs(len(part) - PLAYLIST_HOURS * 60) <= 1 or part is list(lists.values())[-1]
    assert len({s.name for s in segments}) == len(segments)


def check_wrap(generation: Generation, segments: list[Segment]) -> None:
    over = next(s for s in segments if s.pts + s.duration * 90_000 > WRAP)
    at = segments.index(over)
    for segment in segments[at - 1 : at + 2]:
        with av.open(str(generation.spool / segment.name)) as container:
            first = next(p for p in container.demux() if p.size)
            assert first.pts is not None
            assert (first.pts - segment.pts) % WRAP == 0
    with JournalReader(generation.journal) as reader:
        assert sum(1 for _ in reader.read()) == 2 * HOURS * HOUR // STEP + 2
