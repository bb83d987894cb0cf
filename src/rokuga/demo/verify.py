"""Judges a finished recording by decoding every file of it, as a player would: the playlist, from end to end."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av

SILENT = 0.005
"""Root mean square of full scale; the generated sound has 0.04."""
STILL = 0.5
"""Mean difference of luma (0 to 255) between pictures; the generated clock runs."""
SAMPLE = 13
"""Looking at each 13th sample, pixel and picture is enough to tell sound from silence."""

Frame = av.VideoFrame | av.AudioFrame
Stream = av.VideoStream | av.AudioStream


@dataclass
class Track:
    """What one index file holds and what is wrong with it. Times in seconds."""

    file: str
    user_id: str
    media_id: str
    kind: str
    segments: int = 0
    bytes: int = 0
    seconds: float = 0
    width: int = 0
    height: int = 0
    problems: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value or key == "problems"}


def tags(text: str, name: str) -> list[str]:
    """The values of a tag, in order."""
    start = f"#{name}:"
    return [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]


def verify(playlist: Path, least_seconds: float, size: tuple[int, int] | None = None) -> Track:
    """Read, measure and decode one playlist and its segments; ``size`` is the picture that it must show."""
    text = playlist.read_text("utf-8")
    user_id, media_id, kind = (_first(tags(text, f"EXT-X-TRTC-{name}")) for name in ("USER-ID", "MEDIA-ID", "STREAM-TYPE"))
    track = Track(playlist.name, user_id, media_id, "video" if kind == "1" else "audio")
    names = [line for line in text.splitlines() if line and not line.startswith("#")]
    track.segments = len(names)
    if not text.endswith("#EXT-X-ENDLIST\n"):
        track.problems.append("the playlist is not closed")
    for name, attribute in zip(names, tags(text, "EXT-X-TRTC-FILE-ATTR"), strict=True):
        path = playlist.parent / name
        if not path.is_file():
            track.problems.append(f"{name} is not in the store")
        elif path.stat().st_size != int(attribute.split(",")[1]):
            track.problems.append(f"{name} has {path.stat().st_size} bytes, not {attribute.split(',')[1]}")
        else:
            track.bytes += path.stat().st_size
    if track.problems or not names:
        track.problems += [] if names else ["there is no segment in it"]
        return track
    stated = sum(float(value.split(",")[0]) for value in tags(text, "EXTINF"))
    try:
        _decode(playlist, track)
    except (av.FFmpegError, IndexError) as error:
        track.problems.append(f"FFmpeg cannot read it: {error}")
        return track
    if track.seconds < least_seconds:
        track.problems.append(f"it lasts {track.seconds:.1f} s, less than {least_seconds:.0f} s")
    if abs(track.seconds - stated) > 0.25:
        track.problems.append(f"it lasts {track.seconds:.2f} s, its playlist says {stated:.2f} s")
    if size and (track.width, track.height) != size:
        track.problems.append(f"the picture has {track.width}x{track.height}, not {size[0]}x{size[1]}")
    return track


def _first(values: list[str]) -> str:
    return values[0] if values else ""


def _decode(playlist: Path, track: Track) -> None:
    corrupt = 0
    last = -math.inf
    begin, end = math.inf, -math.inf
    content = _Content()
    with av.open(str(playlist)) as container:
        stream: Stream = container.streams.video[0] if track.kind == "video" else container.streams.audio[0]
        for packet in container.demux(stream):
            corrupt += packet.is_corrupt
            if packet.dts is not None:
                if packet.dts <= last:
                    track.problems.append(f"time does not rise behind {end:.3f} s")
                last = packet.dts
            for frame in _frames(packet):
                corrupt += frame.is_corrupt
                if frame.time is not None:
                    begin = min(begin, frame.time)
                    end = max(end, frame.time + _length(frame, stream))
                content.add(frame)
        if isinstance(stream, av.VideoStream):
            track.width, track.height = stream.codec_context.width, stream.codec_context.height
    if corrupt:
        track.problems.append(f"{corrupt} packets or pictures are corrupt")
    track.seconds = round(max(0.0, end - begin), 3)
    if track.kind == "video" and content.change < STILL:
        track.problems.append("the picture stands still")
    if track.kind == "audio" and content.level < SILENT:
        track.problems.append("the sound is silent")


def _frames(packet: "av.Packet[Any]") -> Iterator[Frame]:
    for frame in packet.decode():
        assert isinstance(frame, (av.VideoFrame, av.AudioFrame))
        yield frame


def _length(frame: Frame, stream: Stream) -> float:
    if isinstance(frame, av.AudioFrame):
        return frame.samples / frame.sample_rate
    rate = stream.average_rate if isinstance(stream, av.VideoStream) else None
    return 1 / float(rate) if rate else 0.0


class _Content:
    """Whether there is anything to see or to hear: ``level`` (root mean square), ``change`` (largest between pictures)."""

    def __init__(self) -> None:
        self._squares = 0.0
        self._samples = 0
        self._pictures = 0
        self._last = b""
        self.change = 0.0

    @property
    def level(self) -> float:
        return math.sqrt(self._squares / self._samples) if self._samples else 0.0

    def add(self, frame: Frame) -> None:
        if isinstance(frame, av.AudioFrame):
            # The AAC decoder gives planes of 32-bit floats.
            sound = memoryview(bytes(frame.planes[0])).cast("f")[: frame.samples : SAMPLE]
            self._squares += sum(x * x for x in sound.tolist())
            self._samples += len(sound)
            return
        self._pictures += 1
        if self._pictures % SAMPLE == 1:
            luma = bytes(frame.planes[0])[::SAMPLE]
            if len(luma) == len(self._last):
                self.change = max(self.change, sum(abs(a - b) for a, b in zip(luma, self._last, strict=True)) / len(luma))
            self._last = luma
