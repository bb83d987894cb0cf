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
from rokuga.journal.records import (
    FLAG_KEYFRAME,
    FLAG_SWITCHED,
    FRAME_HEAD,
    FRAME_RECORD,
    HEAD,
    MAX_BODY,
    ORIENTATION_SHIFT,
    TRACK_SHIFT,
    TYPE_MASK,
    FileHeader,
    Frame,
    Record,
    TrackOpened,
    decode,
)

CHUNK = 256 * 1024
FRAME_BYTES = 2
"""What is read of a frame's bytes: enough to tell how much sound an Opus packet holds (RFC 6716 §3)."""
BEFORE_PAYLOAD = HEAD.size + FRAME_HEAD.size
PADDING = bytes(FRAME_HEAD.size)
"""Follows what was read, so that each record's head can be unpacked as if it were a frame's."""
SETTLED_NS = 1_000_000_000
"""A folder's time of change is so coarse at most: it may change once more without showing."""


class Position(NamedTuple):
    """A place in a generation's journal: file number and byte offset of a record (0: before the header)."""

    file: int
    offset: int


START = Position(0, 0)


class Arrived(NamedTuple):
    """A frame without most of its bytes: what there is of `Frame`, and its place. There are 65 a second and user."""

    position: Position
    track: int
    size: int
    head: bytes
    """its first FRAME_BYTES"""
    rtp_time: int
    arrival_ns: int
    """of its first packet"""
    keyframe: bool = False
    switched: bool = False
    orientation: int = 0
    last_arrival_ns: int = 0
    monotonic_ns: int = 0
    """when it was appended"""


class Entry(NamedTuple):
    """A record, where it stands, where the next one begins, and when it was appended."""

    position: Position
    after: Position
    monotonic_ns: int
    record: Record
    payload_bytes: int = 0


class Run(NamedTuple):
    """Frames that follow each other in the journal, with no other record in between; ``monotonic_ns`` is the latest of theirs."""

    position: Position
    after: Position
    monotonic_ns: int
    frames: list[Arrived]


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
        """As ``runs``, but frame by frame."""
        for item in self.runs():
            if isinstance(item, Run):
                yield from map(_single, item.frames)
            else:
                yield item

    def runs(self) -> Iterator[Entry | Run | Damage]:
        """Everything from the current position to the present end; frames that stand together come together, up to a chunk of them.

        Raises JournalError for an unknown format version, OSError.
        """
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
        number, offset = entry_position
        fd = self._fds.get(number)
        data = os.pread(self._fd(number) if fd is None else fd, payload_bytes, offset + BEFORE_PAYLOAD)
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

    def _read_file(self, number: int) -> Generator[Entry | Run, None, str | None]:
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
        rest = b""
        wanted = HEAD.size
        while True:
            begin = self._next.offset
            more = os.pread(fd, max(CHUNK, wanted) - len(rest), begin + len(rest))
            self.bytes_read += len(more)
            if not more:
                return "cut off" if rest else None
            buffer = rest + more + PADDING
            damage = yield from self._records(number, buffer)
            if damage is not None:
                return damage
            rest = buffer[self._next.offset - begin : -len(PADDING)]
            wanted = HEAD.size
            if len(rest) >= HEAD.size:
                wanted += HEAD.unpack_from(rest)[0]

    def _records(self, number: int, buffer: bytes) -> Generator[Entry | Run, None, str | None]:
        """The whole records in ``buffer``, which stands in that file from the current position on; and what is wrong behind them."""
        # Each name that is looked up once less counts here: this is done 65 times a second and user.
        unpack, new, view, last = FRAME_RECORD.unpack_from, tuple.__new__, memoryview(buffer), len(buffer) - len(PADDING)
        begin = self._next.offset
        at = 0
        frames: list[Arrived] = []
        latest_ns, damage = 0, None
        while at + HEAD.size <= last:
            length, crc, kind, flags, track, now, rtp_time, first_ns, last_ns = unpack(buffer, at)
            body = at + HEAD.size
            end = body + length
            if length > MAX_BODY:
                damage = f"a record claims {length} bytes"
                break
            if end > last:
                break
            if crc32(view[at + 8 : end]) != crc:
                damage = "wrong checksum"
                break
            if kind & TYPE_MASK == Frame.type and length >= FRAME_HEAD.size:
                size = length - FRAME_HEAD.size
                frame = body + FRAME_HEAD.size
                frames.append(
                    # As Arrived(...) and Position(...) do it, without the Python function in between.
                    new(
                        Arrived,
                        (
                            new(Position, (number, begin + at)),
                            flags >> TRACK_SHIFT << 16 | track,
                            size,
                            buffer[frame : frame + FRAME_BYTES if size > FRAME_BYTES else end],
                            rtp_time,
                            first_ns,
                            flags & FLAG_KEYFRAME != 0,
                            flags & FLAG_SWITCHED != 0,
                            kind >> ORIENTATION_SHIFT,
                            last_ns,
                            now,
                        ),
                    )
                )
                if now > latest_ns:
                    latest_ns = now
                at = end
                continue
            if frames:
                self._next = Position(number, begin + at)
                yield Run(frames[0].position, self._next, latest_ns, frames)
                frames, latest_ns = [], 0
            record = decode(kind, flags, track, buffer[body:end])
            before, self._next = Position(number, begin + at), Position(number, begin + end)
            if record is not None:
                yield Entry(before, self._next, now, record)
            at = end
        if frames:
            self._next = Position(number, begin + at)
            yield Run(frames[0].position, self._next, latest_ns, frames)
        return damage


def _single(frame: Arrived) -> Entry:
    record = Frame(
        frame.track,
        frame.rtp_time,
        frame.arrival_ns,
        frame.last_arrival_ns,
        frame.keyframe,
        frame.head,
        frame.switched,
        frame.orientation,
    )
    number, offset = frame.position
    return Entry(frame.position, Position(number, offset + BEFORE_PAYLOAD + frame.size), frame.monotonic_ns, record, frame.size)
