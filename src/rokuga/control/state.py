"""What a task is and what it owes: the pure core of TaskWorkflow. Times come as arguments, in milliseconds UTC.

Everything that happens is a method call; what is to be done about it, ``todo`` says, one thing at a time. The state only moves
forward: reports of a generation that was given up no longer decide anything, they only add files and their events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rokuga.control.model import Description, FileInfo, Lists, Modified, Params, Report
from rokuga.deliver import events
from rokuga.deliver.events import Event

MAX_PULL_UPS = 3
"""Generations after the first (high availability section of TRTC's guide: at most 3 pulls a task)."""
LEAVE_STOPPED = 0
LEAVE_REMOVED = 1
LEAVE_DISMISSED = 2
FORETOLD = {3: LEAVE_REMOVED, 4: LEAVE_DISMISSED}
"""302's LeaveCode for "sent out by the server" → the one for the same by the customer's own call; a media server tells both alike."""
FORETOLD_MS = (-2_000, 15_000)
"""When a recorder that was foretold its end is out, after it was told: from its node's clock being slow to its node being busy."""
LEAVE_LOST = 100
"""302's LeaveCode when no pull-up is left: of TRTC's codes the one that means "the recorder lost the room; start a new task"."""
_MAX_KEYS = 5000


class Todo(StrEnum):
    """What TaskWorkflow has to do next."""

    EVENTS = "events"
    LATE = "late"
    GENERATION = "generation"
    RELEASE = "release"
    CLOSE = "close"
    LEAVE = "leave"


@dataclass
class TaskState:
    """Plain data all through, so that the workflow can carry it over."""

    lists: Lists = field(default_factory=Lists)
    layout: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    modified_ms: int = 0
    """UTC, when the API heard of them; 0: they are Create's"""
    applied: int = 1
    """the version that the recorder is known to have"""

    generation: int = 0
    open: bool = False
    """the current generation has its RecorderWorkflow"""
    due_ms: int = 0
    """when the current generation is to be started"""
    node: str = ""
    """of the current generation, once placed"""
    session: int = 0
    """the Janus session of the generation before"""
    flow: bool = False
    stopping: bool = False
    halted: bool = False
    """the node knows that the current generation is to stop"""

    foretold: int = 0
    """LeaveCode that a call of our API is about to cause"""
    foretold_ms: int = 0

    started: bool = False
    """301 was sent"""
    ran: list[int] = field(default_factory=list)
    """generations whose bot was in the room"""
    failed_ms: int = 0
    out_ms: int = 0
    """when the recorder was out, or had failed to start; above 0: there will be no other generation"""
    uploading: bool = False
    """303 was sent"""
    files: list[FileInfo] = field(default_factory=list)

    nodes: dict[str, str] = field(default_factory=dict)
    """of every generation that was placed"""
    owed: list[int] = field(default_factory=list)
    """generations that may still have files to upload"""
    lates_due: list[int] = field(default_factory=list)
    lates: list[int] = field(default_factory=list)
    """their late workflow is at it"""
    incomplete: bool = False
    """a late workflow found nothing where something had been"""

    seen: list[str] = field(default_factory=list)
    outbox: list[Event] = field(default_factory=list)
    release_due: bool = False
    closed: bool = False
    left: bool = False

    # What happens

    def modify(self, lists: Lists, layout: dict[str, Any], ms: int) -> None:
        """A full overwrite, as TRTC's Modify is."""
        self.lists, self.layout, self.modified_ms = lists, layout, ms
        self.version += 1

    def stop(self, now_ms: int) -> None:
        """Delete. The recorder is out when it says so, or at once if there is none."""
        self.stopping = True
        if not self.open:
            self._end(LEAVE_STOPPED, now_ms)

    def foretell(self, leave_code: int, now_ms: int) -> None:
        """Our API is about to send the bot out."""
        self.foretold, self.foretold_ms = leave_code, now_ms

    def opened(self) -> None:
        """The current generation's RecorderWorkflow runs, with the current version."""
        self.open = True
        self.applied = self.version
        self.owed.append(self.generation)

    def placed(self, generation: int, node: str) -> None:
        """A node has taken it."""
        self.nodes[str(generation)] = node
        if generation == self.generation and self.open:
            self.node = node

    def report(self, report: Report, now_ms: int) -> None:
        """A node says something about a generation; doubles change nothing."""
        key = f"{report.generation}/{report.key}"
        if key in self.seen:
            return
        self.seen.append(key)
        del self.seen[:-_MAX_KEYS]
        current = report.generation == self.generation and not self.out_ms
        match report.kind:
            case "started":
                self.ran.append(report.generation)
                if current and not self.started:
                    self.started = True
                    self.outbox.append(events.recorder_start(report.ms, 0))
                elif current:
                    self.outbox.append(events.failover(report.ms, report.generation))
            case "failed" if current:
                self.failed_ms = report.ms
            case "flow" if current:
                self.flow = bool(report.payload.get("active"))
            case "stopped" if current:
                self._end(self._leave_code(report), report.ms, now_ms)
            case "upload_started" if self.uploading:
                return
            case "upload_started":
                self.uploading = True
                self.outbox.append(events.upload_start(report.ms, int(report.payload.get("status", 0))))
            case "sliced" | "uploaded" | "upload_error" | "image_error":
                self.outbox.append(file_event(report))
                if report.kind == "sliced":
                    self.files.append(FileInfo.of(report))
            case "drained":
                self._drained(report.generation)

    def recorder_over(
        self, generation: int, kind: str, session: int, modified: Modified | None, pauses: Sequence[float], now_ms: int
    ) -> None:
        """The RecorderWorkflow of ``generation`` has ended: ``done``, ``start_failed``, ``no_room``, ``unneeded`` or ``lost``.

        ``modified``: what its recorder was told at its node's door. ``pauses`` are the seconds before each pull-up; there are as many
        pull-ups, MAX_PULL_UPS at most.
        """
        if generation != self.generation or not self.open:
            return
        self.open, self.node, self.flow = False, "", False
        if modified is not None and modified.ms > self.modified_ms:
            self.lists, self.layout, self.modified_ms = modified.lists, modified.layout, modified.ms
        if kind == "lost":
            self.session = session or self.session
            if generation in self.owed:
                self.lates_due.append(generation)
        else:
            self._drained(generation)
        if self.out_ms:
            return
        if kind in ("done", "unneeded") or self.stopping:
            self._end(LEAVE_STOPPED, now_ms)
        elif generation >= min(MAX_PULL_UPS, len(pauses)) or kind == "no_room" or (kind == "start_failed" and not self.ran):
            self._end(LEAVE_LOST, now_ms)
        else:
            self.due_ms = now_ms + int(1000 * pauses[generation])
            self.generation += 1
            self.halted = False

    def late_over(self, generation: int, complete: bool) -> None:
        """The late workflow of ``generation`` has ended, after its reports."""
        if generation in self.lates:
            self.lates.remove(generation)
        if not complete and generation in self.ran:
            self.incomplete = True
        self._drained(generation)

    def conclude(self, now_ms: int) -> None:
        """The task ends; what is not confirmed goes to late workflows."""
        self.closed = True
        if self.started:
            short = self.incomplete or bool(self.owed)
            self.outbox.append(events.upload_stop(now_ms, 1 if short else 0))
        at_it = {*self.lates, *self.lates_due}
        self.lates_due += [g for g in self.owed if g not in at_it and str(g) in self.nodes]

    # What is to be done

    def todo(self, now_ms: int, close_ms: int) -> Todo | None:
        """The next thing to do, None: wait. ``close_ms`` is how long unconfirmed files keep the task open."""
        if self.outbox:
            return Todo.EVENTS
        if self.release_due:
            return Todo.RELEASE
        if self.lates_due:
            return Todo.LATE
        if self.closed:
            return None if self.left else Todo.LEAVE
        if self.out_ms:
            return Todo.CLOSE if not self.owed or now_ms >= self.out_ms + close_ms else None
        return Todo.GENERATION if not self.open and now_ms >= self.due_ms else None

    def wake_ms(self, close_ms: int) -> int | None:
        """When ``todo`` may change by itself."""
        if self.closed:
            return None
        if self.out_ms:
            return self.out_ms + close_ms
        return None if self.open else self.due_ms

    @property
    def behind(self) -> bool:
        """The node is still to be told something."""
        if not self.open or not self.node or self.out_ms:
            return False
        return not self.halted if self.stopping else self.applied < self.version

    @property
    def ended(self) -> bool:
        """Modify and Delete find nothing any more."""
        return self.stopping or self.out_ms > 0

    def describe(self, params: Params, expires_ms: int) -> Description:
        """For the query."""
        status = "Exited" if self.ended else "InProgress" if self.flow else "Idle"
        return Description(params.sdk_app_id, status, self.files, self.generation, self.version, expires_ms)

    def _end(self, leave_code: int, ms: int, now_ms: int = 0) -> None:
        """The recorder is out at ``ms``: 302, or 301 Status 1 if it never was in."""
        self.out_ms = now_ms or ms
        self.flow = False
        self.release_due = True
        if self.started:
            self.outbox.append(events.recorder_stop(ms, leave_code))
        else:
            self.outbox.append(events.recorder_start(self.failed_ms or ms, 1))

    def _leave_code(self, report: Report) -> int:
        """As the recorder says, or what our API has foretold about it."""
        told = int(report.payload.get("leave_code", LEAVE_STOPPED))
        earliest, latest = FORETOLD_MS
        if FORETOLD.get(told) == self.foretold and earliest <= report.ms - self.foretold_ms <= latest:
            return self.foretold
        return told

    def _drained(self, generation: int) -> None:
        if generation in self.owed:
            self.owed.remove(generation)
        if generation in self.lates_due:
            self.lates_due.remove(generation)


def file_event(report: Report) -> Event:
    """The event of a ``sliced``, ``uploaded``, ``upload_error`` or ``image_error`` report."""
    p, g, ms = report.payload, report.generation, report.ms
    if report.kind == "sliced":
        return events.file_slice(ms, g, p["file"], p["user_id"], p["track_type"], p["begin_ms"])
    if report.kind == "uploaded":
        return events.file_info(ms, g, p["file"])
    if report.kind == "image_error":
        return events.image_error(ms, g, p["url"])
    return events.upload_error(ms, g, report.key, p["code"], p["message"])
