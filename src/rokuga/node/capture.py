"""A generation's capture process: started or found, kept, asked, and seen through to the end of its journal."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import structlog

from rokuga import clock, ipc
from rokuga.capture.orders import Start, start_message
from rokuga.config import Janus
from rokuga.control.model import Params
from rokuga.errors import RokugaError
from rokuga.folders import Generation
from rokuga.journal.records import End
from rokuga.node import metrics
from rokuga.node.keep import SEALED, Kept, journal_begun, journal_end, seal
from rokuga.node.link import CaptureLink, LinkError
from rokuga.node.outbox import Outbox
from rokuga.node.processes import ProcessError, Zygote, alive, kill

CAPTURE = "capture"
CONNECT_SECONDS = 10.0
START_SECONDS = 30.0
"""For joining the room."""
APPLY_SECONDS = 2.0
STOP_SECONDS = 15.0
STATUS_SECONDS = 0.5
LOOK_SECONDS = 5.0
HUNG_SECONDS = 20.0
"""A capture that answers nothing for so long records nothing either: it is killed, and started again."""
RESTARTS = 3
RESTARTS_NS = 60 * 1_000_000_000
PAUSE_SECONDS = 0.5


class NotRecording(RokugaError):
    """This generation is not, not yet or no longer recording here."""


class Outcome(StrEnum):
    """How it went with capture."""

    ENDED = "ended"
    """the journal has its End"""
    SEALED = "sealed"
    """it has one, but not because somebody stopped it: the task needs another generation"""
    START_FAILED = "start failed"


class Capture:
    """``run`` is its life; other methods may be called while it runs. ``fresh``: it has never been started.

    ``kept`` answers what is to be recorded now. Reports ``started``, ``failed``, ``flow`` and ``stopped``.
    """

    def __init__(self, generation: Generation, zygote: Zygote, janus: Janus, outbox: Outbox, kept: Callable[[], Kept], fresh: bool) -> None:
        self._generation = generation
        self._zygote = zygote
        self._janus = janus
        self._outbox = outbox
        self._kept = kept
        self._fresh = fresh
        self._link: CaptureLink | None = None
        self._halt: tuple[int, str] | None = None
        self._flow: bool | None = None
        self._flows = 0
        self.media = asyncio.Event()
        """media have begun to arrive, or capture is out"""
        self._log = structlog.get_logger(__name__).bind(task_id=kept().task_id, generation=kept().generation)

    async def run(self) -> Outcome:
        """See capture through to the journal's End; start it again if it dies before. Raises OSError."""
        try:
            return await self._see_through()
        finally:
            self.media.set()

    async def _see_through(self) -> Outcome:
        deaths: deque[int] = deque(maxlen=RESTARTS)
        starting = self._fresh and not await self._begun() and await self._end() is None
        while True:
            if alive(self._generation.folder, CAPTURE):
                await self._attend(adopted=True)
                starting = starting and not await self._begun()
                continue
            end = None if starting else await self._end()
            if end is not None:
                if await self._begun():
                    # Whoever saw it start may not have been able to note it.
                    await self._outbox.add("started", "started", {})
                if end.leave_code == SEALED:
                    return Outcome.SEALED
                await self._outbox.add("stopped", "stopped", {"leave_code": end.leave_code})
                return Outcome.ENDED
            if self._halt is not None:
                await self._seal(*self._halt)
                starting = False
                continue
            now = clock.monotonic_ns()
            if not starting:
                metrics.RESTARTS.labels(CAPTURE).inc()
                if len(deaths) == RESTARTS and now - deaths[0] < RESTARTS_NS:
                    self._log.error("capture dies again and again: the journal is sealed")
                    await self._seal(SEALED, "capture died")
                    continue
                deaths.append(now)
                self._log.warning("capture died, starts again", deaths=len(deaths))
                await asyncio.sleep(PAUSE_SECONDS * (len(deaths) - 1))
            error = await self._attend(adopted=False)
            starting = starting and not await self._begun()
            if error and starting and not self._halt:
                await self._outbox.add("failed", "failed", {"error": error})
                return Outcome.START_FAILED
            starting = False

    def check(self) -> CaptureLink:
        """The connection to a capture that records and shall go on. Raises NotRecording."""
        if self._link is None or self._halt is not None:
            raise NotRecording("not recording")
        return self._link

    async def apply(self, version: int, params: Params) -> int:
        """New parameters; media time in ns from which on they hold. Raises NotRecording, LinkError."""
        link = self.check()
        fields = start_message(Start(params, version, self._janus), 0)
        answer = await link.request("apply", APPLY_SECONDS, version=version, params=fields["params"])
        return int(answer["media_ns"])

    async def show(self, images: dict[str, str]) -> None:
        """The layout's images that are there now, by URL. Raises NotRecording, LinkError."""
        await self.check().request("show", APPLY_SECONDS, images=images)

    def give_up(self) -> None:
        """Not to be started again; what it left is sealed."""
        if self._halt is None:
            self._halt = (SEALED, "given up")

    async def halt(self, leave_code: int, cause: str) -> None:
        """Leave the room and end the journal. Raises LinkError if capture does not obey, NotRecording if it cannot be told yet.

        Then it is told as soon as it can be, if this process lives so long.
        """
        if self._halt is None:
            self._halt = (leave_code, cause)
        if self._link is None:
            raise NotRecording("its capture is not up yet")
        await self._stop(self._link)

    async def status(self) -> ipc.Message:
        """Capture's own words on how it is; empty if it does not answer at once."""
        if self._link is None:
            return {}
        try:
            return await self._link.request("status", STATUS_SECONDS)
        except LinkError:
            return {}

    async def _begun(self) -> bool:
        """Whether something was recorded."""
        return await asyncio.to_thread(journal_begun, self._generation.journal)

    async def _end(self) -> End | None:
        return await asyncio.to_thread(journal_end, self._generation.journal)

    async def _seal(self, leave_code: int, cause: str) -> None:
        await asyncio.to_thread(seal, self._generation, self._kept(), leave_code, cause)

    async def _stop(self, link: CaptureLink) -> None:
        assert self._halt is not None
        leave_code, cause = self._halt
        await link.request("stop", STOP_SECONDS, leave_code=leave_code, cause=cause)

    async def _attend(self, adopted: bool) -> str:
        """Start or adopt capture and stay connected to it until it has ended; why it could not start, if so."""
        folder, pid = self._generation.folder, 0
        try:
            if not adopted:
                kept = self._kept()
                pid = await self._zygote.spawn(CAPTURE, "rokuga.capture.main", folder, [kept.task_id, kept.generation])
            link = await self._connect()
        except (ProcessError, LinkError) as error:
            self._log.error("capture does not come up", error=str(error))
            kill(folder, CAPTURE)
            await self._zygote.ended(folder, CAPTURE, pid)
            return str(error)
        reading = asyncio.create_task(link.run())
        failed = ""
        try:
            failed = await self._greet(link)
            if not failed:
                await self._hold(link)
        except LinkError as error:
            if link.closed.is_set():
                # It ended while we asked; its exit code tells below whether that was in order.
                self._log.info("capture ended before it answered", error=str(error))
            else:
                self._log.error("capture does not obey", error=str(error))
                kill(folder, CAPTURE)
        finally:
            reading.cancel()
            for trouble in await asyncio.gather(reading, return_exceptions=True):
                if isinstance(trouble, Exception):
                    self._log.error("the connection to capture was lost", error=repr(trouble))
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await self._zygote.ended(folder, CAPTURE, pid)
                self._log.info("capture process ended", exit_code=code)
        except TimeoutError:
            if failed:
                kill(folder, CAPTURE)
        return failed

    async def _hold(self, link: CaptureLink) -> None:
        """Stay connected. Raises LinkError if it was to leave and does not, or answers nothing any more."""
        self._link = link
        metrics.RECORDINGS.inc()
        try:
            if self._halt is not None:
                await self._stop(link)
            elif self._kept().params.images:
                # They may have come after its start was ordered and before it could be told.
                await link.request("show", APPLY_SECONDS, images=self._kept().params.images)
            while not link.closed.is_set():
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await link.closed.wait()
                except TimeoutError:
                    await link.request("status", HUNG_SECONDS)
        finally:
            self._link = None
            metrics.RECORDINGS.dec()

    async def _connect(self) -> CaptureLink:
        """Raises LinkError."""
        deadline = clock.monotonic_ns() + int(CONNECT_SECONDS * 1e9)
        while clock.monotonic_ns() < deadline and alive(self._generation.folder, CAPTURE):
            try:
                return await CaptureLink.connect(self._generation.capture_socket, self._heard)
            except OSError:
                await asyncio.sleep(0.01)
        raise LinkError("capture does not listen on its socket; see capture.log and capture.err in the task's folder")

    async def _greet(self, link: CaptureLink) -> str:
        """See to it that capture records; why it cannot, if so. Raises LinkError if it dies meanwhile."""
        status = await link.request("status", HUNG_SECONDS)
        if not status.get("recording") and not status.get("ended"):
            kept = self._kept()
            fields: dict[str, Any] = start_message(Start(kept.params, kept.version, self._janus, kept.predecessor_session), 0)
            try:
                await link.request("start", START_SECONDS, **{k: v for k, v in fields.items() if k not in ("do", "id")})
            except LinkError as error:
                return str(error)
        await self._outbox.add("started", "started", {})
        if "flow" in status:
            await self._heard({"event": "flow", "active": status["flow"]})
        return ""

    async def _heard(self, message: ipc.Message) -> None:
        if message.get("event") == "flow" and message.get("active") != self._flow:
            self._flow = bool(message["active"])
            if self._flow:
                self.media.set()
            self._flows += 1
            await self._outbox.add("flow", f"flow/{clock.utc_ms()}/{self._flows}", {"active": self._flow})
