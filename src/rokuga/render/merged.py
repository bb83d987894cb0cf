"""The fold of a playlist with sound and picture in one file (AvMerge 1).

A session lasts while either is there. Its sound is continuous from the first to the last segment, with silence where there is none:
players stall for ever on a hole. Pictures may pause; a segment that begins during a pause begins with one that is made up (FillType),
and the camera's return begins a segment. Both streams are declared in every segment.

Decisions are made ``WAIT_NS`` behind the journal's end: everything up to there has come, of both tracks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from rokuga.journal.reader import Arrived
from rokuga.render.audio import BLOCK_90K, GAP_SAMPLES, POST_BLOCKS, RATE, Sound
from rokuga.render.clock import AHEAD_NS, Settled
from rokuga.render.line import Line, Track
from rokuga.render.look import Look
from rokuga.render.plan import Fill, MergedPlan, Plan, Ref, VideoPlan
from rokuga.render.video import EARLY_SECONDS, GUESSED_FRAME_90K, LONGEST_90K, TOGETHER_90K

WAIT_NS = AHEAD_NS + 2_200_000_000
"""Times are settled so late, and capture holds frames back up to 2 s."""
STEP_90K = 9_000
"""How often is decided."""
STOPPED_90K = 225_000
"""Video that pauses for 2.5 s has stopped. A screen share that stands still sends a picture a second."""
END_90K = 5 * 90_000
"""A session in which nothing comes for so long is over."""
MOST_CHAIN = 2_000
"""Frames from a keyframe on that are kept for a still picture; with more, it is an earlier one."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A video frame of the open segment or behind it. ``turn``: it has to do with no frame before, and begins a segment."""

    ref: Ref
    parameter_sets: tuple[bytes, ...]
    size: tuple[int, int]
    turn: bool

    def to_json(self) -> list[Any]:
        return [self.ref, [unit.hex() for unit in self.parameter_sets], list(self.size), self.turn]

    @staticmethod
    def from_json(data: list[Any]) -> "Shot":
        return Shot(Ref.load(data[0]), tuple(bytes.fromhex(unit) for unit in data[1]), (data[2][0], data[2][1]), data[3])


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment that is decided on: its frames, and where it ends."""

    shots: list[Shot]
    end_pts: int
    stopped: bool
    """video pauses there: the next segment has no frames up to the next keyframe"""
    last: bool = False
    """the session ends there"""


class MergedLine(Line):
    """See the module. Units: PTS and durations in 90 kHz, sound in samples at 48 kHz from the session's beginning on."""

    def _restore(self, state: dict[str, Any]) -> None:
        self._sound = Sound(self._timeline, state.get("sound", {}))
        self._look = Look(self._peek, state.get("look", {}))
        self._shots = [Shot.from_json(s) for s in state.get("shots", [])]
        self._chain = [Shot.from_json(s) for s in state.get("chain", [])]
        """what went out last, from a keyframe on"""
        self._begin_pts: int | None = state.get("open")
        self._stopped = bool(state.get("stopped", False))
        """the open segment begins during a pause"""
        self._voice = int(state.get("voice", 0))
        self._shift = int(state.get("shift", 0))
        self._half_ns = int(state.get("half", 0))
        self._camera = int(state.get("camera", 0))
        self._last_pts = int(state.get("pts", -1))
        self._last_end = int(state.get("end", -1))
        self._discontinuity = bool(state.get("discontinuity", False))
        self._decided_pts = int(state.get("decided", 0))

    def _save(self) -> dict[str, Any]:
        return {
            "sound": self._sound.save(),
            "look": self._look.save(),
            "shots": [s.to_json() for s in self._shots],
            "chain": [s.to_json() for s in self._chain],
            "open": self._begin_pts,
            "stopped": self._stopped,
            "voice": self._voice,
            "shift": self._shift,
            "half": self._half_ns,
            "camera": self._camera,
            "pts": self._last_pts,
            "end": self._last_end,
            "discontinuity": self._discontinuity,
            "decided": self._decided_pts,
        }

    def _is_open(self) -> bool:
        return self._begin_pts is not None

    def _files(self) -> set[int]:
        return {ref.position.file for ref in (*self._sound.packets, *(shot.ref for shot in (*self._chain, *self._shots)))}

    def _frame(self, track: Track, item: Arrived, settled: Settled) -> Iterable[Plan]:
        if track.kind == "audio":
            self._hear(track, item, settled)
        else:
            self._see(track, item, settled)
        return ()

    def _hear(self, track: Track, item: Arrived, settled: Settled) -> None:
        sound = self._sound
        samples = sound.samples(track, item)
        if not samples:
            return
        rtp = item.rtp_time * RATE // track.rate
        if not self._is_open():
            self._half_ns = samples * 500_000_000 // RATE
            self._open(settled.room_ns - self._half_ns)
            self._voice = 0
        time = rtp + self._shift
        if self._voice != track.number or settled.restarted or abs(time - sound.covered) > GAP_SAMPLES:
            # RTP time cannot be compared with that of the sound before: room time can.
            self._half_ns = samples * 500_000_000 // RATE
            known = sound.packets[-1].offset_ns if sound.packets else sound.offset_ns
            time = max((settled.room_ns - self._half_ns - known) * RATE // 1_000_000_000, sound.covered)
            self._shift = time - rtp
            self._voice = track.number
        elif time < sound.covered:
            return
        offset_ns = settled.offset_ns - self._half_ns - self._shift * 1_000_000_000 // RATE
        sound.add(Ref(item.position, item.size, time, samples=samples, offset_ns=offset_ns, codec=track.codec))

    def _see(self, track: Track, item: Arrived, settled: Settled) -> None:
        if item.switched and item.keyframe and len(self._shots) > 1 and self._timeline.pts(settled.room_ns) - self._last_pts < TOGETHER_90K:
            del self._shots[-1]
            self._last_pts = self._shots[-1].ref.time
        key, missing = self._look.at(item, track.codec)
        if not key and (track.number != self._camera or not self._is_open()):
            return
        if not self._is_open():
            self._open(settled.room_ns)
        turn = track.number != self._camera
        assert self._begin_pts is not None
        # The session may have begun with sound that came a little later and was in order sooner.
        pts = max(self._timeline.pts(settled.room_ns), self._last_pts + 1, self._begin_pts)
        if turn:
            self._camera = track.number
        ref = Ref(item.position, item.size, pts, keyframe=key, codec=track.codec, orientation=item.orientation)
        self._shots.append(Shot(ref, missing, self._look.size, turn))
        self._last_pts = pts

    def _open(self, room_ns: int) -> None:
        begin = max(self._timeline.pts(room_ns), self._last_end)
        self._begin_pts = begin
        self._stopped = False
        self._camera = 0
        self._chain = []
        late_ns = (begin - self._timeline.pts(room_ns)) * 100_000 // 9
        self._sound.begin(0, -1 if begin - BLOCK_90K >= self._last_end else 0, room_ns + late_ns)
        self._began = True

    def _passed(self, now_ns: int) -> Iterator[Plan]:
        horizon = self._timeline.pts(now_ns - WAIT_NS) // STEP_90K * STEP_90K
        if self._is_open() and horizon > self._decided_pts:
            self._decided_pts = horizon
            yield from self._decide(horizon)

    def _end(self) -> Iterator[Plan]:
        # Both tracks are over.
        yield from self._decide(inf)

    def _decide(self, horizon: float) -> Iterator[Plan]:
        """All segments that end before the horizon."""
        while self._begin_pts is not None:
            segment = self._segment(self._begin_pts, horizon)
            if segment is None:
                return
            yield self._plan(self._begin_pts, segment)
            self._shots = [s for s in self._shots if s.ref.time >= segment.end_pts]
            if not segment.stopped and self._shots and self._shots[0].ref.keyframe:
                self._chain = []
            self._begin_pts = segment.end_pts
            self._stopped = segment.stopped
            self._began = True
            if segment.last:
                self._begin_pts = None
                self._shots = []
                self._discontinuity = True

    def _segment(self, begin: int, horizon: float) -> _Segment | None:
        """The segment that begins there, if it ends before the horizon."""
        # The sound that the encoder wants to know beyond an end must have come, too.
        horizon -= (POST_BLOCKS + 1) * BLOCK_90K
        due = begin + int(self._wanted_seconds() * 90_000)
        early = due - int(EARLY_SECONDS * 90_000)
        shots: list[Shot] = []
        last, stopped = begin, self._stopped
        for shot in self._shots:
            pts, key = shot.ref.time, shot.ref.keyframe
            if pts >= horizon:
                break
            pause = max(due, last + STOPPED_90K)
            if pause < pts:
                return _Segment(shots, pause, True)
            stopped = stopped or (self._settings.black and pts - last > STOPPED_90K)
            if key and pts > begin and (stopped or (shot.turn and shots) or pts >= early):
                return _Segment(shots, pts, False)
            if pts - begin >= LONGEST_90K:
                return _Segment(shots, pts, stopped or self._is_out_of_reach(shots))
            if not stopped:
                shots.append(shot)
                last = pts
        pause = max(due, last + STOPPED_90K)
        heard = self._heard()
        if pause < min(horizon, heard):
            return _Segment(shots, pause, True)
        end = max(heard, last + GUESSED_FRAME_90K)
        return _Segment(shots, end, False, last=True) if horizon > end + END_90K else None

    def _is_out_of_reach(self, shots: list[Shot]) -> bool:
        """Whether what follows cannot be decoded any more without a keyframe. H.264 is not decoded here."""
        return bool(shots) and shots[0].ref.codec != "h264" and len(self._chain) + len(shots) > MOST_CHAIN

    def _heard(self) -> int:
        """Up to when there is sound."""
        sound = self._sound
        offset_ns = sound.packets[-1].offset_ns if sound.packets else sound.offset_ns
        return self._timeline.pts(sound.covered * 1_000_000_000 // RATE + offset_ns)

    def _plan(self, begin: int, segment: _Segment) -> MergedPlan:
        sound, shots, end = self._sound, segment.shots, segment.end_pts
        times = self._blocks(end, segment.last)
        changed = sound.planned_channels not in (0, sound.channels)
        head = self._head(begin, end, self._discontinuity or changed)
        self._discontinuity = False
        self._last_end = max(end, times[-1] + BLOCK_90K) if segment.last else end
        before = () if not shots or shots[0].ref.keyframe or shots[0].ref.codec == "h264" else tuple(s.ref for s in self._chain)
        if shots:
            chain = [] if shots[0].turn else self._chain
            index = max((i for i, s in enumerate(shots) if s.ref.keyframe), default=-1)
            self._chain = (shots[index:] if index >= 0 else chain + shots)[:MOST_CHAIN]
        fills: tuple[Fill, ...] = ()
        if not shots:
            fills = (self._fill(begin, end, self._settings.black),)
        elif self._settings.black and end - shots[-1].ref.time > STOPPED_90K:
            fills = (self._fill(shots[-1].ref.time + STOPPED_90K, end, True),)
        first = shots[0] if shots else None
        video = VideoPlan(
            head,
            tuple(s.ref for s in shots),
            first.parameter_sets if first else (),
            *(first.size if first else (0, 0)),
            before=before,
            fills=fills,
        )
        return MergedPlan(head, video, sound.plan(head, times))

    def _fill(self, pts: int, end_pts: int, black: bool) -> Fill:
        chain = self._chain[:1] if black else self._chain
        return Fill(pts, end_pts, black, tuple(s.ref for s in chain), chain[0].parameter_sets if chain else ())

    def _blocks(self, end_pts: int, last: bool) -> list[int]:
        """PTS of the AAC frames up to an end: of those that begin before it, or (more follow) that end before it."""
        sound = self._sound
        count = 64
        while True:
            times = sound.times(sound.first, sound.first + count)
            if times[-1] > end_pts:
                break
            count *= 2
        begun = sum(t < end_pts for t in times)
        return times[: max(begun if last else begun - 1, 1)]
