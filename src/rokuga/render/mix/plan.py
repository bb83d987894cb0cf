"""What the fold of a mix decides and its segment writer carries out: references into the journal, places and times, no media.

Mix time counts samples at 48 kHz; 0 is the first sample of the recording's sound.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rokuga.render.mix.marks import Mark
from rokuga.render.mix.scene import MixVideo
from rokuga.render.plan import Head, Ref


class Voice(NamedTuple):
    """One audio packet in the mix. Of ``ref``, ``time`` is not used; ``samples`` is its sound at 48 kHz."""

    ref: Ref
    at: int
    """mix time of its first sample"""
    length: int
    """samples that it takes up there: as many as it has, or a few more or fewer (clock drift is corrected by stretching, at most 0.5 %)"""


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

    def refs(self) -> Iterator[Ref]:
        """All that it refers to in the journal."""
        if self.video:
            yield from (picture.ref for source in self.video.sources for picture in source)
        if self.audio:
            yield from (voice.ref for voices in self.audio.voices for voice in voices)
