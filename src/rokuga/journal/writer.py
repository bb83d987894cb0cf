"""Writing the journal: buffered until ``flush``, on disk within a second, a new file every minute or 64 MB."""

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rokuga import clock
from rokuga.headroom import check_headroom
from rokuga.journal.reader import files, last_header, last_track
from rokuga.journal.records import FileHeader, Frame, FrameFields, Loss, Record, Tick, encode, encode_frames

SYNC_SECONDS = 1.0
"""What was appended is written and on the disk at the latest this long after: a power cut loses no more."""
FILE_NS = 60 * 1_000_000_000
FILE_BYTES = 64 * 1024 * 1024
BUFFER_BYTES = 1024 * 1024
PENDING_BYTES = 64 * 1024 * 1024
"""What a disk that refuses leaves in memory; beyond it frames become losses of cause ``disk-full``."""
LOSSES_BYTES = 8 * 1024 * 1024
"""And what may come on top of that: beyond it losses and ticks, too, go unsaid. Two streams' losses of an hour are so many."""


class JournalWriter:
    """The one writer of a generation's journal. ``async with``; a writer never appends to a file that it did not create.

    Whoever appends decides with ``flush`` how much a killed process may lose.

    A writer that finds files of an earlier one (capture was restarted) goes on with the next file number, the same epoch and
    higher track numbers. Raises OSError when the disk refuses; what was appended before is kept in the buffer.
    """

    def __init__(self, folder: Path, task_id: str, generation: int) -> None:
        self._folder = folder
        self._task_id = task_id
        self._generation = generation
        self._buffer = bytearray()
        self._fd = -1
        self._file = 0
        self._file_bytes = 0
        self._file_since = 0
        self._dirty = False
        self._next_track = 1
        self._epoch: tuple[int, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._failed: OSError | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Also a file whose header never reached the disk has its number.
        self._file = max((number for number, _ in files(folder)), default=0)
        before = last_header(folder)
        self.continues = before is not None
        """there was a writer before"""
        if before is not None:
            self._epoch = (before.epoch_ns, before.epoch_utc_ns)
            self._next_track = last_track(folder) + 1
        self._open_next(clock.monotonic_ns())

    @property
    def epoch_ns(self) -> int:
        """Monotonic ns of the generation's zero of presentation time."""
        assert self._epoch is not None
        return self._epoch[0]

    @property
    def failed(self) -> OSError | None:
        """The disk's last refusal, None while all is well (full disk: what is buffered is tried again)."""
        return self._failed

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="journal-writer")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.close()

    def new_track(self) -> int:
        """A track number that this generation has not used."""
        number = self._next_track
        self._next_track += 1
        return number

    def append(self, record: Record, now_ns: int | None = None) -> int:
        """Append one record; returns its monotonic ns. It is written with the next ``flush``."""
        now = clock.monotonic_ns() if now_ns is None else now_ns
        pending = len(self._buffer)
        if pending >= PENDING_BYTES and isinstance(record, Frame):
            record = Loss(record.track, -1, -1, record.rtp_time, "disk-full")
        if pending >= PENDING_BYTES + LOSSES_BYTES and isinstance(record, Loss | Tick):
            return now
        self._buffer += encode(record, now)
        if len(self._buffer) >= BUFFER_BYTES and self._failed is None:
            self.flush()
        return now

    def append_frames(self, track: int, frames: Sequence[FrameFields], now_ns: int) -> None:
        """As ``append`` of a Frame each, and faster."""
        if len(self._buffer) >= BUFFER_BYTES:
            for rtp_time, first, last, keyframe, data, orientation, switched in frames:
                self.append(Frame(track, rtp_time, first, last, keyframe, data, switched, orientation), now_ns)
            return
        self._buffer += encode_frames(track, frames, now_ns)
        if len(self._buffer) >= BUFFER_BYTES and self._failed is None:
            self.flush()

    def flush(self, last: bool = False) -> None:
        """Hand the buffer to the operating system; at file limits go on in a new file. ``last``: nothing follows, so in none, and
        also into a full disk's headroom.
        """
        if self._buffer:
            try:
                if not last:
                    check_headroom(self._folder)
                written = os.write(self._fd, self._buffer)
            except OSError as error:
                self._failed = error
                return
            self._failed = None
            del self._buffer[:written]
            self._file_bytes += written
            self._dirty = True
        if self._buffer or last:
            return
        now = clock.monotonic_ns()
        if self._file_bytes >= FILE_BYTES or now - self._file_since >= FILE_NS:
            old = self._fd
            try:
                os.fdatasync(old)
                self._open_next(now)
            except OSError as error:
                # The present file goes on until the disk takes a new one.
                self._failed = error
                self._fd = old
                return
            os.close(old)

    def close(self) -> None:
        """Write and sync what is left."""
        if self._fd < 0:
            return
        self.flush(last=True)
        os.fdatasync(self._fd)
        os.close(self._fd)
        self._fd = -1

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            self.flush()
            if self._dirty:
                self._dirty = False
                # A duplicate, so that a change of file meanwhile does not close it under the thread.
                fd = os.dup(self._fd)
                try:
                    await asyncio.to_thread(os.fdatasync, fd)
                except OSError as error:
                    # The next second tries again; what is appended meanwhile is written all the same.
                    self._failed = error
                    self._dirty = True
                finally:
                    os.close(fd)

    def _open_next(self, now: int) -> None:
        self._file += 1
        utc = clock.utc_ns()
        if self._epoch is None:
            self._epoch = (now, utc)
        header = FileHeader(self._task_id, self._generation, self._file, now, utc, *self._epoch, tracks=self._next_track - 1)
        path = self._folder / f"{self._file:06d}.rj"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        text = header.encode()
        try:
            if os.write(fd, text) != len(text):
                raise OSError(errno.ENOSPC, "no room for a journal file's header")
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        self._file_bytes = len(text)
        self._file_since = now
        self._dirty = True
