"""A line: one playlist's fold. Journal records of its tracks in (of each kind one at a time), segment plans out.

All that a line decides depends on the order of the records and on the times in them, so it decides the same whether it follows a
recording or reads an old one. A line that is resumed is given a state and the records from a position on, and goes on alike: which
records make it decide depends on nothing but their types (see Fold).
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rokuga.journal.reader import Arrived, Position
from rokuga.journal.records import Kind, Record
from rokuga.render.clock import AHEAD_NS, Settled, TrackClock
from rokuga.render.plan import Head, LineKey, Plan, Settings, Timeline

MARGIN_NS = 3_000_000_000
"""Capture holds frames back for up to 2 s while it repairs losses: silence in the journal is older than it looks."""
PAST_NS = 60_000_000_000
"""A line without tracks for so long is remembered by its last segment alone."""
FIRST_CUT_SECONDS = 6.0
"""A playlist's first segment is cut early, so that it is in the store 15 s after Create."""

Peek = Callable[[Position, int], bytes]
"""The first bytes of the frame at a position; empty if the journal cannot be read there."""


@dataclass(slots=True)
class Track:
    """A journal track that feeds a line."""

    number: int
    kind: Kind
    codec: str
    rate: int
    clock: TrackClock

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "kind": self.kind, "codec": self.codec, "rate": self.rate, "clock": self.clock.state()}

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Track":
        return Track(data["number"], data["kind"], data["codec"], data["rate"], TrackClock(data["rate"], data["clock"]))


@dataclass(frozen=True, slots=True)
class _Opened:
    position: Position
    track: Track


@dataclass(frozen=True, slots=True)
class _Closed:
    position: Position
    track: int


@dataclass(frozen=True, slots=True)
class Noted:
    """A record that is no frame, and when it was appended (monotonic ns)."""

    position: Position
    at_ns: int
    record: Record


class Line(ABC):
    """Base of the lines: keeps frames until their time is settled, and what a later process needs to go on."""

    gap_ns = 0
    """the longest hole that a segment may have, for lines whose segments end at one"""
    many = False
    """whether it takes several tracks of a kind at a time"""

    def __init__(
        self, key: LineKey, timeline: Timeline, settings: Settings, peek: Peek, start: Position, state: dict[str, Any] | None = None
    ) -> None:
        self.key = key
        self.start = start
        """records before it are not this line's business any more"""
        self._timeline = timeline
        self._settings = settings
        self._peek = peek
        self._queue: deque[Arrived | _Opened | _Closed | Noted] = deque()
        self._events = 0
        self._resume: dict[str, Any] | None = None
        self._began = False
        state = state or {}
        self._tracks = {t.number: t for t in (Track.from_json(data) for data in state.get("tracks", []))}
        """those whose frames are settled now"""
        self._fed = dict(self._tracks)
        """those whose frames come from the journal now, which is further on"""
        self._part = int(state.get("part", 0))
        self._index = int(state.get("index", 0))
        self._last_begin_ms = int(state.get("begin_ms", 0))
        self._last_arrival = int(state.get("arrival", 0))
        self._restore(state)
        if self._is_open():
            self._resume = {"position": [start.file, start.offset], "state": state}

    @property
    def track_numbers(self) -> list[int]:
        """The journal tracks whose frames it takes now."""
        return list(self._fed)

    @property
    def decided(self) -> tuple[int, int]:
        """Its playlist's part, and how many segments of that it has decided on."""
        return self._part, self._index

    def is_past(self, now_ns: int) -> bool:
        """Nothing feeds it, and all that did is long decided."""
        return not (self._fed or self._tracks or self._queue or self._is_open()) and now_ns > self._last_arrival + PAST_NS

    def open(self, position: Position, number: int, kind: Kind, codec: str, rate: int) -> None:
        """A track begins to feed the line; one of its kind that still did is over, unless the line takes many."""
        if not self.many:
            for other in [t.number for t in self._fed.values() if t.kind == kind]:
                self.close(position, other)
        self._fed[number] = Track(number, kind, codec, rate, TrackClock(rate))
        self._queue.append(_Opened(position, self._fed[number]))
        self._events += 1

    def close(self, position: Position, number: int) -> None:
        """The track is over, if it feeds the line at all."""
        if self._fed.pop(number, None) is not None:
            self._queue.append(_Closed(position, number))
            self._events += 1

    def note(self, noted: Noted) -> None:  # noqa: B027 most lines need not know
        """Something happened in the room, to tracks or parameters. Only lines of more than one user want to know."""

    def arrived(self, frame: Arrived) -> None:
        """A frame; one of a track that does not feed the line (any more) is passed over."""
        track = self._fed.get(frame.track)
        if track is not None:
            track.clock.see(frame.rtp_time, frame.arrival_ns, frame.switched)
            self._queue.append(frame)

    def advance(self, now_ns: int, after: Position) -> Iterator[Plan]:
        """Decide what can be decided: ``now_ns`` is the append time of the last record read and ``after`` where the next one begins."""
        queue = self._queue
        while queue:
            item = queue[0]
            if isinstance(item, Arrived):
                # Not before those in front of it, which may have come later: a resumed line must not settle it any sooner.
                latest = item.arrival_ns
                if latest < self._last_arrival:
                    latest = self._last_arrival
                if latest + AHEAD_NS > now_ns and not self._hurries():
                    break
                queue.popleft()
                track = self._tracks[item.track]
                self._last_arrival = latest
                plans = self._frame(track, item, track.clock.settle())
                if plans:
                    yield from plans
            elif isinstance(item, Noted):
                queue.popleft()
                yield from self._noted(item)
            else:
                queue.popleft()
                self._events -= 1
                if isinstance(item, _Opened):
                    self._tracks[item.track.number] = item.track
                else:
                    del self._tracks[item.track]
                    if not self._tracks:
                        yield from self._end()
            if self._began:
                self._keep_resume(after)
        yield from self._passed(now_ns)
        self._keep_resume(after)

    def _hurries(self) -> bool:
        """Whether the frames in the queue are settled at once: their track is over, and nothing later will tell more of its clock."""
        return self._events > 0

    def _noted(self, noted: Noted) -> Iterator[Plan]:
        """What was given to ``note``, when all frames before it are settled."""
        return iter(())

    def _passed(self, now_ns: int) -> Iterator[Plan]:
        """Time has gone on, perhaps without a frame."""
        if self._is_open() and not self._queue and now_ns > self._last_arrival + self.gap_ns + MARGIN_NS:
            yield from self._end()

    def resume(self, after: Position) -> dict[str, Any]:
        """Plain JSON from which a new process goes on: the position of the first record needed, and the state there.

        The state's ``files`` are the journal files that it refers to, also before that position.
        """
        return self._resume if self._resume is not None else self._snapshot(after)

    def _keep_resume(self, after: Position) -> None:
        if self._began:
            # Here the state is smallest: the open segment holds one frame.
            self._began = False
            self._resume = self._snapshot(after)
        elif not self._is_open():
            self._resume = None

    def _snapshot(self, after: Position) -> dict[str, Any]:
        # A resumed line may not have come to its own beginning yet.
        position = self._queue[0].position if self._queue else max(after, self.start)
        state = {
            "tracks": [track.to_json() for track in self._tracks.values()],
            "part": self._part,
            "index": self._index,
            "begin_ms": self._last_begin_ms,
            "arrival": self._last_arrival,
            "files": sorted(self._files()),
            **self._save(),
        }
        return {"position": [position.file, position.offset], "state": state}

    def _head(self, pts: int, end_pts: int, discontinuity: bool) -> Head:
        # Names hold the begin in ms: two segments must never share one.
        begin_ms = max(self._timeline.utc_ms(pts), self._last_begin_ms + 1)
        part = max((pts - self._timeline.pts(self._timeline.epoch_ns)) // (self._settings.playlist_seconds * 90_000), self._part)
        if part > self._part:
            self._part, self._index = part, 0
        head = Head(self.key, self._part, self._index, pts, end_pts, begin_ms, discontinuity and self._index > 0)
        self._last_begin_ms = begin_ms
        self._index += 1
        return head

    def _wanted_seconds(self) -> float:
        wanted = self._settings.segment_seconds
        return min(FIRST_CUT_SECONDS, wanted) if (self._part, self._index) == (0, 0) else wanted

    @abstractmethod
    def _frame(self, track: Track, item: Arrived, settled: Settled) -> Iterable[Plan]: ...

    @abstractmethod
    def _end(self) -> Iterator[Plan]:
        """Nothing follows without a discontinuity: finish the open segment."""

    @abstractmethod
    def _is_open(self) -> bool: ...

    @abstractmethod
    def _files(self) -> set[int]:
        """The numbers of the journal files that its state refers to."""

    @abstractmethod
    def _save(self) -> dict[str, Any]: ...

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None: ...
