"""What api, workflows and node say to each other. All of it passes through Temporal, encrypted.

Plain dataclasses, so that fields can be added; every one of them is JSON-able by Temporal's default converter.

A node's activities, each idempotent, by the names they are scheduled under:

=======================  ============  =====================================================================================
``place()``              NODES_QUEUE   answers the node's id; a node polls this queue only while it has room for one more
``record(RecordOrder)``  ``node-<id>`` begins or adopts that generation; completes asynchronously, heartbeats carry a Beat. Returns None
                                       when capture is out *and* all is confirmed (``drained`` was signalled before). Fails with
                                       ApplicationError type START_FAILED if the recorder could not start (``failed`` was signalled before)
``holds(task, g) ->      ``node-<id>`` whether the node still has that generation's capture, or what it left and can finish it as its own
bool``
``apply(ApplyOrder)``    ``node-<id>`` returns when the journal has these parameters; a version that it was told before changes nothing.
                                       Raises if that generation is not (or not yet) recording here: it is asked again later
``halt(StopOrder)``      ``node-<id>`` returns when capture is told to leave; raises like ``apply``
``recover(RecordOrder)`` ``node-<id>`` finishes a generation that was given up, or whose task has closed while ``record`` was still open:
``-> Recovered``                       ends its capture if it still runs, renders, uploads, heartbeats. Fails with ApplicationError
                                       type NOTHING_LEFT (not retried) if the node has nothing of it
=======================  ============  =====================================================================================

On the node's machine ``place``, ``apply`` and ``halt`` are asked at its door first (`rokuga.control.near`). There the API also asks for
Modify and Describe of a task that records. Such a Modify is known to the task's RecorderWorkflow by the heartbeat that carries it before it
is answered, and to the task itself when it needs it: when that generation is lost.
"""

from dataclasses import dataclass, field
from typing import Any

NODES_QUEUE = "rokuga-nodes"
"""``place`` is scheduled here; a node polls it only while it has room."""
CONTROL_QUEUE = "rokuga-control"
"""Workflows and their short activities: callbacks, and what they ask of each other and of a near node."""

START_FAILED = "StartFailed"
"""Type of the ApplicationError with which ``record`` says that the recorder could not start."""
NOTHING_LEFT = "NothingLeft"
"""Type of the ApplicationError with which ``recover`` says that this node has nothing of that generation."""


def node_queue(node_id: str) -> str:
    """The task queue that one node alone polls."""
    return f"node-{node_id}"


@dataclass(frozen=True)
class Lists:
    """SubscribeStreamUserIds as given; an empty allowlist means everybody. Entries may end in the wildcard ``.*$``."""

    audio_allow: list[str] = field(default_factory=list)
    audio_block: list[str] = field(default_factory=list)
    video_allow: list[str] = field(default_factory=list)
    video_block: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Params:
    """What to record and how: no secrets, so it may stand in the journal (`asdict`). Only ``lists`` and ``layout`` can be modified."""

    sdk_app_id: int
    room_id: str
    room_id_type: int
    """0 string, 1 32-bit integer"""
    user_id: str
    """the bot"""
    record_mode: int = 1
    stream_type: int = 0
    """0 audio and video, 1 audio, 2 video"""
    media_id: int = 0
    """0 main and aux, 1 main, 2 aux"""
    av_merge: int = 0
    fill_type: int = 0
    max_idle_time: int = 30
    """seconds"""
    max_streams: int = 25
    segment_seconds: float = 10
    lists: Lists = field(default_factory=Lists)
    layout: dict[str, Any] = field(default_factory=dict)
    """MixLayoutParams of a mixed recording"""
    transcode: dict[str, Any] = field(default_factory=dict)
    """MixTranscodeParams"""
    images: dict[str, str] = field(default_factory=dict)
    """the node's: URLs of the layout's images that have been fetched, and the names of their files"""


@dataclass(frozen=True)
class StoreTarget:
    """Where the files go. Keys are ``<prefix…>/<TaskId>/<name>``. Holds secrets: in memory and in encrypted payloads only."""

    vendor: int
    region: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    prefix: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Timing:
    """How long a task waits for what, in seconds."""

    place: float = 30
    """for a node with room, at the task's start"""
    pull_up_place: float = 600
    """the same for a later generation: nobody waits for an answer, and the room is still there"""
    pull_up_pauses: list[float] = field(default_factory=lambda: [0.0, 5.0, 15.0])
    """before each pull-up: a cause that lasts a few seconds must not use them all up"""
    node: float = 1
    """until a node takes ``apply`` or ``halt`` from its queue; longer: taken for gone"""
    holds: float = 1.5
    """the same for the question whether it still holds a generation"""
    close: float = 60
    """from the recorder's end to the task's, while files are still unconfirmed"""
    updates_per_run: int = 1000
    """Modify calls after which the workflow continues as new (Temporal's limit: 2,000 a run)"""


@dataclass(frozen=True)
class TaskInput:
    """What TaskWorkflow is started with; ``state`` is its own past when it continues as new."""

    task_id: str
    params: Params
    target: StoreTarget
    user_sig: str = field(repr=False)
    heartbeat_timeout: float = 3
    callbacks: bool = True
    """whether the app has a callback URL"""
    expires_ms: int = 0
    """UTC; from then on Describe, Modify and Delete find nothing, the recording goes on. 0: never"""
    timing: Timing = field(default_factory=Timing)
    state: dict[str, Any] | None = None


@dataclass(frozen=True)
class RecordOrder:
    """One generation for one node: the argument of the activities ``record`` and ``recover``."""

    task_id: str
    generation: int
    version: int
    params: Params
    target: StoreTarget
    user_sig: str = field(repr=False)
    predecessor_session: int = 0
    """Janus session of the generation before: claim it and destroy it, so that the bot's id is free at once"""
    expires_ms: int = 0
    """TaskInput's"""


@dataclass(frozen=True)
class Modified:
    """A Modify at the door of a recorder's node."""

    ms: int
    """UTC, when the API heard it: of two that came different ways, the later one holds"""
    lists: Lists
    layout: dict[str, Any]


@dataclass(frozen=True)
class Beat:
    """Details of a ``record`` heartbeat; also of the error with which ``record`` fails."""

    janus_session: int = 0
    tracks: int = 0
    seconds: float = 0
    bytes_spooled: int = 0
    bytes_confirmed: int = 0
    ms: int = 0
    """UTC, when the node sent it: a last beat much older than the heartbeat timeout means that Temporal was away, not the node"""
    modified: Modified | None = None
    """None: nothing beyond what the task knows"""


@dataclass(frozen=True)
class Report:
    """Something that a node tells a task (signal ``report``), at least once and in order.

    ``key`` tells doubles apart within (task, generation). ``ms`` is when it happened, UTC. ``kind`` and ``payload``:

    ==============  ===========================================================================================
    started         the bot is in the room: {} (301 Status 0)
    failed          the recorder could not start: {"error"} (301 Status 1)
    flow            {"active": bool}: media arrives; InProgress or Idle
    upload_started  {"status": 0 or 1} (303)
    sliced          first segment of a playlist cut: {"file", "user_id", "media_id", "track_type", "begin_ms"} (307)
    uploaded        first version of a playlist is in the store: {"file"} (304)
    upload_error    {"code", "message"} of the store (308), at most once per (code) and minute
    image_error     {"url"}: an image of the layout could not be had (309), once per URL
    stopped         capture is out, its journal has its end: {"leave_code"} (302)
    drained         everything of this generation is confirmed by the store: {} (305 once all are)
    ==============  ===========================================================================================
    """

    generation: int
    key: str
    kind: str
    ms: int
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recovered:
    """Answer of ``recover``: every report of that generation that the task has not acknowledged, ``drained`` last."""

    reports: list[Report] = field(default_factory=list)


@dataclass(frozen=True)
class ApplyOrder:
    """Argument of the node activity ``apply``."""

    task_id: str
    generation: int
    version: int
    params: Params
    ms: int = 0
    """UTC, when the API heard of them"""


@dataclass(frozen=True)
class StopOrder:
    """Argument of the node activity ``halt``: leave the room, close the journal, go on uploading."""

    task_id: str
    generation: int
    leave_code: int
    cause: str


@dataclass(frozen=True)
class FileInfo:
    """One index file, as Describe lists it."""

    file: str
    user_id: str
    track_type: str
    begin_ms: int

    @staticmethod
    def of(sliced: Report) -> "FileInfo":
        """The file of a ``sliced`` report."""
        p = sliced.payload
        return FileInfo(p["file"], p["user_id"], p["track_type"], p["begin_ms"])


@dataclass(frozen=True)
class Description:
    """Answer of TaskWorkflow's query ``describe``: ``status`` is Idle, InProgress or Exited."""

    sdk_app_id: int
    status: str
    files: list[FileInfo] = field(default_factory=list)
    generation: int = 0
    version: int = 1
    expires_ms: int = 0
