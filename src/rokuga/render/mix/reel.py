"""The pictures of one stream that a mix still needs: those of the open segment, and what must be decoded before them. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rokuga.render.mix.scene import Picture
from rokuga.render.plan import Ref

STOPPED_90K = 225_000
"""A camera that sends nothing for 2.5 s has stopped. A screen share that stands still sends a picture a second."""
MOST = 20_000
"""Pictures since the last keyframe that are kept, eleven minutes at 30 a second. Publishers are asked for one much more often; one that
does not heed that is left out from there until it sends one."""


@dataclass(slots=True)
class Reel:
    """Pictures in order of their PTS (90 kHz)."""

    pictures: list[Picture] = field(default_factory=list)

    def add(self, picture: Picture) -> bool:
        """The next one. Until there is a keyframe nothing can be decoded, and nothing is kept: False."""
        if not (self.pictures or picture.ref.keyframe):
            return False
        self.pictures.append(picture)
        return True

    @property
    def last_pts(self) -> int:
        """-1: there is none."""
        return self.pictures[-1].ref.time if self.pictures else -1

    def between(self, begin: int, end: int) -> tuple[Picture, ...]:
        """What is seen from ``begin`` to before ``end``, and before it what must be decoded first."""
        return tuple(self.pictures[self._needed(begin) : bisect_left(self.pictures, end, key=_time)])

    def stops(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """From when to when within those two it stands still because nothing comes: half-open."""
        first = max(0, bisect_right(self.pictures, begin, key=_time) - 1)
        for now, after in pairwise([*(p.ref.time for p in self.pictures[first:]), end]):
            since = max(begin, now + STOPPED_90K)
            until = min(end, after)
            if since < until:
                yield since, until
            if after >= end:
                return

    def forget(self, before: int) -> None:
        """Nothing is shown before that any more."""
        keep = self._needed(before)
        after = next((i for i in range(keep + 1, len(self.pictures)) if self.pictures[i].ref.keyframe), len(self.pictures))
        del self.pictures[: keep if after - keep <= MOST else after]

    def _needed(self, pts: int) -> int:
        """Where decoding begins for what is seen at ``pts``: at the last keyframe up to there."""
        last = bisect_right(self.pictures, pts, key=_time)
        return next((i for i in range(last - 1, -1, -1) if self.pictures[i].ref.keyframe), 0)

    def save(self) -> list[Any]:
        """Plain JSON."""
        return [[ref, [unit.hex() for unit in units] if units else ()] for ref, units in self.pictures]

    @staticmethod
    def load(state: list[Any]) -> "Reel":
        return Reel([Picture(Ref.load(ref), tuple(bytes.fromhex(unit) for unit in units)) for ref, units in state])


def _time(picture: Picture) -> int:
    return picture.ref.time
