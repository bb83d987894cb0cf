"""What a recording of days costs the node: texts on the disk, logs that stay short, playlists that are put less often."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from rokuga.hls import playlist
from rokuga.storage import confirmed, spool, text, uploader
from rokuga.storage.confirmed import ConfirmedLog
from rokuga.storage.spool import Segment
from rokuga.storage.text import PlaylistText
from tests.storage.spools import listed
from tests.storage.test_uploader import Bench, until

pytestmark = pytest.mark.live

ONE = Segment("a.m3u8", 0, "a0.ts", 10, "", 0, 10.0, 1_700_000_000_000, "alice", "main", "video", width=640, height=360)


def test_a_text_on_the_disk_is_the_text(tmp_path: Path) -> None:
    segments = [
        replace(ONE, index=i, name=f"a{i}.ts", duration=10 + i % 3, discontinuity=i % 50 == 7, width=640 + i // 90) for i in range(400)
    ]
    grown = PlaylistText(tmp_path, "a.m3u8")
    for begin in range(0, 400, 40):
        grown.add(segments[begin : begin + 40])
        assert grown.count == begin + 40
        assert grown.whole(False).decode() == playlist.render(segments[: begin + 40], False)
        assert len(grown._tail) <= text.HELD_BYTES
    assert grown.whole(True).decode() == playlist.render(segments, True)
    # The next process begins anew, whatever is left behind.
    again = PlaylistText(tmp_path, "a.m3u8")
    again.add(segments[:300])
    assert again.whole(True).decode() == playlist.render(segments[:300], True)
    again.remove()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_text_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = [replace(ONE, index=i, name=f"a{i}.ts") for i in range(400)]
    grown = PlaylistText(tmp_path / "missing", "a.m3u8")
    grown.add(segments[:300])
    assert grown.whole(False).decode() == playlist.render(segments[:300], False)
    (tmp_path / "missing").mkdir()
    grown.add(segments[300:])
    assert len(grown._tail) <= text.HELD_BYTES
    assert grown.whole(True).decode() == playlist.render(segments, True)


def test_the_log_of_what_is_confirmed_is_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmed, "COMPACT_BYTES", 2_000)
    log = ConfirmedLog(tmp_path)
    for number in range(100):
        log.append([{"playlist": "a.m3u8", "index": number}])
    assert log.is_long
    log.compact([{"playlist": "a.m3u8", "count": 100, "closed": False}])
    assert not log.is_long
    log.append([{"playlist": "a.m3u8", "index": 100}])
    again = ConfirmedLog(tmp_path)
    assert list(again.load()) == [{"playlist": "a.m3u8", "count": 100, "closed": False}, {"playlist": "a.m3u8", "index": 100}]
    assert [p.name for p in tmp_path.iterdir()] == [spool.CONFIRMED]


async def test_restarts_while_the_log_is_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmed, "COMPACT_BYTES", 1_000)
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    for round_ in range(6):
        for number in range(20):
            bench.spool.add("ab"[number % 2] + ".m3u8", 100)
        running = asyncio.create_task(bench.again().run())
        await until(partial(_has_confirmed, bench, 2_000 * round_ + 1_400))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (bench.spool.folder / spool.CONFIRMED).stat().st_size < 4_000
    bench.spool.finish()
    await asyncio.wait_for(bench.again().run(), 20)
    for name, segments in bench.spool.segments.items():
        assert listed((bench.store / name).read_text()) == [s.name for s in segments]
    assert not list(bench.spool.folder.glob("*.ts"))
    assert {p.name for p in bench.spool.folder.iterdir()} == {spool.MANIFEST, spool.CONFIRMED}


def _has_confirmed(bench: Bench, size: int) -> bool:
    return bench.uploader.ledger.bytes_confirmed > size


async def test_a_long_playlist_is_put_less_often_and_at_the_end_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text takes 0.3 s or more at that pace, and a segment comes each 20 ms."""
    monkeypatch.setattr(uploader, "PLAYLIST_BYTES_PER_SECOND", 1_000)
    bench = Bench(tmp_path)
    puts: list[tuple[str, int]] = []
    put = bench.destination.put

    async def noted(name: str, data: bytes, seconds: float | None = None) -> None:
        puts.append((name, len(data)))
        await put(name, data, seconds)

    monkeypatch.setattr(bench.destination, "put", noted)
    bench.gate.aim(bench.destination)
    running = asyncio.create_task(bench.uploader.run())
    began = asyncio.get_running_loop().time()
    for _ in range(100):
        bench.spool.add("a.m3u8", 100)
        await asyncio.sleep(0.02)
    await until(lambda: bench.uploader.ledger.playlists["a.m3u8"].confirmed == 100)
    took = asyncio.get_running_loop().time() - began
    texts = [size for name, size in puts if name == "a.m3u8"]
    assert len(texts) >= 2
    assert sum(texts[:-1]) <= took * 1_000, "of the last one the time is still running"
    ending = asyncio.get_running_loop().time()
    bench.spool.finish()
    await asyncio.wait_for(running, 20)
    assert asyncio.get_running_loop().time() - ending < 3
    assert len(listed((bench.store / "a.m3u8").read_text())) == 100


async def test_the_last_segments_before_a_silence_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader, "PLAYLIST_BYTES_PER_SECOND", 1_000)
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    running = asyncio.create_task(bench.uploader.run())
    bench.spool.add("a.m3u8", 100)
    await until(lambda: (bench.store / "a.m3u8").exists())
    for _ in range(3):
        bench.spool.add("a.m3u8", 100)
    await until(lambda: len(listed((bench.store / "a.m3u8").read_text())) == 4)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_outage_of_days_costs_no_more_memory_than_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader, "MOST_HELD", 300)
    monkeypatch.setattr(uploader, "BATCH", 50)
    bench = Bench(tmp_path)
    for number in range(1_000):
        bench.spool.add(f"{number % 3}.m3u8", 10)
    bench.spool.finish()
    running = asyncio.create_task(bench.uploader.run())
    await until(lambda: bench.uploader.ledger.held > 300)
    await asyncio.sleep(0.5)
    assert bench.uploader.ledger.held <= 350
    bench.gate.aim(bench.destination)
    await asyncio.wait_for(running, 60)
    assert bench.uploader.ledger.held == 0
    for name, segments in bench.spool.segments.items():
        assert listed((bench.store / name).read_text()) == [s.name for s in segments]
