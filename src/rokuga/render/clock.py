"""From a track's RTP times and arrivals to room time. Pure: no wall clock, and the same frames always give the same times.

Room time is monotonic nanoseconds at the recorder: a frame's RTP time plus the smallest transit (arrival minus RTP time) within
a sliding window, which reaches ``BEHIND_NS`` back and as far ahead as frames have been seen. The estimate is slewed, not stepped, and
follows clocks that drift. Where RTP time and arrival part for good (publisher restarted, timestamps rewritten, a pause
during which RTP time stood still) it is made anew, and where a media server switched simulcast layers, whose timestamps it makes fit
only roughly; room time never goes back, though.
"""

from collections import deque
from typing import Any, NamedTuple

BEHIND_NS = 10_000_000_000
AHEAD_NS = 3_000_000_000
"""A frame's time is settled only when the caller has gone this far beyond its arrival: the first frames are right too."""
BUCKET_NS = 1_000_000_000
SLEW = 0.01
"""Nanoseconds of correction per nanosecond: 40 ms of jitter at the start are corrected within 4 s, inaudibly."""
STEP_NS = 300_000_000
"""A transit that changes this much from one frame to the next may be a new RTP clock."""
PAUSE_NS = 1_000_000_000
"""So may one that follows a pause of this length."""
TOLERANCE_NS = 60_000_000
"""A transit that afterwards stays within this of the estimate is the old clock: jitter, or drift during the pause."""


class Settled(NamedTuple):
    """A frame's room time. ``restarted``: RTP time cannot be compared with that of the frame before."""

    room_ns: int
    offset_ns: int
    """what was added to the RTP time"""
    restarted: bool


class _Seen(NamedTuple):
    """A frame. ``transit`` is its arrival minus its RTP time."""

    span: int
    """ends where the RTP clock may have been replaced"""
    rtp_ns: int
    arrival_ns: int
    switched: bool
    transit: int


class TrackClock:
    """The clock of one track. ``see`` each frame in order of arrival in the journal, ``settle`` each in the same order, later.

    ``state`` holds what ``settle`` has learned and nothing of the frames only seen: a clock restored from it must be shown those again.
    """

    def __init__(self, rate: int, state: dict[str, Any] | None = None) -> None:
        self._rate = rate
        state = state or {}
        self._buckets: list[list[int]] = [list(b) for b in state.get("buckets", [])]
        # The least transit of all buckets; None: to be found anew.
        self._behind: int | None = None
        self._offset: int | None = state.get("offset")
        self._room: int | None = state.get("room")
        self._last: _Seen | None = None
        if state.get("last"):
            rtp_ns, arrival_ns = state["last"]
            self._last = _Seen(0, rtp_ns, arrival_ns, False, arrival_ns - rtp_ns)
        self._previous = self._last
        # Frames seen but not settled, and of those each whose transit is smaller than all that follow it in its span.
        self._pending: deque[_Seen] = deque()
        self._minima: deque[_Seen] = deque()
        self._span = self._settled_span = 0

    def state(self) -> dict[str, Any]:
        """Plain JSON, a dozen numbers."""
        return {
            "buckets": [list(b) for b in self._buckets],
            "offset": self._offset,
            "room": self._room,
            "last": [self._last.rtp_ns, self._last.arrival_ns] if self._last else None,
        }

    def see(self, rtp_time: int, arrival_ns: int, switched: bool = False) -> None:
        """A frame has been read from the journal. ``switched``: it is the first of another simulcast layer."""
        rtp_ns = rtp_time * 1_000_000_000 // self._rate
        transit = arrival_ns - rtp_ns
        if self._previous is not None:
            _, _, arrival_before, _, transit_before = self._previous
            if switched or not -STEP_NS <= transit - transit_before <= STEP_NS or arrival_ns - arrival_before > PAUSE_NS:
                self._span += 1
        span, minima = self._span, self._minima
        # As _Seen(...) does it, without the Python function in between.
        seen = self._previous = tuple.__new__(_Seen, (span, rtp_ns, arrival_ns, switched, transit))
        while minima and minima[-1].transit >= transit and minima[-1].span == span:
            minima.pop()
        minima.append(seen)
        self._pending.append(seen)

    def settle(self) -> Settled:
        """The room time of the oldest frame that was seen and is not settled."""
        return self.settle_next(1)[0]

    def settle_next(self, count: int) -> list[Settled]:
        """The room times of the oldest ``count`` such frames."""
        pending, minima, buckets = self._pending, self._minima, self._buckets
        offset, room_ns, last, behind = self._offset, self._room, self._last, self._behind
        made: list[Settled] = []
        for _ in range(count):
            seen = pending.popleft()
            span, rtp_ns, arrival_ns, switched, transit = seen
            least = minima[0]
            ahead = least.transit
            restarted = False
            if offset is None:
                offset = ahead
            elif span != self._settled_span and (switched or not self._comes_back(offset)):
                offset = ahead
                buckets.clear()
                behind = None
                restarted = not switched
            elif last is not None:
                if buckets and buckets[0][0] * BUCKET_NS < arrival_ns - BEHIND_NS:
                    buckets[:] = [bucket for bucket in buckets if bucket[0] * BUCKET_NS >= arrival_ns - BEHIND_NS]
                    behind = None
                if behind is None:
                    behind = min([lowest for _, lowest in buckets], default=ahead)
                off = (ahead if ahead < behind else behind) - offset
                if off:
                    limit = int(max(0, rtp_ns - last.rtp_ns) * SLEW)
                    offset += max(-limit, min(limit, off))
            self._settled_span = span
            number = arrival_ns // BUCKET_NS
            if not buckets or buckets[-1][0] < number:
                buckets.append([number, transit])
                behind = None
            elif transit < buckets[-1][1]:
                buckets[-1][1] = transit
                behind = None
            if least is seen:
                minima.popleft()
            last = seen
            room = rtp_ns + offset
            if room_ns is None or room > room_ns:
                room_ns = room
            # As Settled(...) does it, without the Python function in between.
            made.append(tuple.__new__(Settled, (room_ns, offset, restarted)))
        self._offset, self._room, self._last, self._behind = offset, room_ns, last, behind
        return made

    def _comes_back(self, offset: int) -> bool:
        """Whether the old clock goes on: at once, or after a stall, as far as anything that was seen tells.

        A sender or network that stalls makes frames late, and may begin new spans several times before it has caught up.
        """
        least: dict[int, int] = {}
        for seen in self._minima:
            least.setdefault(seen.span, seen.transit)
        late = self._minima[0].transit - offset
        if not 0 < late <= AHEAD_NS:
            return abs(late) <= TOLERANCE_NS
        return any(abs(transit - offset) <= TOLERANCE_NS for transit in least.values())
