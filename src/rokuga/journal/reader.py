"""Reading the journal: from any position, following a writer, and single frames by their place."""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from zlib import crc32

from rokuga import clock
from rokuga.errors import DamagedHeader, JournalError
from rokuga.journal.records import FRAME_HEAD, HEAD, MAX_BODY, TYPE_MASK, FileHeader, Frame, Record, TrackOpened, decode

CHUNK = 256 * 1024
FRAME_BYTES = 2
"""What is read of a frame's bytes: enough to tell how much sound an Opus packet holds (RFC 6716 §3)."""
SETTLED_NS = 1_000_000_000
"""A folder's time of change is so coarse at most: it may change once more without showing."""


class Position(NamedTuple):
    """A place in a generation's journal: file number and byte offset of a record (0: before the header)."""

    file: int
    offset: int


START = Position(0, 0)


class Entry(NamedTuple):
    """A record, where it stands, where the next one begins, and when it was appended."""

    position: Position
    after: Position
    monotonic_ns: int
    record: Record
    payload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """A bad record in an older file: reading goes on with the next file."""

    position: Position
    reason: str


def files(folder: Path) -> list[tuple[int, Path]]:
    """The journal files of a generation, by number."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - each poll does this, and a Path each would cost more than the rest
    except FileNotFoundError:
        return []
    return sorted((int(name[:-3]), folder / name) for name in names if name.endswith(".rj") and name[:-3].isdigit())


def read_header(path: Path) -> FileHeader | None:
    """The header of one file, None if it was cut off before its end. Raises JournalError."""
    with path.open("rb") as file:
        decoded = FileHeader.decode(file.read(12 + 65536))
    return decoded[0] if decoded else None


def last_header(folder: Path) -> FileHeader | None:
    """The newest readable header of a generation, None if there is none. Raises JournalError for an unknown format version."""
    for _, path in reversed(files(folder)):
        try:
            header = read_header(path)
        except DamagedHeader:
            continue
        if header is not None:
            return header
    return None


def last_track(folder: Path) -> int:
    """The highest track number in use, 0 if there is none. Reads from the newest file on, which tells of those before."""
    header = last_header(folder)
    if header is None:
        return 0
    highest = max(0, header.tracks)
    with JournalReader(folder, Position(header.file, 0) if header.tracks >= 0 else START) as reader:
        for item in reader.read():
            if isinstance(item, Entry) and isinstance(item.record, TrackOpened):
                highest = max(highest, item.record.track)
    return highest


class JournalReader:
    """Reads a generation's journal in order. ``read`` yields what is there now and may be called again to follow.

    Frames come without their bytes (``data`` is the first FRAME_BYTES, ``Entry.payload_bytes`` tells their number); ``payload`` fetches
    them.
    At the first bad record (or a bad header) of the newest file it stops (the writer may still be at it, or was killed there); in
    an older file it yields Damage and goes on with the next one. The journal may be gone up to ``start``: reading begins there.
    """

    def __init__(self, folder: Path, start: Position = START) -> None:
        self._folder = folder
        self._next = start
        self._fds: dict[int, int] = {}
        self._listed: tuple[int, list[int]] = (0, [])
        self.header: FileHeader | None = None
        self.bytes_read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    @property
    def position(self) -> Position:
        """Where the next record will be read."""
        return self._next

    def read(self) -> Iterator[Entry | Damage]:
        """Everything from the current position to the present end. Raises JournalError for an unknown format version."""
        while True:
            numbers = self._numbers()
            current = next((n for n in numbers if n >= self._next.file), None)
            if current is None:
                return
            if current != self._next.file:
                self._next = Position(current, 0)
            damage = yield from self._read_file(current)
            newer = [n for n in numbers if n > current]
            if not newer:
                return
            if damage is not None:
                # The writer may have finished this file between our read and the listing: look once more.
                damage = yield from self._read_file(current)
            if damage is not None:
                yield Damage(self._next, damage)
            self._close_fd(current)
            self._next = Position(newer[0], 0)

    def payload(self, entry_position: Position, payload_bytes: int) -> bytes:
        """The bytes of the frame at a position. Raises JournalError if they are not there."""
        offset = entry_position.offset + HEAD.size + FRAME_HEAD.size
        data = os.pread(self._fd(entry_position.file), payload_bytes, offset)
        if len(data) != payload_bytes:
            raise JournalError(f"frame at {entry_position} is cut off")
        return data

    def _numbers(self) -> list[int]:
        """The files' numbers. There may be thousands: the folder is listed only when it has changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if changed != self._listed[0]:
            self._listed = (0, [n for n, _ in files(self._folder)])
            if clock.utc_ns() - changed > SETTLED_NS:
                self._listed = (changed, self._listed[1])
        return self._listed[1]

    def _fd(self, number: int) -> int:
        if number not in self._fds:
            for old in [n for n in self._fds if n < number - 3]:
                self._close_fd(old)
            self._fds[number] = os.open(self._folder / f"{number:06d}.rj", os.O_RDONLY | os.O_CLOEXEC)
        return self._fds[number]

    def _close_fd(self, number: int) -> None:
        fd = self._fds.pop(number, None)
        if fd is not None:
            os.close(fd)

    def _read_file(self, number: int) -> Generator[Entry, None, str | None]:
        """Yields the good records; the generator's value is why it stopped before the end (None: at the end)."""
        fd = self._fd(number)
        if self._next.offset == 0:
            try:
                decoded = FileHeader.decode(os.pread(fd, 12 + 65536, 0))
            except DamagedHeader as error:
                return str(error)
            if decoded is None:
                return "header cut off"
            self.header, length = decoded
            self._next = Position(number, length)
        elif self.header is None:
            decoded = FileHeader.decode(os.pread(fd, 12 + 65536, 0))
            self.header = decoded[0] if decoded else None
        buffer = b""
        at = 0
        while True:
            entry: Entry | None = None
            if len(buffer) - at >= HEAD.size:
                length, crc, kind, flags, track, now = HEAD.unpack_from(buffer, at)
                if length > MAX_BODY:
                    return f"a record claims {length} bytes"
                end = at + HEAD.size + length
                if len(buffer) >= end:
                    if crc32(buffer[at + 8 : end]) != crc:
                        return "wrong checksum"
                    payload, body_end = 0, end
                    if kind & TYPE_MASK == Frame.type and length >= FRAME_HEAD.size:
                        payload = length - FRAME_HEAD.size
                        body_end = min(end, at + HEAD.size + FRAME_HEAD.size + FRAME_BYTES)
                    record = decode(kind, flags, track, buffer[at + HEAD.size : body_end])
                    after = Position(number, self._next.offset + HEAD.size + length)
                    if record is not None:
                        entry = Entry(self._next, after, now, record, payload)
                    self._next = after
                    at = end
                    if entry is not None:
                        yield entry
                    continue
                wanted = HEAD.size + length
            else:
                wanted = HEAD.size
            rest = buffer[at:]
            more = os.pread(fd, max(CHUNK, wanted) - len(rest), self._next.offset + len(rest))
            self.bytes_read += len(more)
            if not more:
                return "cut off" if rest else None
            buffer = rest + more
            at = 0
