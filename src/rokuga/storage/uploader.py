"""Spool to store: puts what the manifest lists, notes what the store confirmed, and keeps the playlists in the store true.

A playlist in the store lists only segments that the store has, from the first on, and only ever grows. All state is in
``manifest`` and ``confirmed``: an uploader can be killed anywhere and the next one goes on. In a recording of days its memory
does not grow, and a long playlist is put less often.
"""

import asyncio
import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

from rokuga import clock
from rokuga.errors import StoreError
from rokuga.node import metrics
from rokuga.storage import spool
from rokuga.storage.confirmed import ConfirmedLog
from rokuga.storage.gate import PUTS_PER_STORE, Gate, Slots
from rokuga.storage.ledger import Ledger, Playlist
from rokuga.storage.stores import Destination
from rokuga.storage.text import PlaylistText, remove_texts

POLL_SECONDS = 0.2
RETRY_FIRST_SECONDS = 0.5
RETRY_LAST_SECONDS = 30.0
BATCH = 500
MOST_HELD = 20_000
"""With so many segments waiting the manifest is not read on: those that wait there cost no memory."""
LARGE_BYTES = 1024 * 1024
PLAYLIST_BYTES_PER_SECOND = 16 * 1024
"""A growing playlist takes no more of the line than this: its last put and what it takes at this pace are to be over before the next."""

Notify = Callable[[str, str, dict[str, Any]], Awaitable[None]]
"""Report (kind, key, payload); a key that was reported before is passed over."""


class Uploader:
    """The one owner of a generation's ``confirmed`` log. ``run`` returns when everything is in the store."""

    def __init__(self, folder: Path, gate: Gate, slots: Slots, notify: Notify) -> None:
        self.ledger = Ledger()
        self._folder = folder
        self._gate = gate
        self._slots = slots
        self._notify = notify
        # Bounded by MOST_HELD: it holds the ledger's own segments, each at most once.
        self._queue: asyncio.Queue[spool.Segment | None] = asyncio.Queue()
        self._changed: dict[str, asyncio.Event] = {}
        self._caught_up = asyncio.Event()
        self._recovered = asyncio.Event()
        self._complained: dict[str, str] = {}
        """by the store's code, which minute's error was reported last"""
        self._left: frozenset[str] = frozenset()
        """the files that the process before has left"""
        self._confirmed = ConfirmedLog(folder)
        self._notes: list[tuple[dict[str, Any], Callable[[], None]]] = []
        """lines for that log, and what is to be called when they are in it"""
        self._log_lock = asyncio.Lock()
        self._large = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None
        self._log = structlog.get_logger(__name__).bind(spool=str(folder))

    async def run(self) -> None:
        """Upload until the manifest is finished and the store has all of it; the segments are then gone from the disk.

        Raises OSError (in a group) when the disk refuses; a new uploader may then take over.
        """
        await asyncio.to_thread(remove_texts, self._folder)
        self._left = frozenset(await asyncio.to_thread(os.listdir, self._folder))
        for line in await asyncio.to_thread(lambda: list(self._confirmed.load())):
            self.ledger.load(line)
        async with asyncio.TaskGroup() as group:
            self._group = group
            for _ in range(PUTS_PER_STORE):
                group.create_task(self._put_segments())
            group.create_task(self._follow())
        assert self.ledger.drained
        await self._notify("drained", "drained", {})

    async def _follow(self) -> None:
        offset = 0
        while not self.ledger.finished:
            if self.ledger.held > MOST_HELD:
                await asyncio.sleep(POLL_SECONDS)
                continue
            entries = list(islice(spool.read_manifest(self._folder, offset), BATCH))
            for after, entry in entries:
                offset = after
                if isinstance(entry, spool.Finished):
                    self.ledger.finished = True
                    break
                if self.ledger.exists(entry):
                    await self._found(entry)
            if len(entries) < BATCH and not self._caught_up.is_set():
                self._catch_up()
            await asyncio.sleep(0 if len(entries) == BATCH or self.ledger.finished else POLL_SECONDS)
        self._catch_up()
        for _ in range(PUTS_PER_STORE):
            self._queue.put_nowait(None)

    def _catch_up(self) -> None:
        self._left = frozenset()
        self._caught_up.set()
        for event in self._changed.values():
            event.set()

    async def _found(self, segment: spool.Segment) -> None:
        if segment.playlist not in self._changed:
            self._changed[segment.playlist] = asyncio.Event()
            assert self._group is not None
            self._group.create_task(self._put_playlist(self.ledger.playlists[segment.playlist]))
        if segment.index == 0:
            about = {name: getattr(segment, name) for name in ("user_id", "media_id", "track_type", "begin_ms")}
            await self._notify("sliced", f"sliced/{segment.playlist}", {"file": segment.playlist, **about})
        if self.ledger.has(segment):
            if segment.name in self._left:
                (self._folder / segment.name).unlink(missing_ok=True)
            self._changed[segment.playlist].set()
        else:
            self._queue.put_nowait(segment)

    async def _put_segments(self) -> None:
        while (segment := await self._queue.get()) is not None:
            if not await self._put_segment(segment):
                # It hinders nobody else: tried again on its own.
                assert self._group is not None
                self._group.create_task(self._put_damaged(segment))

    async def _put_damaged(self, segment: spool.Segment) -> None:
        while True:
            await asyncio.sleep(RETRY_LAST_SECONDS)
            if await self._put_segment(segment):
                return

    async def _put_segment(self, segment: spool.Segment) -> bool:
        """Try until the store has it; False if the file is not what the manifest says."""
        attempt = 0
        while True:
            destination = await self._gate.wait()
            async with self._slots.of(destination.address):
                if not self._gate.is_open:
                    # Shut while we stood in line.
                    continue
                data = await asyncio.to_thread(_read, self._folder / segment.name, segment)
                if data is None:
                    break
                done = await self._put(destination, segment.name, data)
                del data
            if done:
                line = {"playlist": segment.playlist, "index": segment.index, "segment": segment.name}
                await self._confirm(line, lambda: self.ledger.confirm(segment))
                metrics.BYTES_CONFIRMED.inc(segment.size)
                (self._folder / segment.name).unlink(missing_ok=True)
                self._changed[segment.playlist].set()
                return True
            await self._pause(attempt)
            attempt += 1
        await self._complain(StoreError("SegmentDamaged", f"{segment.name} is missing or damaged on the recorder's disk", False))
        return False

    async def _put_playlist(self, playlist: Playlist) -> None:
        """The one writer of that playlist: never an older text over a newer one; versions in between are left out."""
        changed = self._changed[playlist.name]
        text = PlaylistText(self._folder, playlist.name)
        attempt = 0
        next_ns = 0
        if playlist.stored:
            # Who noted it may have been killed before it could say so.
            await self._notify_stored(playlist)
        while not playlist.closed:
            due = self.ledger.due(playlist)
            pause = max(0.0, (next_ns - clock.monotonic_ns()) / 1e9) if due and not due[1] else 0.0
            # The store may have a text that a killed predecessor could not note any more: with all of the manifest known, ours
            # is not older than that.
            if due is None or pause or not self._caught_up.is_set():
                if playlist.fresh:
                    await asyncio.to_thread(text.add, self.ledger.take(playlist))
                else:
                    await self._turned(changed, pause)
                continue
            destination = await self._gate.wait()
            # Long texts one at a time: they are in memory meanwhile.
            async with self._large if text.size > LARGE_BYTES else nullcontext(), self._slots.of(destination.address):
                if not self._gate.is_open:
                    continue
                fresh = self.ledger.take(playlist)
                count = text.count + len(fresh)
                closed = self.ledger.finished and count == playlist.known
                data = await asyncio.to_thread(text.grown, fresh, closed)
                done = await self._put(destination, playlist.name, data)
                next_ns = clock.monotonic_ns() + len(data) * 1_000_000_000 // PLAYLIST_BYTES_PER_SECOND
                del data
            if not done:
                await self._pause(attempt)
                attempt += 1
                continue
            attempt = 0
            line = {"playlist": playlist.name, "count": count, "closed": closed}
            await self._confirm(line, partial(self.ledger.store, playlist.name, count, closed))
            await self._notify_stored(playlist)
        text.remove()

    async def _notify_stored(self, playlist: Playlist) -> None:
        await self._notify("uploaded", f"uploaded/{playlist.name}", {"file": playlist.name})

    async def _turned(self, changed: asyncio.Event, seconds: float) -> None:
        """Wait for a change, at most so long (0: for ever)."""
        try:
            async with asyncio.timeout(seconds or None):
                await changed.wait()
        except TimeoutError:
            return
        changed.clear()

    async def _put(self, destination: Destination, name: str, data: bytes) -> bool:
        try:
            await destination.put(name, data)
        except StoreError as error:
            metrics.UPLOAD_ERRORS.inc()
            await self._complain(error)
            return False
        self._recovered.set()
        self._recovered.clear()
        return True

    async def _complain(self, error: StoreError) -> None:
        key = f"upload_error/{error.code}/{clock.utc_ms() // 60_000}"
        if key != self._complained.get(error.code):
            self._complained[error.code] = key
            self._log.warning("upload fails, is tried again", code=error.code, message=error.message, refused=error.refused)
            await self._notify("upload_error", key, {"code": error.code, "message": error.message})

    async def _pause(self, attempt: int) -> None:
        """Wait before another try, longer each time; less when a put of somebody else has succeeded meanwhile."""
        delay = min(RETRY_LAST_SECONDS, RETRY_FIRST_SECONDS * 2 ** min(attempt, 10)) * random.uniform(0.5, 1)
        try:
            async with asyncio.timeout(delay):
                await self._recovered.wait()
        except TimeoutError:
            pass

    async def _confirm(self, line: dict[str, Any], done: Callable[[], None]) -> None:
        """Note it, and then tell the ledger. What comes while the disk is busy is noted together. Raises OSError."""
        note = line, done
        self._notes.append(note)
        async with self._log_lock:
            if note not in self._notes:
                return  # somebody before us has taken it along
            notes = list(self._notes)
            await asyncio.to_thread(self._confirmed.append, [line for line, _ in notes])
            del self._notes[: len(notes)]
            for _, told in notes:
                told()
            if self._confirmed.is_long:
                try:
                    await asyncio.to_thread(self._confirmed.compact, list(self.ledger.notes()))
                except OSError as error:
                    self._log.warning("the log of what is uploaded cannot be shortened yet", error=str(error))


def _read(path: Path, segment: spool.Segment) -> bytes | None:
    """The segment's bytes, None if they are not those of the manifest."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest() == segment.sha256 else None
