"""Which generations this node has, and what the orchestrator may ask of it. Everything is kept by (TaskId, generation)."""

import asyncio
import re
from collections.abc import Callable

import structlog
from temporalio.exceptions import ApplicationError

from rokuga import clock
from rokuga.control.model import NOTHING_LEFT, START_FAILED, ApplyOrder, Description, Modified, RecordOrder, Recovered, StopOrder
from rokuga.errors import JournalError
from rokuga.folders import Generation
from rokuga.node import metrics
from rokuga.node.capture import CAPTURE, NotRecording, Outcome
from rokuga.node.disk import Disk, remove
from rokuga.node.keep import SEALED, Kept, journal_end
from rokuga.node.link import LinkError
from rokuga.node.processes import alive, kill
from rokuga.node.recorder import RENDER, Recorder, Services

RESERVED_NS = 10 * 1_000_000_000
"""Between ``place`` and ``record``."""
UNWANTED_NS = 60 * 1_000_000_000
"""Between ``halt`` and the ``record`` that it has overtaken."""
RETRY_SECONDS = 2.0
RECOVER_BEAT_SECONDS = 2.0
ABANDONED_SECONDS = 30.0
LATE_ERRORS = 100
"""A store that refused for days has left thousands of error reports: ``recover`` answers with the latest only."""
LEAVE_ENDED_BY_US = 3
"""302's LeaveCode when the service itself takes its bot out of the room."""

Key = tuple[str, int]


class Node:
    """The registry of recorders. Methods raise ApplicationError where the orchestrator shall hear it."""

    def __init__(self, node_id: str, services: Services) -> None:
        self.node_id = node_id
        self._services = services
        self._recorders: dict[Key, Recorder] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._reserved: list[int] = []
        self._unwanted: dict[Key, int] = {}
        """generations that were to stop before they were ordered, and when"""
        self._disk = Disk(services.data.tasks, services.config.recorder)
        self.closing = False
        self._log = structlog.get_logger(__name__).bind(node=node_id)
        metrics.RENDER_LAG.set_function(lambda: max((r.render_lag() for r in self._recorders.values()), default=0.0))

    # What the orchestrator asks

    @property
    def room(self) -> bool:
        """Whether there is room for one more recording."""
        return self._has_room(self._services.config.recorder.max_tasks)

    def place(self) -> str:
        if not self.room:
            raise ApplicationError("this node has no room")
        self._reserve()
        return self.node_id

    def place_near(self) -> bool:
        """For a task that is carried out on this machine. Once half of the room is taken all nodes are asked: another may have more."""
        near = self._has_room(self._services.config.recorder.max_tasks // 2)
        if near:
            self._reserve()
        return near

    async def record(self, order: RecordOrder, token: bytes) -> bool:
        """Begin or adopt; False if that generation is done already and nobody will complete the activity later."""
        key = (order.task_id, order.generation)
        if self._reserved:
            self._reserved.pop()
        if self.closing:
            raise _lost()
        if key not in self._recorders:
            generation = self._folder(order)
            kept = await asyncio.to_thread(Kept.load, generation.order)
            if kept is not None and kept.done:
                if kept.lost:
                    raise _lost()
                return False
            if kept is None and self._unwanted.pop(key, None) is not None:
                raise ApplicationError("its task was stopped before it began", type=START_FAILED, non_retryable=True)
            in_order = kept is None or await self._in_order(generation)
            if self.closing or not in_order:
                raise _lost()
            if key not in self._recorders:
                self._begin(order, Kept.of(order, token) if kept is None else kept.but(token=token), fresh=kept is None)
                return True
        recorder = self._recorders[key]
        if not recorder.holds:
            raise _lost()
        recorder.adopt(order, token)
        return True

    async def holds(self, task_id: str, number: int) -> bool:
        recorder = self._recorders.get((task_id, number))
        if recorder is not None:
            return recorder.holds
        generation = self._services.data.generation(task_id, number)
        kept = await asyncio.to_thread(Kept.load, generation.order)
        if kept is None:
            return False
        return not kept.lost if kept.done else await self._in_order(generation)

    async def apply(self, order: ApplyOrder) -> int:
        try:
            return await self._found(order.task_id, order.generation).apply(order)
        except (NotRecording, LinkError) as error:
            raise ApplicationError(str(error), type="NotRecording") from error

    async def halt(self, order: StopOrder) -> None:
        key, now = (order.task_id, order.generation), clock.monotonic_ns()
        if key not in self._recorders:
            # Delete is not long after Create: the order to record may still be on its way.
            self._unwanted = {k: since for k, since in self._unwanted.items() if now - since < UNWANTED_NS} | {key: now}
        try:
            await self._found(*key).halt(order.leave_code, order.cause)
        except (NotRecording, LinkError) as error:
            raise ApplicationError(str(error), type="NotRecording") from error

    async def recover(self, order: RecordOrder, beat: Callable[[], None]) -> Recovered:
        """Finish a generation that was given up; ``beat`` is called every RECOVER_BEAT_SECONDS."""
        key = (order.task_id, order.generation)
        kept = None
        if key not in self._recorders:
            kept = await asyncio.to_thread(Kept.load, self._folder(order).order)
            if kept is None:
                raise _nothing_left()
        recorder = self._recorders.get(key)
        if recorder is None:
            assert kept is not None
            recorder = self._make(kept.but(token=b""))
            recorder.recover(order)
            self._keep(key, recorder)
        else:
            recorder.recover(order)
            if recorder.capturing:
                await self._end_capture(recorder)
        waiting = asyncio.ensure_future(recorder.drained.wait())
        try:
            while not waiting.done():
                if recorder.outcome is Outcome.START_FAILED:
                    raise _nothing_left()
                beat()
                await asyncio.wait([waiting], timeout=RECOVER_BEAT_SECONDS)
        finally:
            waiting.cancel()
        errors = [r for r in recorder.outbox.unacknowledged if r.kind == "upload_error"]
        left_out = {r.key for r in errors[:-LATE_ERRORS]}
        rest = [r for r in recorder.outbox.unacknowledged if r.kind != "drained" and r.key not in left_out]
        last = recorder.outbox.find("drained")
        return Recovered([*rest, *([last] if last else [])])

    # What the API asks

    async def modify(self, sdk_app_id: int, task_id: str, new: Modified) -> None:
        """Raises NotRecording: the task has to be asked; LinkError, OSError."""
        await self._latest(task_id).modify(sdk_app_id, new)

    def describe(self, sdk_app_id: int, task_id: str) -> Description:
        """Raises NotRecording: the task has to be asked."""
        return self._latest(task_id).describe(sdk_app_id)

    # Its own business

    def _has_room(self, most: int) -> bool:
        now = clock.monotonic_ns()
        self._reserved = [until for until in self._reserved if until > now]
        busy = sum(r.capturing for r in self._recorders.values()) + len(self._reserved)
        return not self.closing and busy < most and not self._disk.is_short

    def _reserve(self) -> None:
        self._reserved.append(clock.monotonic_ns() + RESERVED_NS)

    async def look_through(self) -> None:
        """At start: go on with every generation whose capture lives or has ended, and send what was not sent.

        The queues are polled meanwhile: a recorder that was found asks for its keys at once, and must then be answered for.
        """
        unfinished = await asyncio.to_thread(self._unfinished)
        # What records comes first; the others' journals have to be read.
        for generation in sorted(unfinished, key=lambda g: not alive(g.folder, CAPTURE)):
            try:
                goes_on = alive(generation.folder, CAPTURE) or await asyncio.to_thread(journal_end, generation.journal) is not None
            except (OSError, JournalError) as error:
                self._log.error("its journal cannot be read", folder=str(generation.folder), error=str(error))
                continue
            kept = Kept.load(generation.order)
            if self.closing or kept is None or kept.done or (kept.task_id, kept.generation) in self._recorders:
                continue
            if goes_on:
                self._log.info("goes on", task_id=kept.task_id, generation=kept.generation)
                self._keep((kept.task_id, kept.generation), self._make(kept))
            else:
                self._log.warning("its capture is dead; waits to be recovered", task_id=kept.task_id, generation=kept.generation)

    async def watch(self) -> None:
        """Look through what is there; then remove what was kept long enough, and end recordings that nobody waits for."""
        await self.look_through()
        while True:
            try:
                await self._disk.tidy(list(self._recorders.values()))
            except OSError as error:
                # A folder that went while we looked, or a disk that refuses: recordings go on.
                self._log.error("the recordings' folders cannot be looked through", error=str(error))
            for recorder in list(self._recorders.values()):
                if await recorder.abandoned():
                    self._log.warning("its task is gone", task_id=recorder.kept.task_id, generation=recorder.kept.generation)
                    await self._end_capture(recorder, LEAVE_ENDED_BY_US, "abandoned")
            await asyncio.sleep(ABANDONED_SECONDS)

    async def close(self) -> None:
        """End recordings in order, give uploads ``shutdown_seconds``, name what is left; renders that still run are ended."""
        self.closing = True
        limit = self._services.config.recorder.shutdown_seconds
        running = [r for r in self._recorders.values() if r.capturing]
        await asyncio.gather(*(self._end_capture(r, LEAVE_ENDED_BY_US, "node shut down") for r in running))
        waiting = [t for t in self._tasks.values() if not t.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=limit)
        for (task_id, number), recorder in self._recorders.items():
            self._log.warning(
                "left in the spool, goes up later", task_id=task_id, generation=number, folder=str(recorder.generation.folder)
            )
        waiting = [t for t in self._tasks.values() if not t.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for recorder in self._recorders.values():
            kill(recorder.generation.folder, RENDER)

    def _begin(self, order: RecordOrder, kept: Kept, fresh: bool) -> None:
        generation = self._folder(order)
        generation.folder.mkdir(parents=True, exist_ok=True)
        for folder in (generation.folder, generation.folder.parent):
            folder.chmod(0o700)
        kept.save(generation.order)
        recorder = self._make(kept, fresh)
        recorder.aim(order)
        self._keep((order.task_id, order.generation), recorder)

    def _make(self, kept: Kept, fresh: bool = False) -> Recorder:
        return Recorder(self._services, kept, fresh)

    def _keep(self, key: Key, recorder: Recorder) -> None:
        self._recorders[key] = recorder
        self._tasks[key] = asyncio.create_task(self._supervise(key, recorder), name=f"recorder {key}")

    async def _supervise(self, key: Key, recorder: Recorder) -> None:
        while True:
            try:
                await recorder.run()
                break
            except Exception:  # noqa: BLE001
                # One generation's trouble (a full disk, a bug) is not the others'; its capture records on.
                self._log.exception("a recorder failed, goes on", task_id=key[0], generation=key[1])
            await asyncio.sleep(RETRY_SECONDS)
        del self._recorders[key], self._tasks[key]
        if recorder.outcome is Outcome.START_FAILED:
            await asyncio.to_thread(remove, recorder.generation.folder)

    async def _end_capture(self, recorder: Recorder, leave_code: int = SEALED, cause: str = "given up") -> None:
        try:
            await recorder.halt(leave_code, cause)
        except NotRecording:
            self._log.info("capture leaves when it is up", task_id=recorder.kept.task_id)
        except LinkError as error:
            self._log.error("capture does not leave, is killed", task_id=recorder.kept.task_id, error=str(error))
            kill(recorder.generation.folder, CAPTURE)

    async def _in_order(self, generation: Generation) -> bool:
        """Whether capture lives, or has ended because somebody stopped it."""
        if alive(generation.folder, CAPTURE):
            return True
        end = await asyncio.to_thread(journal_end, generation.journal)
        return end is not None and end.leave_code != SEALED

    def _found(self, task_id: str, number: int) -> Recorder:
        recorder = self._recorders.get((task_id, number))
        if recorder is None or not recorder.holds:
            raise ApplicationError("this generation is not recording here", type="NotRecording")
        return recorder

    def _latest(self, task_id: str) -> Recorder:
        numbers = [number for task, number in self._recorders if task == task_id]
        if not numbers:
            raise NotRecording("there is no such recording here")
        return self._recorders[task_id, max(numbers)]

    def _folder(self, order: RecordOrder) -> Generation:
        if not re.fullmatch(r"[A-Za-z0-9+._-]+", order.task_id) or order.task_id.startswith("."):
            raise ApplicationError("not a TaskId", non_retryable=True)
        return self._services.data.generation(order.task_id, order.generation)

    def _unfinished(self) -> list[Generation]:
        """Folders of generations that are not done. Blocking."""
        found = []
        for folder in self._services.data.tasks.glob("*/g*"):
            kept = Kept.load(Generation(folder).order)
            if kept is not None and not kept.done and folder == self._services.data.generation(kept.task_id, kept.generation).folder:
                found.append(Generation(folder))
        return found


def _lost() -> ApplicationError:
    return ApplicationError("its capture is dead", type="CaptureLost", non_retryable=True)


def _nothing_left() -> ApplicationError:
    return ApplicationError("this node has nothing of that generation", type=NOTHING_LEFT, non_retryable=True)
