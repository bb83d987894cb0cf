"""What the fold of a mix decides and its segment writer carries out: references into the journal, places and times, no media.

Mix time counts samples at 48 kHz; 0 is the first sample of the recording's sound.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rokuga.render.mix.marks import Mark
from rokuga.render.mix.scene import MixVideo
from rokuga.render.plan import Head, Ref


class Referring(Protocol):
    """A `Voice` or a `Picture`."""

    @property
    def ref(self) -> Ref: ...


def files_of(*tracks: Sequence[Referring]) -> set[int]:
    """The numbers of the journal files that those refer to; each track in the journal's order.

    There are thousands of them, and hardly ever more than two files.
    """
    files: set[int] = set()
    for track in tracks:
        at = 0
        while at < len(track):
            file = _file(track[at])
            files.add(file)
            at = bisect_right(track, file, lo=at, key=_file)
    return files


def _file(item: Referring) -> int:
    return item.ref.position.file


class Voice(NamedTuple):
    """One audio packet in the mix. Of ``ref``, ``time`` is not used; ``samples`` is its sound at 48 kHz."""

    ref: Ref
    at: int
    """mix time of its first sample"""
    length: int
    """samples that it takes up there: as many as it has, or a few more or fewer (clocks are followed by stretching, at most about 1 %)"""


@dataclass(frozen=True, slots=True)
class MixAudio:
    """Packets to decode, add and encode. AAC frame k holds the mix's samples from 1024 k on, counted at ``rate``."""

    rate: int
    """of the AAC: 48000, 44100 or 16000"""
    channels: int
    bit_rate: int
    first: int
    """number of the segment's first AAC frame"""
    pts: tuple[int, ...]
    """of the segment's AAC frames, 90 kHz"""
    voices: tuple[tuple[Voice, ...], ...]
    """Per track, in order: the packets that sound in the segment and, so that decoders, limiter and encoder are in the same state as those
    of the neighbours at the seams, those of some time before and after (`rokuga.render.mix.sound.reach`)."""


@dataclass(frozen=True, slots=True)
class MixPlan:
    """One segment; at least one of picture and sound."""

    head: Head
    video: MixVideo | None
    marks: tuple[tuple[Mark, ...], ...]
    """of each of the video's scenes: its watermarks, which are rasterised when the segment is made"""
    audio: MixAudio | None

    def files(self) -> set[int]:
        """The numbers of the journal files that it refers to."""
        pictures = self.video.sources if self.video else ()
        return files_of(*pictures, *(self.audio.voices if self.audio else ()))
