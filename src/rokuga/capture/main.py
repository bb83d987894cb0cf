"""The capture process of one generation: joins the room, follows it, and writes the journal until it is told to stop."""

import asyncio
import contextlib
import fcntl
import itertools
import os
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from rokuga import clock, ipc
from rokuga.capture.control import ControlServer
from rokuga.capture.orders import Start, read_params, read_start
from rokuga.capture.recording import Recording
from rokuga.errors import BotStays, RokugaError, RoomError
from rokuga.folders import Generation
from rokuga.journal.records import End, RoomEvent, Tick
from rokuga.journal.writer import JournalWriter
from rokuga.room.janus import open_room
from rokuga.room.model import Seating
from rokuga.room.protocol import Gone, Room

SECOND = 1_000_000_000
ORPHAN_NS = 30 * SECOND
"""No node came back for so long: the recording ends by itself."""
REJOIN_SECONDS = 30.0
REJOIN_PAUSES = (0.1, 0.3, 1.0, 2.0)
"""then the last one again and again"""
LEAVE_SECONDS = 3.0
OUT = {"kicked": 3, "destroyed": 4, "replaced": 101}
"""why we are out of the room → LeaveCode of event 302"""
LINK_LOST, IDLE, ORPHANED = 100, 99, -1
CHECK_SECONDS = 0.25
CHECKS = 4
"""a second has so many of them"""

T = TypeVar("T")


class CaptureError(RokugaError):
    """The capture process cannot do its work, e.g. another one holds the folder."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why the recording ends."""

    leave_code: int
    cause: str


async def run(generation: Generation, task_id: str, number: int) -> None:
    """Serve ``capture.sock`` in the generation's folder until the recording has ended.

    Raises CaptureError if another capture process works in the folder, OSError if the folder refuses.
    """
    generation.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(generation.folder / "capture.lock"):
        await Capture(generation, task_id, number).run()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CaptureError(f"another capture process holds {path}") from None
        yield
    finally:
        os.close(fd)


class Capture:
    """The process' life: wait for ``start``, record, end. Its futures only ever go from open to done."""

    def __init__(self, generation: Generation, task_id: str, number: int) -> None:
        self._generation = generation
        self._task_id = task_id
        self._number = number
        self._log = structlog.get_logger(__name__).bind(task=task_id, generation=number)
        self._control = ControlServer(generation.capture_socket, self._handle, self._log)
        loop = asyncio.get_running_loop()
        self._start: asyncio.Future[Start] = loop.create_future()
        self._started: asyncio.Future[str] = loop.create_future()
        """why it could not start; empty: the bot is in the room"""
        self._stop: asyncio.Future[Outcome] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._recording: Recording | None = None
        self._journal: JournalWriter | None = None
        self._place = AsyncExitStack()
        """what is closed to leave the room"""
        self._seating = Seating()
        self._session_id = 0
        self._sessions: list[int] = []
        """the bot's in Janus, so far as they may still hold its id"""
        self._applied_ns = 0
        self._rounds_ns: tuple[int, int] | None = None
        """when the last two rounds of media began (monotonic); None: there is nothing to receive"""

    async def run(self) -> None:
        async with self._control:
            watch = asyncio.create_task(self._watch_orphan(), name="orphan watch")
            try:
                first: list[asyncio.Future[Any]] = [self._start, self._stop]
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if self._start.done():
                    await self._record(self._start.result())
            finally:
                await _cancel(watch)
                if not self._started.done():
                    self._started.set_result("stopped before it began")
                self._ended.set_result(None)
            await self._control.settle()

    async def _record(self, order: Start) -> None:
        self._sessions = [order.predecessor_session] if order.predecessor_session else []
        try:
            room = await self._join(order, ousts=True)
            journal = JournalWriter(self._generation.journal, self._task_id, self._number)
        except (RoomError, OSError) as error:
            self._log.warning("cannot start", error=str(error))
            await self._leave()
            self._started.set_result(str(error))
            return
        try:
            async with journal:
                self._journal = journal
                if journal.continues:
                    journal.append(RoomEvent("restarted"))
                self._recording = recording = Recording(journal, order.params, order.version, self._log)
                self._started.set_result("")
                tasks = [
                    asyncio.create_task(self._media_ticks(recording, journal), name="media ticks"),
                    asyncio.create_task(self._seconds(recording, journal), name="seconds"),
                ]
                try:
                    outcome = await self._follow(recording, journal, order, room, tasks)
                finally:
                    await _cancel(*tasks)
                recording.end("end")
                journal.append(End(outcome.leave_code, outcome.cause))
            if journal.failed is not None:
                self._log.error("the journal has no end: the disk refuses", error=str(journal.failed))
            await recording.settle()
            self._log.info("ended", leave_code=outcome.leave_code, cause=outcome.cause, **recording.totals())
        finally:
            await self._leave()
        await self._control.broadcast({"event": "ended", "leave_code": outcome.leave_code, "cause": outcome.cause})

    async def _follow(
        self, recording: Recording, journal: JournalWriter, order: Start, room: Room, tasks: list[asyncio.Task[None]]
    ) -> Outcome:
        """Record until somebody or something ends it; a lost link is followed by joining again."""
        while True:
            self._session_id = room.session_id
            self._log.info("in the room", session=room.session_id)
            gone = await self._first(self._watch_room(recording, room), tasks)
            if isinstance(gone, Outcome):
                return gone
            journal.append(RoomEvent(gone.reason))
            if gone.reason in OUT:
                return Outcome(OUT[gone.reason], gone.reason)
            recording.link_lost()
            await recording.settle()
            await self._leave()
            found = await self._first(self._rejoin(order), tasks)
            if isinstance(found, Outcome):
                return found
            room = found
            journal.append(RoomEvent("link-found"))

    async def _first(self, work: Coroutine[Any, Any, T], others: list[asyncio.Task[None]]) -> T | Outcome:
        """What ``work`` returns, or the outcome if we are stopped before. Raises what one of ``others`` died of."""
        task = asyncio.create_task(work)
        try:
            any_of: list[asyncio.Future[Any]] = [task, self._stop, *others]
            await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                if other.done():
                    other.result()
            return self._stop.result() if self._stop.done() else task.result()
        finally:
            await _cancel(task)

    async def _watch_room(self, recording: Recording, room: Room) -> Gone:
        try:
            return await recording.follow(room)
        except Exception as error:  # noqa: BLE001 what the media server says must not end a recording: join again
            self._log.error("the room's events cannot be followed", exc_info=error)
            return Gone("link-lost")

    async def _join(self, order: Start, ousts: bool) -> Room:
        p = order.params
        joining = open_room(order.janus, p.room_id, p.room_id_type, p.user_id, self._sessions, self._seating, ousts)
        return await self._place.enter_async_context(joining)

    async def _rejoin(self, order: Start) -> Room | Outcome:
        """Join again, for REJOIN_SECONDS. A bot that still holds our id then has taken over while we were cut off."""
        deadline = clock.monotonic_ns() + round(REJOIN_SECONDS * SECOND)
        for pause in itertools.chain(REJOIN_PAUSES, itertools.repeat(REJOIN_PAUSES[-1])):
            await asyncio.sleep(pause)
            try:
                return await self._join(order, ousts=False)
            except RoomError as error:
                self._log.warning("cannot join again", error=str(error))
                taken = isinstance(error, BotStays)
            if clock.monotonic_ns() > deadline:
                return Outcome(OUT["replaced"], "replaced") if taken else Outcome(LINK_LOST, "link-lost")
        raise AssertionError("unreachable")

    async def _leave(self) -> None:
        """Leave the room if we are in one; a server that does not answer is left alone."""
        place, self._place = self._place, AsyncExitStack()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await place.aclose()
        except (TimeoutError, OSError, RoomError) as error:
            self._log.info("left without an answer", error=repr(error))

    async def _media_ticks(self, recording: Recording, journal: JournalWriter) -> None:
        while True:
            began = clock.monotonic_ns()
            self._rounds_ns = self._rounds_ns[1] if self._rounds_ns else began, began
            pause = recording.tick()
            journal.flush()
            if recording.receiving.is_set():
                await asyncio.sleep(pause)
            else:
                self._rounds_ns = None
                await recording.receiving.wait()

    async def _seconds(self, recording: Recording, journal: JournalWriter) -> None:
        """What needs no haste: ticks in the journal, the flow event, the room that stays empty."""
        flows = False
        for count in itertools.count():
            await asyncio.sleep(CHECK_SECONDS)
            now = clock.monotonic_ns()
            if count % CHECKS == 0:
                # Up to here everything that has come is in the journal: after a stall (a disk that blocks) the sockets hold more, and one
                # round may not empty them.
                complete = self._rounds_ns[0] if self._rounds_ns else now
                journal.append(Tick(clock.utc_ns() if count % (10 * CHECKS) == 0 else 0), complete)
            if not recording.receiving.is_set():
                journal.flush()  # who comes and goes without media
            if recording.flows(now) != flows:
                flows = not flows
                await self._control.broadcast({"event": "flow", "active": flows})
            idle_since = recording.presence.idle_since_ns
            if idle_since is not None and now - idle_since > recording.params.max_idle_time * SECOND:
                self._finish(Outcome(IDLE, "no anchor in the room"))

    async def _watch_orphan(self) -> None:
        while True:
            await asyncio.sleep(1)
            alone = self._control.alone_since_ns
            if alone is not None and clock.monotonic_ns() - alone > ORPHAN_NS:
                self._log.warning("no node is connected any more")
                self._finish(Outcome(ORPHANED, "orphaned"))

    def _finish(self, outcome: Outcome) -> None:
        if not self._stop.done():
            self._stop.set_result(outcome)

    async def _handle(self, message: ipc.Message) -> ipc.Message:
        try:
            match message.get("do"):
                case "start":
                    if not self._start.done():
                        self._start.set_result(read_start(message))
                    error = await asyncio.shield(self._started)
                    return {"ok": False, "error": error} if error else {"ok": True}
                case "apply":
                    return self._apply(message)
                case "show":
                    return self._show(message)
                case "stop":
                    self._finish(Outcome(int(message["leave_code"]), str(message["cause"])))
                    await asyncio.shield(self._ended)
                    return {"ok": True}
                case "status":
                    return {"ok": True, **self._status()}
                case other:
                    return {"ok": False, "error": f"unknown request {other!r}"}
        except (KeyError, TypeError, ValueError) as error:
            return {"ok": False, "error": f"malformed request: {type(error).__name__}"}

    def _apply(self, message: ipc.Message) -> ipc.Message:
        if self._recording is None or self._journal is None:
            return {"ok": False, "error": "not recording"}
        version = int(message["version"])
        if version > self._recording.version and not self._stop.done():
            self._applied_ns = self._recording.apply(read_params(message["params"]), version) - self._journal.epoch_ns
            self._journal.flush()  # who is told that it holds may look, and a killed process must not forget it
        return {"ok": True, "media_ns": self._applied_ns, "version": self._recording.version}

    def _show(self, message: ipc.Message) -> ipc.Message:
        if self._recording is None or self._journal is None:
            return {"ok": False, "error": "not recording"}
        self._recording.show({str(url): str(file) for url, file in message["images"].items()})
        self._journal.flush()
        return {"ok": True}

    def _status(self) -> ipc.Message:
        recording, journal = self._recording, self._journal
        status: ipc.Message = {"session": self._session_id, "recording": recording is not None, "ended": self._ended.done()}
        if recording is not None and journal is not None:
            now = clock.monotonic_ns()
            status |= {
                "version": recording.version,
                "seconds": (now - journal.epoch_ns) / SECOND,
                "flow": recording.flows(now),
                "users": len(recording.presence.users),
                "tracks": recording.tracks,
                "journal_error": str(journal.failed or ""),
                **recording.totals(),
            }
        return status


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
