"""The journal: what is written is read, whatever is cut off, damaged, continued or followed."""

import asyncio
import errno
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga import headroom
from rokuga.errors import JournalError
from rokuga.journal import reader as reader_module
from rokuga.journal import writer as writer_module
from rokuga.journal.reader import Arrived, Damage, Entry, JournalReader, Position, Run, files, last_header
from rokuga.journal.records import (
    HEAD,
    End,
    FileHeader,
    Frame,
    KeyframeAsked,
    Loss,
    Params,
    Record,
    RoomEvent,
    Tick,
    TrackClosed,
    TrackOpened,
    decode,
    encode,
)
from rokuga.journal.writer import JournalWriter

RECORDS: list[Record] = [
    Params(1, {"room_id": "部屋", "lists": {"audio_allow": ["a"]}}),
    RoomEvent("joined", "アリス", 0),
    TrackOpened(1, "アリス", "main", "video", "h264", 90000, 0, "packetization-mode=1"),
    KeyframeAsked(1, "start"),
    Frame(1, (1 << 33) + 5, 1_000, 2_000, True, b"\0\0\0\1\x65" + bytes(range(256)) * 40),
    Frame(1, -7, 3_000, 4_000, False, b""),
    Loss(1, 65_530, 65_537, 77, "repair-failed", 5),
    Tick(123),
    TrackClosed(1, "left"),
    TrackOpened(65_536, "bob", "main", "audio", "opus", 48000, 2),
    Frame((1 << 22) - 1, 1, 3_000, 4_000, True, b"x", switched=True, orientation=7),
    *(Frame(1, number, 5_000, 6_000, False, b"y", orientation=number) for number in range(8)),
    TrackClosed(65_536, "left"),
    End(99, "idle"),
]


def entries(folder: Path, start: Position | None = None) -> tuple[list[Record], list[Damage]]:
    """All records with their payloads, and all damages."""
    got: list[Record] = []
    damages: list[Damage] = []
    with JournalReader(folder, start or Position(0, 0)) as reader:
        for item in reader.read():
            if isinstance(item, Damage):
                damages.append(item)
                continue
            record = item.record
            if isinstance(record, Frame):
                data = reader.payload(item.position, item.payload_bytes)
                record = replace(record, data=data)
            got.append(record)
    return got, damages


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        times = [writer.append(r) for r in RECORDS]
    assert entries(tmp_path) == (RECORDS, [])
    with JournalReader(tmp_path) as reader:
        read = [e for e in reader.read() if isinstance(e, Entry)]
        assert [e.monotonic_ns for e in read] == times
        assert reader.header is not None
        assert reader.header.task_id == "task"
        assert reader.header.epoch_ns == writer.epoch_ns
    for entry, expected in zip(read, RECORDS, strict=True):
        assert entries(tmp_path, entry.position)[0][0] == expected
    assert files(tmp_path)[0][1].stat().st_mode & 0o777 == 0o600


async def test_is_written_within_the_promised_time(tmp_path: Path) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        writer.append(Tick(1))
        async with asyncio.timeout(5):
            while not entries(tmp_path)[0]:
                await asyncio.sleep(0.02)


async def test_a_follower_reads_on_where_it_stopped(tmp_path: Path) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        with JournalReader(tmp_path) as reader:
            for record in RECORDS:
                assert list(reader.read()) == []
                writer.append(record)
                writer.flush()
                (entry,) = reader.read()
                assert isinstance(entry, Entry)
                assert type(entry.record) is type(record)


async def test_frames_that_stand_together_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        times = [writer.append(r) for r in RECORDS]
    with JournalReader(tmp_path) as reader:
        single = [e for e in reader.read() if isinstance(e, Entry)]
    for chunk in (reader_module.CHUNK, 1):
        monkeypatch.setattr(reader_module, "CHUNK", chunk)
        with JournalReader(tmp_path) as reader:
            items = [item for item in reader.runs() if not isinstance(item, Damage)]
        assert [after.position for after in items[1:]] == [before.after for before in items[:-1]]
        numbers = iter(range(len(RECORDS)))
        for item in items:
            for frame in item.frames if isinstance(item, Run) else [None]:
                number = next(numbers)
                record = RECORDS[number]
                if frame is None:
                    assert item == single[number]
                    continue
                assert isinstance(record, Frame)
                assert frame == Arrived(
                    single[number].position,
                    record.track,
                    len(record.data),
                    record.data[:2],
                    record.rtp_time,
                    record.first_arrival_ns,
                    record.keyframe,
                    record.switched,
                    record.orientation,
                    record.last_arrival_ns,
                    times[number],
                )
            if isinstance(item, Run):
                assert item.position == item.frames[0].position
                assert item.monotonic_ns == max(frame.monotonic_ns for frame in item.frames)
        assert next(numbers, None) is None
        counts = [len(item.frames) for item in items if isinstance(item, Run)]
        assert counts == ([2, 9] if chunk > 1 else [1] * 11)


@pytest.mark.parametrize("seed", range(20))
async def test_cut_anywhere_all_before_is_read_and_a_new_writer_goes_on(tmp_path: Path, seed: int) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        for record in RECORDS[:-1]:
            writer.append(record)
    epoch = writer.epoch_ns
    ((_, path),) = files(tmp_path)
    with JournalReader(tmp_path) as reader:
        ends = [e.after.offset for e in reader.read() if isinstance(e, Entry)]
    header_end = ends[0] - len(encode(RECORDS[0], 0))
    size = random.Random(seed).randrange(header_end, ends[-1])
    os.truncate(path, size)
    whole = sum(end <= size for end in ends)
    assert entries(tmp_path) == (RECORDS[:whole], [])

    async with JournalWriter(tmp_path, "task", 0) as again:
        assert again.epoch_ns == epoch
        opened = [r.track for r in RECORDS[:whole] if isinstance(r, TrackOpened)]
        assert again.new_track() == max(opened, default=0) + 1
        again.append(End(0, "end"))
    got, damages = entries(tmp_path)
    assert got == [*RECORDS[:whole], End(0, "end")]
    torn = size not in (header_end, *ends)
    assert len(damages) == torn


async def test_a_flipped_bit_in_an_older_file_is_told_and_the_next_file_is_read(tmp_path: Path) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        writer.append(Tick(1))
        writer.append(Tick(2))
    async with JournalWriter(tmp_path, "task", 0) as writer:
        writer.append(Tick(3))
    path = files(tmp_path)[0][1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    got, damages = entries(tmp_path)
    assert got == [Tick(1), Tick(3)]
    assert [d.reason for d in damages] == ["wrong checksum"]


async def test_goes_on_in_a_new_file_at_the_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FILE_BYTES", 1000)
    async with JournalWriter(tmp_path, "task", 0) as writer:
        for n in range(100):
            writer.append(Tick(n))
            writer.flush()
    assert len(files(tmp_path)) > 3
    assert entries(tmp_path) == ([Tick(n) for n in range(100)], [])


async def test_what_is_written_last_is_in_the_last_file_however_old_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        monkeypatch.setattr(writer_module, "FILE_NS", 0)
        writer.append(End(3, "kicked"))
    assert len(files(tmp_path)) == 1
    assert entries(tmp_path) == ([End(3, "kicked")], [])


async def test_a_full_disk_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        good = writer._fd
        full = os.open("/dev/full", os.O_WRONLY)
        writer._fd = full
        writer.append(Tick(1))
        writer.flush()
        assert writer.failed is not None
        writer._fd = good
        os.close(full)
        writer.append(Tick(2))
        writer.flush()
        assert writer.failed is None
    assert entries(tmp_path)[0] == [Tick(1), Tick(2)]


def test_a_full_disk_keeps_its_last_room_for_small_files_and_for_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, "task", 0)
    monkeypatch.setattr(headroom, "free_bytes", lambda _: headroom.RESERVED_BYTES - 1)
    writer.append(Tick())
    writer.flush()
    assert writer.failed is not None
    assert writer.failed.errno == errno.ENOSPC
    with JournalReader(tmp_path) as reader:
        assert not list(reader.read())
    writer.append(End(0, "deleted"))
    writer.close()
    with JournalReader(tmp_path) as reader:
        assert [e.record for e in reader.read() if isinstance(e, Entry)] == [Tick(), End(0, "deleted")]


async def test_a_disk_that_stays_full_costs_frames_by_name_and_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PENDING_BYTES", 10_000)
    async with JournalWriter(tmp_path, "task", 0) as writer:
        good = writer._fd
        full = os.open("/dev/full", os.O_WRONLY)
        writer._fd = full
        for n in range(100):
            writer.append(Frame(1, n, 0, 0, False, bytes(1000)))
            writer.flush()
        writer._fd = good
        os.close(full)
    got = entries(tmp_path)[0]
    kept = [r for r in got if isinstance(r, Frame)]
    lost = [r for r in got if isinstance(r, Loss)]
    assert 9 <= len(kept) <= 11
    assert [r.rtp_time for r in kept] + [r.rtp_time for r in lost] == list(range(100))
    assert {r.cause for r in lost} == {"disk-full"}


@pytest.mark.parametrize("full", [False, True])
async def test_frames_appended_together_are_those_appended_one_by_one(full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a disk that refuses, where what is pending is bounded."""
    monkeypatch.setattr(writer_module, "BUFFER_BYTES", 500)
    monkeypatch.setattr(writer_module, "PENDING_BYTES", 1_000)
    tracks = 1, 70_000
    frames = [
        [(n * 3000, n, n + number, n % 2 == 0, bytes((n,)) * 40 * n, n % 8, n % 3 == 0) for n in range(number, number + 4)]
        for number in range(0, 12, 4)
    ]
    pending = []
    for name in ("together", "single"):
        writer = JournalWriter(tmp_path / name, "task", 0)
        good, refusing = writer._fd, os.open("/dev/full", os.O_WRONLY)
        if full:
            writer._fd = refusing
        for track in tracks:
            for some in frames:
                if name == "together":
                    writer.append_frames(track, some, 7)
                    continue
                for rtp_time, first, last, keyframe, data, orientation, switched in some:
                    writer.append(Frame(track, rtp_time, first, last, keyframe, data, switched, orientation), 7)
        pending.append(len(writer._buffer))
        writer._fd = good
        os.close(refusing)
        writer.close()
    together, single = (entries(tmp_path / name)[0] for name in ("together", "single"))
    if full:
        # A batch that begins within the bound is kept whole.
        assert max(pending) < 5_000
        assert [r.rtp_time for r in together if isinstance(r, Frame | Loss)] == [r.rtp_time for r in single if isinstance(r, Frame | Loss)]
        assert any(isinstance(r, Loss) for r in together)
    else:
        assert together == single
        assert len(together) == 24


async def test_a_disk_that_is_full_for_days_costs_no_more_memory_than_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PENDING_BYTES", 10_000)
    monkeypatch.setattr(writer_module, "LOSSES_BYTES", 5_000)
    async with JournalWriter(tmp_path, "task", 0) as writer:
        good = writer._fd
        full = os.open("/dev/full", os.O_WRONLY)
        writer._fd = full
        for n in range(1000):
            writer.append(Frame(1, n, 0, 0, False, bytes(1000)))
            writer.append(Tick(n))
            writer.flush()
        writer.append(TrackClosed(1, "left"))
        assert len(writer._buffer) < 17_000
        writer._fd = good
        os.close(full)
    assert entries(tmp_path)[0][-1] == TrackClosed(1, "left"), "what tells who was there is never left out"


async def test_a_sync_that_fails_once_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "SYNC_SECONDS", 0.1)
    real, calls = os.fdatasync, 0

    def failing(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(errno.EIO, "ordered")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", failing)
    async with JournalWriter(tmp_path, "task", 0) as writer:
        writer.append(Tick(1))
        async with asyncio.timeout(10):
            while calls < 2:
                await asyncio.sleep(0.02)
        writer.append(Tick(2))
        async with asyncio.timeout(10):
            while entries(tmp_path)[0] != [Tick(1), Tick(2)]:
                await asyncio.sleep(0.02)
        assert writer.failed is None


async def test_a_new_writer_reads_only_the_newest_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with JournalWriter(tmp_path, "task", 0) as writer:
        for number in range(1, 4):
            track = writer.new_track()
            writer.append(TrackOpened(track, "a", "main", "audio", "opus", 48000))
            writer.append(Frame(track, 0, 0, 0, False, bytes(50_000)))
            if number == 1:
                monkeypatch.setattr(writer_module, "FILE_BYTES", 1)
                writer.flush()
                monkeypatch.undo()
    assert len(files(tmp_path)) == 2
    # What stands before the newest file is of no matter: it may be gigabytes, or gone.
    files(tmp_path)[0][1].write_bytes(b"")
    async with JournalWriter(tmp_path, "task", 0) as second:
        assert second.new_track() == 4
        assert second.epoch_ns == writer.epoch_ns


@pytest.mark.parametrize("left", [b"", bytes(4096), b"ROKUGAJ1\1\0\xff\xff{"], ids=["nothing", "zeros", "half a header"])
async def test_what_a_power_cut_leaves_of_a_header_hinders_nobody(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "000001.rj").write_bytes(left)
    assert entries(tmp_path)[0] == []
    async with JournalWriter(tmp_path, "task", 0) as writer:
        writer.append(Tick(1))
    (tmp_path / "000003.rj").write_bytes(left)
    assert entries(tmp_path)[0] == [Tick(1)]
    async with JournalWriter(tmp_path, "task", 0) as second:
        second.append(Tick(2))
        assert second.epoch_ns == writer.epoch_ns
    got, damages = entries(tmp_path)
    assert got == [Tick(1), Tick(2)]
    assert [d.position.file for d in damages] == [1, 3]


def test_a_format_of_the_future_is_named_as_such(tmp_path: Path) -> None:
    header = FileHeader("t", 0, 1, 0, 0, 0, 0).encode()
    (tmp_path / "000001.rj").write_bytes(header[:8] + b"\x63\0" + header[10:])
    with pytest.raises(JournalError, match="format 99"):
        last_header(tmp_path)


@given(st.one_of(st.integers(0, 12), st.integers(0, 255)), st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=200))
def test_no_body_raises_anything_but_the_typed_error(kind: int, flags: int, track: int, body: bytes) -> None:
    try:
        decode(kind, flags, track, body)
    except JournalError:
        pass


def test_the_head_is_as_documented() -> None:
    text = encode(Tick(0), 42)
    assert HEAD.unpack_from(text)[0] == len(text) - HEAD.size
    assert HEAD.unpack_from(text)[5] == 42


def test_an_upright_frame_is_written_as_it_was_before_there_were_others() -> None:
    kinds = [HEAD.unpack_from(encode(Frame(1, 0, 0, 0, True, b"", orientation=o), 0))[2] for o in (0, 1, 4)]
    assert kinds == [3, 3 | 1 << 5, 3 | 4 << 5]
