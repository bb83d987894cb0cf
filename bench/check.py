"""Whether a contender recorded what was sent: every file is decoded."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

SILENT = 0.005
"""Root mean square of full scale; the generated tone has 0.03."""
TOLERANCE = 0.10
AAC_SAMPLES = 1024
EDGE = 2
"""Pictures or AAC frames that may be more or less than a track's times say."""
SAMPLE = 13
"""Each 13th sample tells sound from silence as well as all do."""


@dataclass
class Recorded:
    """One track's files, decoded. ``rate`` in kb/s, without the container's share."""

    name: str
    frames: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    channels: int = 0
    problems: list[str] = field(default_factory=list)


def decode(name: str, files: list[Path], kind: str, frame_rate: float, late: bool = False) -> Recorded:
    """Read all of a track's files, one after the other; each must begin with something that can be decoded alone.

    ``late``: what comes before the first keyframe does not count.
    """
    found = Recorded(name)
    size = 0
    begin, end = math.inf, -math.inf
    squares, samples = 0.0, 0
    if not files:
        found.problems.append("no file")
        return found
    for path in files:
        try:
            for packet, frames in _packets(path, kind, late):
                size += packet.size
                for frame in frames:
                    found.frames += 1
                    if frame.time is not None:
                        begin, end = min(begin, frame.time), max(end, frame.time)
                    if isinstance(frame, av.AudioFrame):
                        found.channels = frame.layout.nb_channels
                        sound = memoryview(bytes(frame.planes[0])).cast("f")[: frame.samples : SAMPLE].tolist()
                        squares += sum(x * x for x in sound)
                        samples += len(sound)
        except (av.FFmpegError, IndexError) as error:
            found.problems.append(f"{path.name} cannot be decoded: {error!r}")
    found.seconds = max(0.0, end - begin) + 1 / frame_rate
    found.rate = size * 8 / found.seconds / 1000
    if kind == "audio" and math.sqrt(squares / max(1, samples)) < SILENT:
        found.problems.append("silent")
    return found


def _packets(path: Path, kind: str, late: bool) -> Iterator[tuple["av.Packet[Any]", list[Any]]]:
    with av.open(str(path)) as container:
        stream = (container.streams.video if kind == "video" else container.streams.audio)[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                if not late:
                    raise
                continue
            late = late and not frames
            yield packet, frames


def join(files: list[Path], target: Path) -> list[Path]:
    """One MPEG-TS file of several that were cut anywhere; none of none."""
    with target.open("wb") as out:
        for path in files:
            out.write(path.read_bytes())
    return [target] if files else []


def judge(found: Recorded, least_seconds: float, frame_rate: float, bit_rate: float, edge: int = EDGE) -> list[str]:
    """What is wrong with it; empty if nothing is. ``bit_rate`` in kb/s, 0: any."""
    problems = list(found.problems)
    if found.seconds < least_seconds:
        problems.append(f"lasts {found.seconds:.1f} s, not {least_seconds:.0f} s")
    wanted = found.seconds * frame_rate
    if abs(found.frames - wanted) > edge:
        problems.append(f"{found.frames} frames in {found.seconds:.2f} s, not {wanted:.0f}")
    if bit_rate and abs(found.rate / bit_rate - 1) > TOLERANCE:
        problems.append(f"{found.rate:.0f} kb/s, not {bit_rate:.0f}")
    return [f"{found.name}: {problem}" for problem in problems]
