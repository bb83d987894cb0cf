"""File names as TRTC gives them (seed: "recording file naming"): pure functions, no prefix unless said.

``<SdkAppId>_<RoomId>__UserId_s_<UserId>__UserId_e_<MediaId>_<Type>[_<UTC>].<ext>``, with ``ha<n>_`` in front from the n-th pull-up on.
"""

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

TrackType = Literal["audio", "video", "audio_video"]
MIX = "mix"
"""MediaId of a mixed recording, which is of no user"""
MOST_STEM = 220
"""A file system's names have at most 255 bytes: room for what stands around a stem while its segment is being written."""


def encode_id(text: str) -> str:
    """TRTC's special base64: standard base64 of the UTF-8 bytes, then ``/`` becomes ``-`` and ``=`` becomes ``.``."""
    return b64encode(text.encode()).decode().replace("/", "-").replace("=", ".")


def utc_digits(utc_ms: int) -> str:
    """A UTC instant (milliseconds since the Unix epoch) as the 17 digits ``YYYYMMDDHHMMSSmmm``."""
    seconds, ms = divmod(utc_ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S") + f"{ms:03d}"


def single_stem(
    sdk_app_id: int, room_id: str, room_id_type: int, user_id: str, media_id: str, track_type: TrackType, generation: int = 0
) -> str:
    """What all names of one single-stream playlist begin with.

    ``room_id_type`` 0 (string room) encodes the RoomId, 1 (32-bit integer) leaves it as it is; the UserId is always encoded.
    ``generation`` 0 is the first recorder; n > 0 means the n-th pull-up after a failure. TRTC's ids have at most 32 (users) and 64 bytes
    (rooms), but a media server lets users have longer ones: where the name became too long it has the SHA-256 (hexadecimal) of the UserId.
    """
    room = encode_id(room_id) if room_id_type == 0 else room_id
    kind = "audiovideo" if track_type == "audio_video" else track_type
    high_availability = f"ha{generation}_" if generation > 0 else ""

    def stem(user: str) -> str:
        return f"{high_availability}{sdk_app_id}_{room}__UserId_s_{user}__UserId_e_{media_id}_{kind}"

    whole = stem(encode_id(user_id))
    return whole if len(whole) <= MOST_STEM else stem(sha256(user_id.encode()).hexdigest())


def mixed_stem(sdk_app_id: int, room_id: str, room_id_type: int, generation: int = 0) -> str:
    """What all names of a mixed recording begin with: ``<SdkAppId>_<RoomId>``. See `single_stem`."""
    room = encode_id(room_id) if room_id_type == 0 else room_id
    return f"ha{generation}_{sdk_app_id}_{room}" if generation > 0 else f"{sdk_app_id}_{room}"


def playlist_name(stem: str, part: int = 0) -> str:
    """The index file of a stem. A recording of many days goes on in part 1, 2, …: ``<stem>_<part>.m3u8``."""
    return f"{stem}_{part}.m3u8" if part else f"{stem}.m3u8"


def segment_name(stem: str, begin_ms: int) -> str:
    """The segment of a stem that begins at ``begin_ms`` (UTC, milliseconds)."""
    return f"{stem}_{utc_digits(begin_ms)}.ts"


def object_key(prefix: Sequence[str], task_id: str, name: str) -> str:
    """Where a file lies in the bucket: ``<prefix…>/<TaskId>/<name>``; without a prefix the key starts with the TaskId."""
    return "/".join([*prefix, task_id, name])
