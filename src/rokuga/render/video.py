"""The fold of a video playlist. Segments begin with a keyframe.

H.264 access units are passed on as they are; those of other codecs are transcoded when the segment is written.
"""

from collections.abc import Iterator
from typing import Any

from rokuga.journal.reader import Arrived
from rokuga.render.clock import Settled
from rokuga.render.line import Line, Track
from rokuga.render.look import Look
from rokuga.render.plan import Plan, Ref, VideoPlan

GAP_NS = 5_000_000_000
EARLY_SECONDS = 0.5
"""A keyframe this much before a segment's wanted length is taken: the next may be long in coming."""
LONGEST_90K = 60 * 90_000
"""A publisher that sends no keyframe however often it is asked: cut all the same, so that segments stay bounded."""
MOST_BEFORE_90K = 300 * 90_000
"""A transcoded segment without a keyframe begins by decoding from the last one: at most this much, then one is waited for."""
GUESSED_FRAME_90K = 3_000
SLOWEST_FRAME_90K = 90_000
TOGETHER_90K = 450
"""Pictures of two simulcast layers less than 5 ms apart are one."""


class VideoLine(Line):
    """See the module. Units: PTS and durations in 90 kHz."""

    gap_ns = GAP_NS

    def _restore(self, state: dict[str, Any]) -> None:
        self._look = Look(self._peek, state)
        self._frames = [Ref.load(f) for f in state.get("frames", [])]
        self._before = [Ref.load(f) for f in state.get("before", [])]
        self._start_sets = tuple(bytes.fromhex(d) for d in state.get("start_sets", []))
        self._start_size: tuple[int, int] = tuple(state.get("start_size", (0, 0)))
        self._last_pts = int(state.get("pts", -1))
        self._last_room = int(state.get("room", 0))
        self._frame_90k = int(state.get("frame", GUESSED_FRAME_90K))
        self._discontinuity = bool(state.get("discontinuity", False))

    def _save(self) -> dict[str, Any]:
        return {
            **self._look.save(),
            "frames": [*self._frames],
            "before": [*self._before],
            "start_sets": [unit.hex() for unit in self._start_sets],
            "start_size": list(self._start_size),
            "pts": self._last_pts,
            "room": self._last_room,
            "frame": self._frame_90k,
            "discontinuity": self._discontinuity,
        }

    def _is_open(self) -> bool:
        return bool(self._frames)

    def _files(self) -> set[int]:
        return {ref.position.file for ref in (*self._before, *self._frames)}

    def _frame(self, track: Track, item: Arrived, settled: Settled) -> Iterator[Plan]:
        if self._frames and settled.room_ns - self._last_room > GAP_NS:
            yield from self._end()
        if item.switched and item.keyframe:
            self._keep_later(self._timeline.pts(settled.room_ns))
        pts = max(self._timeline.pts(settled.room_ns), self._last_pts + 1)
        key, missing = self._look.at(item, track.codec)
        if self._frames and not self._is_due(pts, key):
            self._frame_90k = min(max(pts - self._last_pts, 1), SLOWEST_FRAME_90K)
        else:
            before: list[Ref] = []
            begins = key
            if self._frames:
                if not key:
                    before = needed(self._before, self._frames)
                    begins = not before or pts - before[0].time <= MOST_BEFORE_90K
                yield self._cut(pts)
                self._discontinuity = not begins
            if not begins:
                return
            self._begin(before, missing)
        self._frames.append(Ref(item.position, item.size, pts, keyframe=key, codec=track.codec, orientation=item.orientation))
        self._last_pts = pts
        self._last_room = settled.room_ns

    def _keep_later(self, pts: int) -> None:
        """A layer's last picture may fall together with the next layer's first, which needs none before it."""
        if len(self._frames) > 1 and pts - self._last_pts < TOGETHER_90K:
            del self._frames[-1]
            self._last_pts = self._frames[-1].time

    def _is_due(self, pts: int, key: bool) -> bool:
        length = pts - self._frames[0].time
        return (key and length >= (self._wanted_seconds() - EARLY_SECONDS) * 90_000) or length >= LONGEST_90K

    def _end(self) -> Iterator[Plan]:
        if self._frames:
            yield self._cut(self._last_pts + self._frame_90k)
            self._discontinuity = True

    def _begin(self, before: list[Ref], parameter_sets: tuple[bytes, ...]) -> None:
        self._before = before
        self._start_sets = parameter_sets
        self._start_size = self._look.size
        self._began = True

    def _cut(self, end_pts: int) -> VideoPlan:
        head = self._head(self._frames[0].time, end_pts, self._discontinuity)
        plan = VideoPlan(head, tuple(self._frames), self._start_sets, *self._start_size, tuple(self._before))
        self._frames = []
        self._discontinuity = False
        return plan


def needed(before: list[Ref], frames: list[Ref]) -> list[Ref]:
    """What is to be decoded first when decoding is to go on behind ``frames``: all from the last keyframe on. H.264 is not decoded."""
    if frames[-1].codec == "h264":
        return []
    everything = before + frames
    last = max((index for index, frame in enumerate(everything) if frame.keyframe), default=0)
    return everything[last:]
