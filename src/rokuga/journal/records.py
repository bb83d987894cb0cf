"""What a journal says, and how each record is laid out in bytes.

A file is a header followed by records; all numbers are little-endian::

    file header  8s magic | u16 format version | u16 length of JSON | JSON (FileHeader's fields)
    record       u32 length of body | u32 CRC-32 of all that follows | u8 type | u8 flags | u16 track | i64 monotonic ns | body

The upper six bits of the flags are the track's bits 16 to 21: recordings of days may have more than 65,535 tracks. The upper three
bits of a frame's type are its orientation; in all other records they are 0.
``monotonic ns`` is the moment of appending. A frame's arrivals are in its body.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal
from zlib import crc32

from rokuga.errors import DamagedHeader, JournalError

MAGIC = b"ROKUGAJ1"
FORMAT_VERSION = 1
HEAD = struct.Struct("<IIBBHq")
"""length of body, CRC-32, type, flags, track, monotonic ns"""
FRAME_HEAD = struct.Struct("<qqq")
"""unwrapped RTP time, first arrival ns, last arrival ns; the payload follows"""
FRAME_RECORD = struct.Struct("<IIBBHqqqq")
"""HEAD and FRAME_HEAD in one"""
_BEGIN = struct.Struct("<II")
_CHECKED = struct.Struct("<BBHq")
_CHECKED_FRAME = struct.Struct("<BBHqqqq")
"""HEAD is _BEGIN and _CHECKED; the latter and FRAME_HEAD in one"""
MAX_BODY = 16 * 1024 * 1024
"""No access unit is larger: a record that claims more is damaged."""
FLAG_KEYFRAME = 1
FLAG_SWITCHED = 2
TRACK_SHIFT = 2
"""where in the flags the track's upper bits begin"""
TYPE_MASK = 0x1F
ORIENTATION_SHIFT = 5
"""where in a frame's type its orientation begins"""

Kind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True)
class FileHeader:
    """Who wrote a journal file and the clocks it is measured by.

    ``monotonic_ns`` and ``utc_ns`` were read together when the file was created. ``epoch_ns`` (monotonic) is the zero of the
    generation's presentation times, the same in each of its files; ``epoch_utc_ns`` is the UTC of that instant.
    """

    task_id: str
    generation: int
    file: int
    monotonic_ns: int
    utc_ns: int
    epoch_ns: int
    epoch_utc_ns: int
    tracks: int = -1
    """the highest track number given out before this file, so that a new writer need not read the files before; -1: not told"""

    def encode(self) -> bytes:
        text = json.dumps(asdict(self), separators=(",", ":")).encode()
        return MAGIC + struct.pack("<HH", FORMAT_VERSION, len(text)) + text

    @staticmethod
    def decode(data: bytes) -> tuple["FileHeader", int] | None:
        """Header and its length in bytes, or None if ``data`` ends within it. Raises DamagedHeader, JournalError (unknown version)."""
        if len(data) < 12:
            if not MAGIC.startswith(data[:8]):
                raise DamagedHeader("not a journal file: wrong magic")
            return None
        if data[:8] != MAGIC:
            raise DamagedHeader("not a journal file: wrong magic")
        version, length = struct.unpack_from("<HH", data, 8)
        if version != FORMAT_VERSION:
            raise JournalError(f"journal format {version} is not known here (this is {FORMAT_VERSION})")
        if len(data) < 12 + length:
            return None
        try:
            return FileHeader(**json.loads(data[12 : 12 + length])), 12 + length
        except (ValueError, TypeError) as error:
            raise DamagedHeader(f"damaged header: {error}") from None


@dataclass(frozen=True, slots=True)
class TrackOpened:
    """A track of a user begins. Track numbers are never used twice in a generation."""

    type: ClassVar[int] = 1
    track: int
    user_id: str
    media_id: Literal["main", "aux"]
    kind: Kind
    codec: str
    """lower case: h264, vp8, vp9, av1, opus, pcmu, pcma, g722"""
    clock_rate: int
    channels: int = 0
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class TrackClosed:
    """Nothing more comes on this track. ``cause``: left, unpublished, unsubscribed, link-lost, replaced, end."""

    type: ClassVar[int] = 2
    track: int
    cause: str


@dataclass(slots=True)
class Frame:
    """One picture or one audio packet's payload.

    H.264: the access unit as Annex B with 4-byte start codes, NAL units as they came. VP8 and VP9: the frame as the encoder made it
    (several spatial layers of VP9: a superframe with its index, of which libvpx shows the last). AV1: the temporal unit as
    low-overhead bitstream, each OBU with its size, without temporal delimiter.

    ``rtp_time`` is unwrapped, in units of the track's clock rate. Arrivals are monotonic ns of its first and last packet.
    ``switched``: the first of another simulcast layer. The server sends it as if one source went on, but its RTP times fit those
    before only roughly.

    ``orientation``: what a receiver has to do with the picture before it shows it, coded as TS 26.114 §7.4.5 does (without the camera
    bit). Bit 2: mirror it, left to right; then bits 1 and 0: so many quarter turns clockwise. 0: it is upright.

    Not frozen like the other records: making a frozen one takes several times as long, and of frames there are many.
    """

    type: ClassVar[int] = 3
    # Not frozen: that would make a new one, and there are 65 a second and user, cost three times as much.
    track: int
    rtp_time: int
    first_arrival_ns: int
    last_arrival_ns: int
    keyframe: bool
    data: bytes = field(repr=False)
    switched: bool = False
    orientation: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """Packets that will not come any more: unwrapped sequence numbers, both ends included.

    ``rtp_time`` is that of the frame that the loss spoiled, or -1 where unknown. ``cause``: network,
    repair-failed, incomplete, malformed, disk-full.
    """

    type: ClassVar[int] = 4
    track: int
    first_sequence: int
    last_sequence: int
    rtp_time: int
    cause: str
    tries: int = 0


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """Something happened in the room. ``event``: joined, left, kicked, destroyed, link-lost, link-found, order, restarted.

    ``restarted``: capture died and goes on with nothing that was before: no track is open any more, and who is there joins again.

    ``order`` is the user's place in room-entry order (from 0), -1 where it has none.
    """

    type: ClassVar[int] = 5
    event: str
    user_id: str = ""
    order: int = -1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Params:
    """The recording parameters from here on (JSON without secrets, see ``rokuga.control.model.Params``)."""

    type: ClassVar[int] = 6
    version: int
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeyframeAsked:
    """We sent a PLI. ``reason``: start, loss, segment, interval, resume, layer."""

    type: ClassVar[int] = 7
    track: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Written every second by capture, to say how far time has gone; render decides then. Every tenth carries UTC (else 0).

    Everything that came before its monotonic time is in front of it.
    """

    type: ClassVar[int] = 8
    utc_ns: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """The generation is over; nothing follows. ``leave_code`` as TRTC's event 302 (-1: sealed after a crash)."""

    type: ClassVar[int] = 9
    leave_code: int
    cause: str


FrameFields = tuple[int, int, int, bool, bytes, int, bool]
"""What a Frame says, but for its track: RTP time, first and last arrival, whether it is a keyframe, data, orientation, whether switched."""
_FRAME, _FRAME_HEAD_BYTES = Frame.type, FRAME_HEAD.size
Record = TrackOpened | TrackClosed | Frame | Loss | RoomEvent | Params | KeyframeAsked | Tick | End
_JSON_RECORDS: dict[int, type[Any]] = {r.type: r for r in (TrackOpened, TrackClosed, Loss, RoomEvent, Params, KeyframeAsked, Tick, End)}


def encode(record: Record, monotonic_ns: int) -> bytes:
    """The record as bytes, head and body."""
    if isinstance(record, Frame):
        f = record
        one = f.rtp_time, f.first_arrival_ns, f.last_arrival_ns, f.keyframe, f.data, f.orientation, f.switched
        return encode_frames(f.track, [one], monotonic_ns)
    fields = asdict(record)
    track = fields.pop("track", 0)
    rest = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    checked = _CHECKED.pack(record.type, track >> 16 << TRACK_SHIFT, track & 0xFFFF, monotonic_ns)
    return _BEGIN.pack(len(rest), crc32(rest, crc32(checked))) + checked + rest


def encode_frames(track: int, frames: Iterable[FrameFields], monotonic_ns: int) -> bytes:
    """Frames of a track as bytes, without a Frame being made of each: there are many."""
    upper, lower = track >> 16 << TRACK_SHIFT, track & 0xFFFF
    parts: list[bytes] = []
    for rtp_time, first_arrival_ns, last_arrival_ns, keyframe, data, orientation, switched in frames:
        flags = upper | FLAG_KEYFRAME if keyframe else upper
        if switched:
            flags |= FLAG_SWITCHED
        kind = _FRAME | orientation << ORIENTATION_SHIFT
        checked = _CHECKED_FRAME.pack(kind, flags, lower, monotonic_ns, rtp_time, first_arrival_ns, last_arrival_ns)
        parts += _BEGIN.pack(_FRAME_HEAD_BYTES + len(data), crc32(data, crc32(checked))), checked, data
    return b"".join(parts)


def decode(kind: int, flags: int, track: int, body: bytes) -> Record | None:
    """The record in ``body``; None for a type that this version does not know. Raises JournalError if it is damaged."""
    track |= flags >> TRACK_SHIFT << 16
    try:
        if kind & TYPE_MASK == Frame.type:
            rtp_time, first, last = FRAME_HEAD.unpack_from(body)
            key, switched = bool(flags & FLAG_KEYFRAME), bool(flags & FLAG_SWITCHED)
            return Frame(track, rtp_time, first, last, key, body[FRAME_HEAD.size :], switched, kind >> ORIENTATION_SHIFT)
        made = _JSON_RECORDS.get(kind)
        if made is None:
            return None
        fields = json.loads(body)
        if "track" in made.__dataclass_fields__:
            fields["track"] = track
        record: Record = made(**fields)
        return record
    except (ValueError, TypeError, struct.error) as error:
        raise JournalError(f"damaged record of type {kind}: {error}") from None
