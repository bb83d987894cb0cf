"""The uploader: everything arrives, playlists are true at every moment, and nothing that happens to it changes that."""

import asyncio
import hashlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import LocalStore, S3Store

from rokuga.config import Store
from rokuga.control.model import StoreTarget
from rokuga.storage import gate, spool, stores, uploader
from rokuga.storage.gate import Gate, Slots
from rokuga.storage.stores import Destination
from rokuga.storage.uploader import Uploader
from tests.kit.seaweed import Seaweed
from tests.storage.reader import Reader, text_of
from tests.storage.spools import Spool, listed

pytestmark = pytest.mark.live

TARGET = StoreTarget(0, "ap-tokyo", "recordings", "AKIDkey", "very-secret")
FILE = (Store(endpoint="file"),)


class Bench:
    """A spool, an uploader to ``section``, and what it reported."""

    def __init__(self, folder: Path, section: tuple[Store, ...] = FILE, target: StoreTarget = TARGET) -> None:
        self.folder = folder
        self.spool = Spool(folder / "spool")
        self.gate = Gate()
        self.destination = Destination(target, "task", section, folder)
        self.reports: list[tuple[str, str, dict[str, Any]]] = []
        self.uploader = self.again()

    def again(self) -> Uploader:
        """One that starts from what is on disk."""
        self.uploader = Uploader(self.spool.folder, self.gate, Slots(), self._notify)
        return self.uploader

    async def _notify(self, kind: str, key: str, payload: dict[str, Any]) -> None:
        if key not in [k for _, k, _ in self.reports]:
            self.reports.append((kind, key, payload))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.reports]

    @property
    def store(self) -> Path:
        return self.folder / "store/recordings/task"


async def until(what: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "in vain"
        await asyncio.sleep(0.02)


async def test_everything_arrives_and_leaves_the_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    running = asyncio.create_task(bench.uploader.run())
    for _ in range(3):
        bench.spool.add("a.m3u8")
        bench.spool.add("b.m3u8")
    await until(lambda: bench.kinds.count("uploaded") == 2)
    assert "#EXT-X-ENDLIST" not in (bench.store / "a.m3u8").read_text()
    bench.spool.add("a.m3u8")
    bench.spool.finish()
    await asyncio.wait_for(running, 20)
    for playlist, segments in bench.spool.segments.items():
        text = (bench.store / playlist).read_text()
        assert text.rstrip().endswith("#EXT-X-ENDLIST")
        assert listed(text) == [s.name for s in segments]
    for name, content in bench.spool.content.items():
        assert (bench.store / name).read_bytes() == content
    assert not list(bench.spool.folder.glob("*.ts"))
    assert bench.kinds.count("sliced") == 2
    assert bench.kinds[-1] == "drained"
    assert bench.reports[0][2] == {
        "file": "a.m3u8",
        "user_id": "alice",
        "media_id": "main",
        "track_type": "audio",
        "begin_ms": 1_700_000_000_000,
    }


async def test_a_segment_is_in_the_store_within_a_second_of_being_cut(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    running = asyncio.create_task(bench.uploader.run())
    await asyncio.sleep(0.5)
    segment = bench.spool.add()
    await until(lambda: (bench.store / segment.name).exists() and (bench.store / "a.m3u8").exists(), 1)
    bench.spool.finish()
    await asyncio.wait_for(running, 20)


async def test_slices_are_told_and_nothing_is_put_before_the_keys_come(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spool.add()
    running = asyncio.create_task(bench.uploader.run())
    await until(lambda: bench.kinds == ["sliced"])
    assert not bench.store.exists()
    bench.gate.aim(bench.destination)
    bench.spool.finish()
    await asyncio.wait_for(running, 20)
    assert bench.kinds == ["sliced", "uploaded", "drained"]


async def test_a_fenced_node_uploads_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    bench.gate.hold(True)
    bench.spool.add()
    running = asyncio.create_task(bench.uploader.run())
    await until(lambda: bench.kinds == ["sliced"])
    await asyncio.sleep(0.5)
    assert not bench.store.exists()
    bench.gate.hold(False)
    bench.spool.finish()
    await asyncio.wait_for(running, 20)
    assert listed((bench.store / "a.m3u8").read_text()) == list(bench.spool.content)


async def test_fenced_while_it_stands_in_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    slots = Slots()
    line = slots.of(bench.destination.address)
    for _ in range(gate.PUTS_PER_STORE):
        await line.acquire()
    bench.gate.aim(bench.destination)
    bench.spool.add()
    bench.spool.finish()
    running = asyncio.create_task(Uploader(bench.spool.folder, bench.gate, slots, bench._notify).run())
    await until(lambda: bench.kinds == ["sliced"])
    await asyncio.sleep(0.1)
    bench.gate.hold(True)
    for _ in range(gate.PUTS_PER_STORE):
        line.release()
    await asyncio.sleep(0.5)
    assert not list(bench.store.rglob("*.ts"))
    bench.gate.hold(False)
    await asyncio.wait_for(running, 20)
    assert listed((bench.store / "a.m3u8").read_text()) == list(bench.spool.content)


async def test_at_most_four_puts_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work = most = 0
    put = Destination.put

    async def counted(self: Destination, name: str, data: bytes, seconds: float | None = None) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        try:
            await asyncio.sleep(0.02)
            await put(self, name, data, seconds)
        finally:
            at_work -= 1

    monkeypatch.setattr(Destination, "put", counted)
    slots = Slots()
    benches = [Bench(tmp_path / str(i)) for i in range(3)]
    for bench in benches:
        bench.gate.aim(bench.destination)
        for number in range(20):
            bench.spool.add(f"{number % 4}.m3u8")
        bench.spool.finish()
    await asyncio.gather(*(Uploader(b.spool.folder, b.gate, slots, b._notify).run() for b in benches))
    assert most == gate.PUTS_PER_STORE


async def test_a_damaged_segment_hinders_only_its_own_playlist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader, "RETRY_LAST_SECONDS", 0.3)
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    broken = [bench.spool.add("broken.m3u8") for _ in range(6)]
    for segment in broken:
        (bench.spool.folder / segment.name).write_bytes(b"rotten")
    bench.spool.add("sound.m3u8")
    bench.spool.finish()
    running = asyncio.create_task(bench.uploader.run())
    await until(lambda: "uploaded" in bench.kinds)
    assert "#EXT-X-ENDLIST" in (bench.store / "sound.m3u8").read_text()
    assert not (bench.store / "broken.m3u8").exists()
    assert {payload["code"] for kind, _, payload in bench.reports if kind == "upload_error"} == {"SegmentDamaged"}
    for segment in broken:
        (bench.spool.folder / segment.name).write_bytes(bench.spool.content[segment.name])
    await asyncio.wait_for(running, 20)
    assert listed((bench.store / "broken.m3u8").read_text()) == [s.name for s in broken]


async def test_an_uploader_stopped_anywhere_is_gone_on_with(tmp_path: Path) -> None:
    """In-process: cancelled at many moments, also between a put and its note."""
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    chance = random.Random(7)
    store = LocalStore(prefix=tmp_path / "store/recordings")
    async with asyncio.TaskGroup() as group:
        reader = Reader(store, bench.spool, ["a.m3u8", "b.m3u8"])
        group.create_task(reader.run())
        stopped = 0
        while stopped < 25 or reader.looks <= 20:
            running = asyncio.create_task(bench.again().run())
            for _ in range(chance.randrange(3)):
                bench.spool.add(chance.choice(["a.m3u8", "b.m3u8"]), 3000)
            await asyncio.sleep(chance.random() * 0.3)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            stopped += 1
        bench.spool.finish()
        await asyncio.wait_for(bench.again().run(), 20)
        reader.stop.set()
    for playlist, segments in bench.spool.segments.items():
        assert listed((bench.store / playlist).read_text()) == [s.name for s in segments]


async def test_what_was_noted_and_not_said_is_said_by_whoever_comes_after(tmp_path: Path) -> None:
    """Killed between a playlist's only put and its report."""
    bench = Bench(tmp_path)
    bench.gate.aim(bench.destination)
    bench.spool.add("a.m3u8")
    bench.spool.finish()
    await asyncio.wait_for(bench.uploader.run(), 20)
    said = list(bench.reports)
    bench.reports.clear()
    await asyncio.wait_for(bench.again().run(), 20)
    assert sorted(bench.reports) == sorted(said)
    assert bench.kinds.count("uploaded") == 1


async def test_errors_are_told_once_a_minute_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(stores, "PUT_SECONDS", 0.2)
        section = Store(endpoint=f"http://127.0.0.1:{listening.getsockname()[1]}", addressing="path")
        bench = Bench(tmp_path, (section,))
        bench.gate.aim(bench.destination)
        bench.spool.add()
        bench.spool.add()
        running = asyncio.create_task(bench.uploader.run())
        await until(lambda: "upload_error" in bench.kinds)
        await asyncio.sleep(1.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    errors = [(key, payload) for kind, key, payload in bench.reports if kind == "upload_error"]
    assert 1 <= len(errors) <= 2  # a minute may have begun meanwhile
    assert errors[0][0].startswith("upload_error/RequestTimeout/")
    assert errors[0][1]["code"] == "RequestTimeout"
    assert len(list(bench.spool.folder.glob("*.ts"))) == 2


@pytest.fixture
async def seaweed(tmp_path: Path) -> AsyncIterator[Seaweed]:
    async with Seaweed(tmp_path / "seaweed") as store:
        yield store


def s3(seaweed: Seaweed) -> S3Store:
    return S3Store(
        seaweed.bucket,
        endpoint=seaweed.endpoint,
        access_key_id=seaweed.access_key,
        secret_access_key=seaweed.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )


@pytest.mark.live
async def test_killed_again_and_again(seaweed: Seaweed, tmp_path: Path) -> None:
    """Processes killed by -9 at seeded moments while segments are cut; a reader looks all the time."""
    made = Spool(tmp_path / "spool")
    target = StoreTarget(0, "ap-tokyo", seaweed.bucket, seaweed.access_key, seaweed.secret_key)
    order = {"target": asdict(target), "store": seaweed.section.model_dump(), "data": str(tmp_path), "spool": str(made.folder)}
    chance = random.Random(2)
    playlists = ["a.m3u8", "b.m3u8", "c.m3u8"]
    killed = asyncio.Event()

    async def cut() -> None:
        number = 0
        while number < 150 or not killed.is_set():
            number += 1
            made.add(chance.choice(playlists), chance.randrange(1000, 400_000))
            await asyncio.sleep(0.08)
        made.finish()

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-m", "tests.storage.upload"], stdin=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.close()
        return process

    async with asyncio.TaskGroup() as group:
        reader = Reader(s3(seaweed), made, playlists)
        group.create_task(reader.run())
        cutting = group.create_task(cut())
        kills = 0
        while kills < 8 or reader.looks <= 20:
            process = start()
            await asyncio.sleep(1 + chance.random() * 1.5)
            process.kill()
            process.wait()
            kills += 1
        killed.set()
        await cutting
        process = start()
        assert await asyncio.to_thread(process.wait, 60) == 0
        reader.stop.set()
    for playlist, segments in made.segments.items():
        text = await text_of(s3(seaweed), playlist)
        assert text is not None
        assert text.rstrip().endswith("#EXT-X-ENDLIST")
        assert listed(text) == [s.name for s in segments]
    for segments in made.segments.values():
        for segment in segments:
            got = await obstore.get_async(s3(seaweed), f"task/{segment.name}")
            assert hashlib.sha256(bytes(await got.bytes_async())).hexdigest() == segment.sha256
    assert not list(made.folder.glob("*.ts"))


@pytest.mark.live
async def test_a_store_that_is_away_for_a_while(seaweed: Seaweed, tmp_path: Path) -> None:
    target = StoreTarget(0, "ap-tokyo", seaweed.bucket, seaweed.access_key, seaweed.secret_key)
    bench = Bench(tmp_path, (seaweed.section,), target)
    bench.gate.aim(bench.destination)
    bench.spool.add()
    running = asyncio.create_task(bench.uploader.run())
    await until(lambda: "uploaded" in bench.kinds)
    await seaweed.stop()
    lost = [bench.spool.add() for _ in range(6)]
    await until(lambda: "upload_error" in bench.kinds)
    assert all((bench.spool.folder / segment.name).exists() for segment in lost)
    await seaweed.start()
    bench.spool.finish()
    await asyncio.wait_for(running, 60)
    text = await text_of(s3(seaweed), "a.m3u8")
    assert text is not None
    assert listed(text) == list(bench.spool.content)


@pytest.mark.live
async def test_a_wrong_key_loses_nothing_and_right_ones_go_on(seaweed: Seaweed, tmp_path: Path) -> None:
    right = StoreTarget(0, "ap-tokyo", seaweed.bucket, seaweed.access_key, seaweed.secret_key)
    wrong = StoreTarget(0, "ap-tokyo", seaweed.bucket, seaweed.access_key, "wrong")
    bench = Bench(tmp_path, (seaweed.section,), wrong)
    bench.gate.aim(bench.destination)
    bench.spool.add()
    bench.spool.finish()
    running = asyncio.create_task(bench.uploader.run())
    await until(lambda: "upload_error" in bench.kinds)
    payload = next(payload for kind, _, payload in bench.reports if kind == "upload_error")
    assert payload["code"] == "SignatureDoesNotMatch"
    assert payload["message"].startswith("The request signature we calculated")
    bench.gate.aim(Destination(right, "task", (seaweed.section,), tmp_path))
    await asyncio.wait_for(running, 60)
    assert bench.kinds[-1] == "drained"


def test_the_confirmed_log_holds_no_secret(tmp_path: Path) -> None:
    async def upload() -> None:
        bench = Bench(tmp_path)
        bench.gate.aim(bench.destination)
        bench.spool.add()
        bench.spool.finish()
        await bench.uploader.run()

    asyncio.run(upload())
    text = (tmp_path / "spool" / spool.CONFIRMED).read_text()
    assert "very-secret" not in text
    assert len(text.splitlines()) >= 2
