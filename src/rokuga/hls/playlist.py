"""The text of an index file (RFC 8216, version 3, type EVENT) with TRTC's tags. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil

from rokuga.hls.naming import MIX
from rokuga.storage.spool import Segment

TARGET = "target"
"""Key in ``Segment.meta``: the target duration (seconds) that the playlist shall state at least, so that it rarely has to grow."""
END = "#EXT-X-ENDLIST\n"
VIDEO_CODEC = 27
AUDIO_CODEC = 86018
"""libavcodec's numbers of H.264 and AAC, as TRTC's own index files state them."""


class Index:
    """The text of an index that grows, of which it remembers no more than the next line depends on.

    ``head`` and then what ``add`` has answered for each segment, of one playlist and in order, are the text; END closes it.
    ``#EXT-X-TARGETDURATION``, in the head, is never below a segment's true duration (RFC 8216 §4.3.3.1). The seed's tags come in the
    seed's order; ``VIDEO-METADATA`` and ``AUDIO-METADATA`` stand in the head and again in front of each segment whose resolution or
    channels differ from the one before.
    """

    def __init__(self) -> None:
        self._head: list[str] = []
        self._target = 1
        self._size = (0, 0)
        self._channels = 0

    @property
    def head(self) -> str:
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-ALLOW-CACHE:NO", "#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-PLAYLIST-TYPE:EVENT"]
        return "\n".join((*lines, f"#EXT-X-TARGETDURATION:{self._target}", *self._head)) + "\n"

    def add(self, segment: Segment) -> str:
        """The lines of the next segment."""
        lines: list[str] = []
        if not self._head:
            self._head = _head(segment)
            self._size, self._channels = (segment.width, segment.height), segment.channels
        self._target = max(self._target, _target(segment))
        if segment.discontinuity:
            lines.append("#EXT-X-DISCONTINUITY")
        if segment.track_type != "audio" and (segment.width, segment.height) != self._size:
            self._size = (segment.width, segment.height)
            lines.append(_video_metadata(segment))
        if segment.track_type != "video" and segment.channels != self._channels:
            self._channels = segment.channels
            lines.append(_audio_metadata(segment))
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_iso(segment.begin_ms)}")
        lines.append(f"#EXT-X-TRTC-FILE-ATTR:{segment.begin_ms},{segment.size}")
        lines.append(f"#EXTINF:{segment.duration:.3f},")
        return "\n".join((*lines, segment.name)) + "\n"


def render(segments: Sequence[Segment], ended: bool) -> str:
    """The index of ``segments``, which are of one playlist and in order; ``ended`` closes it."""
    index = Index()
    body = "".join(map(index.add, segments))
    return index.head + body + (END if ended else "")


def _target(segment: Segment) -> int:
    stated = segment.meta.get(TARGET, 0)
    return max(ceil(round(segment.duration, 3)), stated if isinstance(stated, int) else 0, 1)


def _head(first: Segment) -> list[str]:
    lines = [f"#EXT-X-TRTC-START-REC-TIME:{first.begin_ms}", f"#EXT-X-TRTC-MEDIA-ID:{_one_line(first.media_id)}"]
    mixed = first.media_id == MIX
    if not mixed:
        lines.append(f"#EXT-X-TRTC-USER-ID:{_one_line(first.user_id)}")
    lines.append(f"#EXT-X-TRTC-MIX-STREAM:{int(mixed)}")
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
