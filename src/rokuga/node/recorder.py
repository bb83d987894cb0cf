"""One generation on this node: its capture and render, its uploads, its reports and its heartbeat, from start to the last file.

Three things go on side by side, and each can be taken up again by another node process: capture writes the journal to its End,
render the manifest to its Finished, the uploader brings the store up to that. A recorder is done when all three are.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from rokuga import clock
from rokuga.config import Config
from rokuga.control.model import START_FAILED, ApplyOrder, Beat, Description, FileInfo, Modified, Params, RecordOrder
from rokuga.errors import JournalError, StoreError
from rokuga.folders import DataFolder
from rokuga.node import metrics
from rokuga.node.capture import Capture, NotRecording, Outcome
from rokuga.node.heart import Heart
from rokuga.node.images import fetch_images, image_urls
from rokuga.node.keep import Kept, finish_trackless, manifest_finished
from rokuga.node.link import LinkError
from rokuga.node.outbox import Outbox
from rokuga.node.processes import ProcessError, Zygote, alive
from rokuga.render.checkpoint import Trim
from rokuga.render.lag import lag_seconds
from rokuga.storage.gate import Gate, Slots
from rokuga.storage.stores import Destination
from rokuga.storage.uploader import Uploader

RENDER = "render"
MIXED = 2
"""RecordMode"""
PAUSE_SECONDS = 0.5
PAUSE_LAST_SECONDS = 30.0
SPOOL_PAUSE_SECONDS = 5.0
"""After the disk refused."""
SETTLED_NS = 60 * 1_000_000_000
"""A render that ran for so long and died did not die of its start."""
ORPHAN_NS = 60 * 1_000_000_000
"""Nobody has waited for this generation for so long: ask whether its task still exists."""


@dataclass(frozen=True)
class Services:
    """What all recorders of a node share."""

    config: Config
    data: DataFolder
    client: Client
    zygote: Zygote
    slots: Slots


class Recorder:
    """The one owner of a generation's folder on this node, beside the files that capture and render write.

    ``run`` is its life. ``fresh``: capture has never been started. Other methods may be called while it runs.
    """

    def __init__(self, services: Services, kept: Kept, fresh: bool = False) -> None:
        self._services = services
        self.kept = kept
        self._fresh = fresh
        self.generation = services.data.generation(kept.task_id, kept.generation)
        self.outbox = Outbox(self.generation.outbox, kept.task_id, kept.generation, services.client)
        self._gate = Gate()
        self._aimed = asyncio.Event()
        self._nowhere: StoreError | None = None
        """why the keys lead nowhere"""
        self._uploader: Uploader | None = None
        timeout = services.config.recorder.heartbeat_timeout
        self._heart = Heart(services.client, kept.token, self._beat, timeout, self._fence)
        self._capture = Capture(self.generation, services.zygote, services.config.janus, self.outbox, lambda: self.kept, fresh)
        self._orders = asyncio.Lock()
        self._layout_changed = asyncio.Event()
        self._last = Beat()
        self.recovering = False
        """the task has given this generation up"""
        self.outcome: Outcome | None = None
        """None: capture is not known to be out yet"""
        self.drained = asyncio.Event()
        """the store has everything of this generation"""
        self._log = structlog.get_logger(__name__).bind(task_id=kept.task_id, generation=kept.generation)

    # What others ask of it

    @property
    def holds(self) -> bool:
        """Whether a new ``record`` could adopt this generation: capture lives, or what it left in order is being finished here."""
        return not self.recovering and self.outcome in (None, Outcome.ENDED)

    def aim(self, order: RecordOrder) -> None:
        """The keys have come (again)."""
        self._nowhere = None
        try:
            destination = Destination(order.target, order.task_id, self._services.config.stores, self._services.data.root)
        except StoreError as error:
            self._log.error("there is nowhere to upload to", code=error.code)
            self._nowhere = error
        else:
            self._gate.aim(destination)
        self._aimed.set()

    def adopt(self, order: RecordOrder, token: bytes) -> None:
        """A new ``record`` waits for this generation. Raises OSError."""
        self.kept = self.kept.but(token=token)
        self.kept.save(self.generation.order)
        self._heart.adopt(token)
        self.aim(order)

    @property
    def capturing(self) -> bool:
        """Capture is not known to be out yet."""
        return self.outcome is None

    async def apply(self, order: ApplyOrder) -> int:
        """New parameters; media time in ns from which on they hold. Raises NotRecording, LinkError, OSError."""
        async with self._orders:
            self._capture.check()
            if order.version > self.kept.told:
                if order.ms >= self.kept.modified_ms:
                    params = replace(order.params, images=self.kept.params.images)
                    await self._keep_params(params, told=order.version, modified_ms=0)
                else:
                    self._log.info("a later Modify was faster", version=order.version)
            return await self._capture.apply(self.kept.version, self.kept.params)

    async def modify(self, sdk_app_id: int, new: Modified) -> None:
        """From the API itself. When this returns, capture has it, and so has whoever comes after this generation.

        Raises NotRecording (then the task has to be asked), LinkError, OSError.
        """
        self._check_own(sdk_app_id)
        async with self._orders:
            self._capture.check()
            ms = max(new.ms, self.kept.modified_ms)
            await self._keep_params(replace(self.kept.params, lists=new.lists, layout=new.layout), modified_ms=ms)
            await self._capture.apply(self.kept.version, self.kept.params)
        if not await self._heart.tell():
            raise NotRecording("nobody waits for this recording any more")

    def describe(self, sdk_app_id: int) -> Description:
        """What Describe tells, where this generation is all that there is of its task. Raises NotRecording: the task has to be asked."""
        self._check_own(sdk_app_id)
        self._capture.check()
        if self.kept.generation or not self._heart.trusted:
            raise NotRecording("others may know more")
        kept = self.kept
        files = [FileInfo.of(report) for report in self.outbox.of("sliced")]
        flow = next((bool(r.payload["active"]) for r in reversed(self.outbox.of("flow"))), False)
        return Description(sdk_app_id, "InProgress" if flow else "Idle", files, 0, kept.version, kept.expires_ms)

    def _check_own(self, sdk_app_id: int) -> None:
        kept = self.kept
        if not self.holds or sdk_app_id != kept.params.sdk_app_id or 0 < kept.expires_ms <= clock.utc_ms():
            raise NotRecording("there is no such recording here")

    async def _keep_params(self, params: Params, **changes: Any) -> None:
        """On disk before capture is told: one that dies is started again with them."""
        self.kept = self.kept.but(version=self.kept.version + 1, params=params, **changes)
        await asyncio.to_thread(self.kept.save, self.generation.order)
        self._layout_changed.set()

    async def halt(self, leave_code: int, cause: str) -> None:
        """Leave the room and end the journal; uploads go on. Raises as ``Capture.halt``."""
        if self.capturing:
            await self._capture.halt(leave_code, cause)

    def recover(self, order: RecordOrder) -> None:
        """The task has given this generation up: no more captures, and whatever there is shall be uploaded."""
        self.recovering = True
        self._capture.give_up()
        self._gate.hold(False)
        self.aim(order)

    # Its life

    async def run(self) -> None:
        """Until everything is in the store and told. Cancelled, it leaves capture and render as they are; it may be run again.

        Raises OSError when the disk refuses.
        """
        self._log.info("recorder begins")
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self.outbox.run()), group.create_task(self._heart.run())]
                if not self._aimed.is_set():
                    # Keys come only with a new `record`, and that only when the one that waits has failed.
                    helpers.append(group.create_task(self._need_keys()))
                await self._work()
                for helper in helpers:
                    helper.cancel()
        except* OSError as failed:
            raise failed.exceptions[0] from None
        if self.outcome is Outcome.START_FAILED:
            report = self.outbox.find("failed")
            text = str(report.payload.get("error")) if report else ""
            await self._heart.fail(ApplicationError(text, type=START_FAILED, non_retryable=True))
        else:
            await self._heart.complete()

    async def _need_keys(self) -> None:
        beat = await self._beat(False)
        await self._heart.renounce(
            ApplicationError("the node was started again and needs the keys", beat, type="KeysNeeded", non_retryable=True)
        )

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            files = group.create_task(self._keep_files())
            images = group.create_task(self._keep_images())
            self.outcome = await self._capture.run()
            images.cancel()
            self._log.info("capture is out", outcome=self.outcome)
            if self.outcome is Outcome.START_FAILED:
                files.cancel()
            elif self.outcome is not Outcome.ENDED:
                beat = await self._beat(False)
                await self._heart.fail(ApplicationError("capture was lost", beat, type="CaptureLost", non_retryable=True))
        if self.outcome is not Outcome.START_FAILED:
            self.drained.set()
        await self.outbox.flushed()
        self.kept = self.kept.but(done=True, lost=self.outcome is not Outcome.ENDED)
        await asyncio.to_thread(self.kept.save, self.generation.order)
        self._log.info("recorder is done", outcome=self.outcome)

    # Files

    async def _keep_files(self) -> None:
        """Render and upload until the store has everything. While a room is empty there is nothing to look for."""
        await self._until_journal()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._announce())
            if self._fresh:
                # Of one that was found nobody knows what has arrived while nobody listened.
                await self._capture.media.wait()
            group.create_task(self._keep_render())
            group.create_task(self._keep_uploader())

    async def _until_journal(self) -> None:
        while not (self.outbox.has("started") or self.outcome):
            await asyncio.sleep(0.05)

    async def _announce(self) -> None:
        """The upload module has begun: with keys, or with keys that lead nowhere."""
        await self._aimed.wait()
        await self.outbox.add("upload_started", "upload_started", {"status": 1 if self._nowhere else 0})
        if self._nowhere:
            about = {"code": self._nowhere.code, "message": self._nowhere.message}
            await self.outbox.add("upload_error", f"upload_error/{self._nowhere.code}", about)

    async def _keep_images(self) -> None:
        """Fetch what a mixed recording's layout names, whenever it changes; the recording goes on without what cannot be had."""
        while self.kept.params.record_mode == MIXED:
            self._layout_changed.clear()
            known = self.kept.params.images
            wanted = [url for url in image_urls(self.kept.params.layout) if url not in known and not self.outbox.has(f"image_error/{url}")]
            if wanted:
                found = await fetch_images(wanted, self.generation.images, self._services.config.recorder.image_deny)
                for url, image in found.items():
                    if image.error is not None:
                        await self.outbox.add("image_error", f"image_error/{url}", {"url": url})
                await self._show({url: image.file for url, image in found.items() if image.file})
            await self._layout_changed.wait()

    async def _show(self, images: dict[str, str]) -> None:
        """Hand images to capture, which is the journal's only writer. One that is not there yet begins with them."""
        if not images:
            return
        async with self._orders:
            everything = self.kept.params.images | images
            self.kept = self.kept.but(params=replace(self.kept.params, images=everything))
            await asyncio.to_thread(self.kept.save, self.generation.order)
            try:
                await self._capture.show(everything)
            except (NotRecording, LinkError) as error:
                self._log.info("images are shown from capture's next start on", error=str(error))

    async def _keep_render(self) -> None:
        pause = PAUSE_SECONDS
        folder = self.generation.folder
        if self.outcome and not alive(folder, RENDER) and await self._trackless():
            return
        while not await asyncio.to_thread(manifest_finished, self.generation):
            began = clock.monotonic_ns()
            pid = 0
            if not alive(folder, RENDER):
                try:
                    pid = await self._services.zygote.spawn(RENDER, "rokuga.render.main", folder)
                except ProcessError as error:
                    self._log.error("render does not start", error=str(error))
            code = await self._services.zygote.ended(folder, RENDER, pid)
            if manifest_finished(self.generation):
                return
            metrics.RESTARTS.labels(RENDER).inc()
            pause = PAUSE_SECONDS if clock.monotonic_ns() - began > SETTLED_NS else min(pause * 2, PAUSE_LAST_SECONDS)
            self._log.warning("render died, starts again", exit_code=code, pause=pause)
            await asyncio.sleep(pause)

    async def _trackless(self) -> bool:
        """Whether there was nobody in the room all the time, and that is all there is to render. Raises OSError."""
        self.generation.spool.mkdir(mode=0o700, exist_ok=True)
        try:
            return await asyncio.to_thread(finish_trackless, self.generation)
        except JournalError as error:
            self._log.warning("its journal is damaged; render sees to that", error=str(error))
            return False

    async def _keep_uploader(self) -> None:
        self.generation.spool.mkdir(mode=0o700, exist_ok=True)
        while True:
            self._uploader = Uploader(self.generation.spool, self._gate, self._services.slots, self.outbox.add)
            try:
                await self._uploader.run()
                return
            except* OSError as group:
                self._log.error("the spool cannot be read or written", error=str(group.exceptions[0]))
            await asyncio.sleep(SPOOL_PAUSE_SECONDS)

    def render_lag(self) -> float:
        """Seconds by which render is behind the room; 0 before it has begun and after its end. Raises OSError."""
        if self.drained.is_set() or (self._uploader is not None and self._uploader.ledger.finished):
            return 0.0
        return lag_seconds(self.generation.lag, clock.monotonic_ns())

    async def trim(self, before: float) -> int:
        """Remove what of the journal is not needed any more and was written before that UTC (seconds); how many bytes. Raises OSError."""
        if self._uploader is None:
            return 0
        trim = await asyncio.to_thread(Trim, self.generation)
        ledger = self._uploader.ledger
        if ledger.known < trim.made:
            # There are segments of which the uploader does not know yet.
            return 0
        return await asyncio.to_thread(trim.remove, ledger.journal(), before)

    # The orchestrator

    def _fence(self, cut_off: bool) -> None:
        if not self.recovering:
            self._gate.hold(cut_off)

    async def _beat(self, thorough: bool) -> Beat:
        status = await self._capture.status() if thorough else {}
        ledger, kept = self._uploader.ledger if self._uploader else None, self.kept
        self._last = Beat(
            janus_session=status.get("session") or self._last.janus_session,
            tracks=status.get("tracks", self._last.tracks),
            seconds=status.get("seconds") or self._last.seconds,
            bytes_spooled=ledger.bytes_spooled if ledger else 0,
            bytes_confirmed=ledger.bytes_confirmed if ledger else 0,
            ms=clock.utc_ms(),
            modified=Modified(kept.modified_ms, kept.params.lists, kept.params.layout) if kept.modified_ms else None,
        )
        return self._last

    async def abandoned(self) -> bool:
        """Whether nobody waits for this recording any more and its task has ended; asks the orchestrator."""
        since = self._heart.orphaned_ns
        orphaned = since is not None and clock.monotonic_ns() - since >= ORPHAN_NS
        # A task that has closed may not know of us: it began us in a step that was lost with its process, and then chose otherwise.
        if not self.capturing or not (orphaned or self.outbox.closed):
            return False
        try:
            found = await self._services.client.get_workflow_handle(self.kept.task_id).describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return found.status is not WorkflowExecutionStatus.RUNNING
