"""A clip: pre-encoded H.264 access units and Opus packets that a room user sends over and over.

A cached clip is one file: a line of JSON, then the units one after the other (kind, keyframe, time, length, bytes).
"""

import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rokuga.errors import RokugaError

VIDEO_CLOCK = 90_000
AUDIO_CLOCK = 48_000
OPUS_SAMPLES = 960
"""20 ms: what WebRTC endpoints send."""

Kind = Literal["audio", "video"]
_UNIT = struct.Struct("<BBqI")


class PublishError(RokugaError):
    """The source cannot be published: no such file, nothing in it to send, or video that is not H.264 as WebRTC has it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit (Annex B, SPS and PPS in front of each IDR) or one Opus packet. ``pts`` in ticks of its kind's clock."""

    pts: int
    data: bytes
    key: bool = True


@dataclass(frozen=True)
class Clip:
    """Units in sending order. ``seconds`` is the length of one round, the same for both kinds, so that they stay in step."""

    seconds: float
    video: tuple[Unit, ...] = ()
    audio: tuple[Unit, ...] = ()

    def units(self, kind: Kind) -> tuple[Unit, ...]:
        return self.video if kind == "video" else self.audio

    def rounds(self, kind: Kind) -> Iterator[Unit]:
        """Without end: round after round, timestamps going on. Nothing at all when the clip has no such media."""
        units = self.units(kind)
        length = round(self.seconds * clock_of(kind))
        offset = 0
        while units:
            for unit in units:
                yield Unit(unit.pts + offset, unit.data, unit.key)
            offset += length


def clock_of(kind: Kind) -> int:
    """Ticks a second of RTP time."""
    return VIDEO_CLOCK if kind == "video" else AUDIO_CLOCK


def save(path: Path, clip: Clip) -> None:
    """Write the clip so that it is there whole or not at all. Raises OSError."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with new.open("wb") as file:
        file.write(json.dumps({"seconds": clip.seconds}).encode() + b"\n")
        for mark, units in enumerate((clip.video, clip.audio)):
            file.writelines(_UNIT.pack(mark, unit.key, unit.pts, len(unit.data)) + unit.data for unit in units)
    new.replace(path)


def load(path: Path) -> Clip:
    """Read a clip that ``save`` wrote. Raises OSError."""
    with path.open("rb") as file:
        seconds = json.loads(file.readline())["seconds"]
        body = file.read()
    both: tuple[list[Unit], list[Unit]] = ([], [])
    at = 0
    while at < len(body):
        mark, key, pts, length = _UNIT.unpack_from(body, at)
        at += _UNIT.size
        both[mark].append(Unit(pts, body[at : at + length], bool(key)))
        at += length
    return Clip(seconds, tuple(both[0]), tuple(both[1]))


def nal_units(data: bytes) -> Iterable[bytes]:
    """The NAL units of an Annex B byte stream, without start codes and trailing zeros (ITU-T H.264 Annex B)."""
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        after = data.find(b"\x00\x00\x01", start + 3)
        nal = data[start + 3 : after if after >= 0 else len(data)].rstrip(b"\x00")
        if nal:
            yield nal
        start = after
