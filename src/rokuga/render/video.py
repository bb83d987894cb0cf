"""The fold of an H.264 playlist: access units are passed on as they are, segments begin with an IDR."""

from collections.abc import Iterator
from typing import Any

from rokuga.render import h264
from rokuga.render.clock import Settled
from rokuga.render.line import Arrived, Line
from rokuga.render.plan import Plan, Ref, VideoPlan

GAP_NS = 5_000_000_000
EARLY_SECONDS = 0.5
"""An IDR this much before a segment's wanted length is taken: the next may be long in coming."""
LONGEST_90K = 60 * 90_000
"""A publisher that sends no IDR however often it is asked: cut all the same, so that segments stay bounded."""
GUESSED_FRAME_90K = 3_000
SLOWEST_FRAME_90K = 90_000
PEEK_BYTES = 4096
SMALL_BYTES = 512
"""An access unit that is no IDR and has parameter sets is at most this large, or they are found with the next IDR."""


class VideoLine(Line):
    """See the module. Units: PTS and durations in 90 kHz."""

    def _restore(self, state: dict[str, Any]) -> None:
        self._frames = [Ref.from_json(f) for f in state.get("frames", [])]
        self._sets = {(int(k), int(i)): bytes.fromhex(d) for k, i, d in state.get("sets", [])}
        self._size: tuple[int, int] = tuple(state.get("size", (0, 0)))
        self._start_sets = tuple(bytes.fromhex(d) for d in state.get("start_sets", []))
        self._start_size: tuple[int, int] = tuple(state.get("start_size", (0, 0)))
        self._last_pts = int(state.get("pts", -1))
        self._last_room = int(state.get("room", 0))
        self._frame_90k = int(state.get("frame", GUESSED_FRAME_90K))
        self._discontinuity = bool(state.get("discontinuity", False))

    def _save(self) -> dict[str, Any]:
        return {
            "frames": [f.to_json() for f in self._frames],
            "sets": [[kind, number, unit.hex()] for (kind, number), unit in self._sets.items()],
            "size": list(self._size),
            "start_sets": [unit.hex() for unit in self._start_sets],
            "start_size": list(self._start_size),
            "pts": self._last_pts,
            "room": self._last_room,
            "frame": self._frame_90k,
            "discontinuity": self._discontinuity,
        }

    def _is_open(self) -> bool:
        return bool(self._frames)

    def _gap_ns(self) -> int:
        return GAP_NS

    def _frame(self, item: Arrived, settled: Settled) -> Iterator[Plan]:
        if self._frames and settled.room_ns - self._last_room > GAP_NS:
            yield from self._end()
        pts = max(self._timeline.pts(settled.room_ns), self._last_pts + 1)
        idr, missing = self._look(item)
        if not self._frames:
            if not idr:
                return
            self._begin(missing)
        else:
            length = pts - self._frames[0].time
            if (idr and length >= (self._wanted_seconds() - EARLY_SECONDS) * 90_000) or length >= LONGEST_90K:
                yield self._cut(pts)
                self._begin(missing)
            else:
                self._frame_90k = min(max(pts - self._last_pts, 1), SLOWEST_FRAME_90K)
        self._frames.append(Ref(item.position, item.size, pts, keyframe=idr))
        self._last_pts = pts
        self._last_room = settled.room_ns

    def _end(self) -> Iterator[Plan]:
        if self._frames:
            yield self._cut(self._last_pts + self._frame_90k)
            self._discontinuity = True

    def _begin(self, parameter_sets: tuple[bytes, ...]) -> None:
        self._start_sets = parameter_sets
        self._start_size = self._size
        self._began = True

    def _cut(self, end_pts: int) -> VideoPlan:
        head = self._head(self._frames[0].time, end_pts, self._discontinuity)
        plan = VideoPlan(head, tuple(self._frames), self._start_sets, *self._start_size)
        self._frames = []
        self._discontinuity = False
        return plan

    def _look(self, item: Arrived) -> tuple[bool, tuple[bytes, ...]]:
        """Whether a decoder can begin here, and the parameter sets that it then needs in front. Remembers those it meets."""
        if not item.keyframe and item.size > SMALL_BYTES:
            return False, ()
        leading = h264.leading(self._peek(item.position, min(item.size, PEEK_BYTES)))
        if leading.first_slice is None and item.size > PEEK_BYTES:
            leading = h264.leading(self._peek(item.position, item.size))
        for unit in leading.parameter_sets:
            self._remember(unit)
        kinds = {unit[0] & 0x1F for unit in leading.parameter_sets}
        known = {kind for kind, _ in self._sets}
        idr = leading.first_slice == h264.IDR and {h264.SPS, h264.PPS} <= known
        if not idr or {h264.SPS, h264.PPS} <= kinds:
            return idr, ()
        missing = sorted(((kind, n) for kind, n in self._sets if self._sets[kind, n] not in leading.parameter_sets))
        return True, tuple(self._sets[key] for key in missing)

    def _remember(self, unit: bytes) -> None:
        try:
            key = (unit[0] & 0x1F, h264.parameter_set_id(unit))
            if key[0] == h264.SPS:
                self._size = h264.picture_size(unit)
        except h264.BitstreamError:
            return
        self._sets[key] = unit
