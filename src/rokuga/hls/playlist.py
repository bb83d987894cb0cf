"""The text of an index file (RFC 8216, version 3, type EVENT) with TRTC's tags. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil

from rokuga.storage.spool import Segment

TARGET = "target"
"""Key in ``Segment.meta``: the target duration (seconds) that the playlist shall state at least, so that it rarely has to grow."""
VIDEO_CODEC = 27
AUDIO_CODEC = 86018
"""libavcodec's numbers of H.264 and AAC, as TRTC's own index files state them."""


def render(segments: Sequence[Segment], ended: bool) -> str:
    """The index of ``segments``, which are of one playlist and in order; ``ended`` closes it.

    ``#EXT-X-TARGETDURATION`` is never below a segment's true duration (RFC 8216 §4.3.3.1). The seed's tags come in the seed's order;
    ``VIDEO-METADATA`` and ``AUDIO-METADATA`` stand in the head and again in front of each segment whose resolution or channels differ
    from the one before.
    """
    target = max((_target(s) for s in segments), default=1)
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-ALLOW-CACHE:NO", "#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-PLAYLIST-TYPE:EVENT"]
    lines.append(f"#EXT-X-TARGETDURATION:{target}")
    if segments:
        lines += _head(segments[0])
    size = (segments[0].width, segments[0].height) if segments else (0, 0)
    channels = segments[0].channels if segments else 0
    for segment in segments:
        if segment.discontinuity:
            lines.append("#EXT-X-DISCONTINUITY")
        if segment.track_type != "audio" and (segment.width, segment.height) != size:
            size = (segment.width, segment.height)
            lines.append(_video_metadata(segment))
        if segment.track_type != "video" and segment.channels != channels:
            channels = segment.channels
            lines.append(_audio_metadata(segment))
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_iso(segment.begin_ms)}")
        lines.append(f"#EXT-X-TRTC-FILE-ATTR:{segment.begin_ms},{segment.size}")
        lines.append(f"#EXTINF:{segment.duration:.3f},")
        lines.append(segment.name)
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _target(segment: Segment) -> int:
    stated = segment.meta.get(TARGET, 0)
    return max(ceil(round(segment.duration, 3)), stated if isinstance(stated, int) else 0, 1)


def _head(first: Segment) -> list[str]:
    lines = [f"#EXT-X-TRTC-START-REC-TIME:{first.begin_ms}", f"#EXT-X-TRTC-MEDIA-ID:{_one_line(first.media_id)}"]
    lines.append(f"#EXT-X-TRTC-USER-ID:{_one_line(first.user_id)}")
    lines.append("#EXT-X-TRTC-MIX-STREAM:0")
    lines.append(f"#EXT-X-TRTC-STREAM-TYPE:{0 if first.track_type == 'audio' else 1}")
    if first.track_type != "video":
        lines.append(_audio_metadata(first))
    if first.track_type != "audio":
        lines.append(_video_metadata(first))
    return lines


def _audio_metadata(segment: Segment) -> str:
    return f"#EXT-X-TRTC-AUDIO-METADATA:Channel:{segment.channels} SampleRate:{segment.sample_rate} SampleFormat:1 Codec:{AUDIO_CODEC}"


def _video_metadata(segment: Segment) -> str:
    # Readers of TRTC's files take WIDTH and HEIGHT from the beginning of the value.
    return f"#EXT-X-TRTC-VIDEO-METADATA:WIDTH:{segment.width} HEIGHT:{segment.height} Codec:{VIDEO_CODEC}"


def _iso(utc_ms: int) -> str:
    seconds, ms = divmod(utc_ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms:03d}Z"


def _one_line(text: str) -> str:
    """A room's own ids may hold anything; a line break would forge a tag."""
    return "".join(c if c.isprintable() else "_" for c in text)
