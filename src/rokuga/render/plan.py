"""What the fold decides and the segment writer carries out: references into the journal and times, no media."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from rokuga.hls.naming import MIX, TrackType
from rokuga.journal.reader import Position
from rokuga.journal.records import Kind

if TYPE_CHECKING:
    from rokuga.render.mix.plan import MixPlan  # brings numpy, which single-stream recordings do without

HEAD_START_90K = 10 * 90_000
"""The epoch's presentation time: early packets and the AAC encoder's priming stay above zero."""
PLAYLIST_SECONDS = 14 * 86_400
"""A recording that is longer goes on in another playlist, as TRTC's does."""


@dataclass(frozen=True, slots=True)
class LineKey:
    """What a playlist is of."""

    user_id: str
    media_id: str
    track_type: TrackType


@dataclass(frozen=True, slots=True)
class Timeline:
    """Room time (monotonic ns) as presentation time (90 kHz, not wrapped) and as UTC."""

    epoch_ns: int
    epoch_utc_ns: int
    base_90k: int = HEAD_START_90K

    def pts(self, room_ns: int) -> int:
        return (room_ns - self.epoch_ns) * 9 // 100_000 + self.base_90k

    def utc_ms(self, pts: int) -> int:
        return self.epoch_utc_ns // 1_000_000 + (pts - self.base_90k) // 90


class Ref(NamedTuple):
    """A frame in the journal and when it is: ``time`` is a PTS (90 kHz) for video, a run's sample time (48 kHz) for audio.

    It is plain JSON as it is: thousands of them are in a mix's resume point.
    """

    position: Position
    size: int
    time: int
    samples: int = 0
    """audio: how much sound it holds"""
    offset_ns: int = 0
    """audio: room time of its first sample minus its sample time"""
    keyframe: bool = False
    codec: str = ""
    """as in TrackOpened"""
    orientation: int = 0
    """video: as in the journal's Frame"""

    @staticmethod
    def load(data: Sequence[Any]) -> "Ref":
        """From a resume point; of version 3, too, which had the position's two numbers in front."""
        place, rest = (data[:2], data[2:]) if isinstance(data[0], int) else (data[0], data[1:])
        return Ref(Position(*place), rest[0], rest[1], rest[2], rest[3], bool(rest[4]), rest[5], rest[6])


@dataclass(frozen=True, slots=True)
class Head:
    """What all kinds of segment have. ``end_pts`` is the next segment's beginning where that follows at once."""

    key: LineKey
    part: int
    """which of the line's playlists it is in, from 0"""
    index: int
    """its place there"""
    pts: int
    end_pts: int
    begin_ms: int
    discontinuity: bool


@dataclass(frozen=True, slots=True)
class Fill:
    """A picture made up while video is stopped, one a second: the last of ``frames`` (from a keyframe on), or black in their size."""

    pts: int
    end_pts: int
    black: bool
    frames: tuple[Ref, ...]
    parameter_sets: tuple[bytes, ...]
    """go in front of the first frame"""


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """Access units, all of one codec. H.264 is muxed as it is; ``parameter_sets`` go in front of the first one.

    Other codecs are transcoded; a decoder must be given ``before`` first. Their size is not known here (0).
    """

    head: Head
    frames: tuple[Ref, ...]
    parameter_sets: tuple[bytes, ...]
    width: int
    height: int
    before: tuple[Ref, ...] = ()
    fills: tuple[Fill, ...] = ()


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """Audio packets to decode and AAC frames to make of them.

    The run's sound begins at sample time ``origin`` (48 kHz); AAC frame k holds its samples from 1024 k on. ``pts`` are those of the
    frames ``first``, ``first`` + 1, … that the segment holds; ``first`` is -1 where the encoder's priming frame belongs to it.
    ``packets`` reach further on both sides, so that decoder and encoder are in the same state as those of the neighbours at the seams.
    """

    head: Head
    origin: int
    first: int
    pts: tuple[int, ...]
    packets: tuple[Ref, ...]
    channels: int


@dataclass(frozen=True, slots=True)
class MergedPlan:
    """Picture and sound in one file; all three heads are the same. Either may be made up for the whole segment."""

    head: Head
    video: VideoPlan
    audio: AudioPlan


Plan: TypeAlias = "VideoPlan | AudioPlan | MergedPlan | MixPlan"


def journal_files(plan: Plan) -> list[int]:
    """The numbers of the journal files that it refers to."""
    if isinstance(plan, MergedPlan):
        return sorted({*journal_files(plan.video), *journal_files(plan.audio)})
    if isinstance(plan, AudioPlan):
        return sorted({ref.position.file for ref in plan.packets})
    if isinstance(plan, VideoPlan):
        filled = (ref for fill in plan.fills for ref in fill.frames)
        return sorted({ref.position.file for ref in (*plan.before, *plan.frames, *filled)})
    return sorted(plan.files())


@dataclass(frozen=True, slots=True)
class Past:
    """What a line whose user has left needs to go on with if that user returns: where it stopped."""

    part: int
    index: int
    """the next segment's place in that part"""
    begin_ms: int
    end_pts: int
    channels: int

    @staticmethod
    def of(plan: Plan) -> "Past":
        head = plan.head
        sound = plan.audio if isinstance(plan, MergedPlan) else plan
        return Past(head.part, head.index + 1, head.begin_ms, head.end_pts, sound.channels if isinstance(sound, AudioPlan) else 0)

    def state(self) -> dict[str, Any]:
        """The state of a line of any kind (`Line`) that goes on there."""
        sound = {"stereo": self.channels == 2, "channels": self.channels}
        place = {"part": self.part, "index": self.index, "begin_ms": self.begin_ms}
        return {**place, "pts": self.end_pts - 1, "end": self.end_pts, "discontinuity": True, **sound, "sound": sound}


@dataclass(frozen=True, slots=True)
class Settings:
    """Of the recording parameters, those that render needs."""

    sdk_app_id: int
    room_id: str
    room_id_type: int
    segment_seconds: float
    mixed: bool = False
    """everybody in one playlist (RecordMode 2)"""
    stream_type: int = 0
    """0 sound and picture, 1 sound, 2 picture"""
    merged: bool = False
    """sound and picture of a stream in one file (AvMerge 1)"""
    black: bool = False
    """what a stopped camera shows there: black, else its last picture (FillType)"""
    playlist_seconds: int = PLAYLIST_SECONDS
    pts_base_90k: int = 0
    """moves all presentation times, so that a test need not wait 26.5 hours for the wrap"""
    raw: dict[str, Any] = field(default_factory=dict, compare=False)

    def key(self, user_id: str, media_id: str, kind: Kind) -> LineKey:
        """The playlist that a track belongs to."""
        if self.mixed:
            kinds: tuple[TrackType, ...] = ("audio_video", "audio", "video")
            return LineKey("", MIX, kinds[self.stream_type])
        return LineKey(user_id, media_id, "audio_video" if self.merged else kind)

    @staticmethod
    def of(params: dict[str, Any]) -> "Settings":
        """From a Params record (`rokuga.control.model.Params` as JSON)."""
        return Settings(
            sdk_app_id=int(params["sdk_app_id"]),
            room_id=str(params["room_id"]),
            room_id_type=int(params["room_id_type"]),
            segment_seconds=float(params.get("segment_seconds", 10)),
            mixed=params.get("record_mode", 1) == 2,
            stream_type=int(params.get("stream_type", 0)),
            # With one of the two alone there is nothing to merge.
            merged=params.get("av_merge", 0) == 1 and params.get("stream_type", 0) == 0,
            black=params.get("fill_type", 0) == 1,
            playlist_seconds=int(params.get("playlist_seconds", PLAYLIST_SECONDS)),
            pts_base_90k=int(params.get("pts_base_90k", 0)),
            raw=params,
        )
