"""Where a track's sound goes on the mix's timeline. Pure.

Packets follow each other without a seam as RTP time says. Their clock drifts against the room's, by up to 200 ppm for hours, and the
network's delay may change for good, which room time follows by 1 % (see the clock); a mix cannot move its timeline for one of them, so
packets are stretched, by as much at most: a sixth of a semitone.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Any

from rokuga.render.audio import announces_pause
from rokuga.render.mix.plan import Voice
from rokuga.render.plan import Ref

STEP = 4_800
"""Sound that is 100 ms from where it should be goes there at once: its source stalled, or began anew."""
EASE = 64
"""Of a smaller distance each packet takes up one part in so many: it halves in a second."""
MOST_STRETCH = 96
"""and no more than a packet's length divided by this: as fast as pictures follow their clock, or lips and voice would part meanwhile"""


@dataclass(slots=True)
class VoiceTrack:
    """The packets of one track that are still needed, none before the end of the one in front. Samples at 48 kHz on the mix's timeline."""

    voices: list[Voice] = field(default_factory=list)
    end: int = 0
    """where the last packet ends"""
    rtp: int = 0
    """and in samples of its RTP time"""

    def add(self, ref: Ref, rtp: int, wanted: int, restarted: bool) -> None:
        """A packet at RTP time ``rtp`` (in samples) that should sound from ``wanted`` on. One that comes too late to sound is left out.

        ``restarted``: RTP time has nothing to do with that of the packet before.
        """
        hole = rtp - self.rtp
        error = wanted - (self.end + hole)
        if not self.voices or restarted or hole < 0 or abs(error) > STEP:
            if wanted < self.end - (STEP if self.voices else 0):
                return
            at, stretch = max(wanted, self.end), 0
        else:
            at, stretch = self.end + hole, int(error / EASE)
            if stretch:
                # In whole steps of long packets' lengths: each length has a table of its own.
                step = max(1, ref.samples // 960)
                most = ref.samples // MOST_STRETCH // step * step
                stretch = max(-most, min(most, int(stretch / step) * step))
        samples = ref.samples
        length = samples + stretch
        # As Voice(...) does it, without the Python function in between.
        self.voices.append(tuple.__new__(Voice, (ref, at, length)))
        self.end, self.rtp = at + length, rtp + samples

    def between(self, begin: int, end: int) -> tuple[Voice, ...]:
        """The packets of which something sounds between those two, and the one that announced a pause before them."""
        return tuple(self.voices[self._needed(begin) : bisect_left(self.voices, end, key=_at)])

    def forget(self, before: int) -> None:
        """Nothing before that is needed any more. The last one stays: the next one follows it."""
        del self.voices[: min(self._needed(before), len(self.voices) - 1)]

    def _needed(self, begin: int) -> int:
        first = bisect_right(self.voices, begin, key=_end)
        return first - 1 if first and announces_pause(self.voices[first - 1].ref) else first

    def save(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"end": self.end, "rtp": self.rtp, "voices": [*self.voices]}

    @staticmethod
    def load(state: dict[str, Any]) -> "VoiceTrack":
        voices = [Voice(Ref.load(ref), at, length) for ref, at, length in state["voices"]]
        return VoiceTrack(voices, state["end"], state["rtp"])


def _at(voice: Voice) -> int:
    return voice.at


def _end(voice: Voice) -> int:
    return voice.at + voice.length
