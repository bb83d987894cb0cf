"""Who is recorded: lists, StreamType, MediaId and the most streams that a task takes. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from rokuga.control.model import Params
from rokuga.room.protocol import Stream

WILDCARD = ".*$"


def _matches(entry: str, user_id: str, users: set[str]) -> bool:
    """An entry that is somebody's id means that user alone; else one that ends in ``.*$`` means all ids with that prefix."""
    if entry in users or not entry.endswith(WILDCARD):
        return entry == user_id
    return user_id.startswith(entry.removesuffix(WILDCARD))


def _wanted(user_id: str, allow: Sequence[str], block: Sequence[str], users: set[str]) -> bool:
    if allow and not any(_matches(entry, user_id, users) for entry in allow):
        return False
    return not any(_matches(entry, user_id, users) for entry in block)


def select(streams: Sequence[Stream], params: Params) -> list[Stream]:
    """The streams to record, in room-entry order, main before aux, with audio or video None where it is not wanted.

    Rules: TRTC's SubscribeStreamUserIds (empty allowlist: everybody), StreamType, MediaId; at most ``max_streams``, so that the
    next one moves up when one leaves. The bot itself is never recorded (other bots are not among a room's streams).
    """
    users = {stream.user_id for stream in streams}
    lists = params.lists
    chosen: list[Stream] = []
    for stream in sorted(streams, key=lambda s: (s.order, s.media_id == "aux")):
        if stream.user_id == params.user_id or (params.media_id and stream.media_id != ("main", "aux")[params.media_id - 1]):
            continue
        audio = params.stream_type != 2 and _wanted(stream.user_id, lists.audio_allow, lists.audio_block, users)
        video = params.stream_type != 1 and _wanted(stream.user_id, lists.video_allow, lists.video_block, users)
        wanted = replace(stream, audio=stream.audio if audio else None, video=stream.video if video else None)
        if wanted.audio or wanted.video:
            chosen.append(wanted)
    return chosen[: params.max_streams]
