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
        # RTP ns and arrival of the last frame that was settled.
        self._last: tuple[int, int] | None = tuple(state["last"]) if state.get("last") else None
        # Frames seen but not settled: (span, rtp ns, arrival, switched). A span ends where the RTP clock may have been replaced.
        self._pending: deque[tuple[int, int, int, bool]] = deque()
        # Of those, (span, number, transit) of each that is smaller than all that follow it in its span.
        self._minima: deque[tuple[int, int, int]] = deque()
        self._span = self._settled_span = 0
        self._seen = self._settled = 0
        # Transit and arrival of the last frame that was seen.
        self._previous = (self._last[1] - self._last[0], self._last[1]) if self._last else None

    def state(self) -> dict[str, Any]:
        """Plain JSON, a dozen numbers."""
        return {
            "buckets": [list(b) for b in self._buckets],
            "offset": self._offset,
            "room": self._room,
            "last": list(self._last) if self._last else None,
        }

    def see(self, rtp_time: int, arrival_ns: int, switched: bool = False) -> None:
        """A frame has been read from the journal. ``switched``: it is the first of another simulcast layer."""
        rtp_ns = rtp_time * 1_000_000_000 // self._rate
        transit = arrival_ns - rtp_ns
        if self._previous is not None:
            transit_before, arrival_before = self._previous
            if switched or not -STEP_NS <= transit - transit_before <= STEP_NS or arrival_ns - arrival_before > PAUSE_NS:
                self._span += 1
        self._previous = (transit, arrival_ns)
        span, minima = self._span, self._minima
        while minima and minima[-1][2] >= transit and minima[-1][0] == span:
            minima.pop()
        minima.append((span, self._seen, transit))
        self._pending.append((span, rtp_ns, arrival_ns, switched))
        self._seen += 1

    def settle(self) -> Settled:
        """The room time of the oldest frame that was seen and is not settled."""
        span, rtp_ns, arrival_ns, switched = self._pending.popleft()
        _, number, ahead = self._minima[0]
        offset = self._offset
        restarted = False
        if offset is None:
            offset = ahead
        elif span != self._settled_span and (switched or not self._comes_back(offset)):
            offset = ahead
            self._buckets.clear()
            self._behind = None
            restarted = not switched
        elif self._last is not None:
            behind = self._least_behind(arrival_ns, ahead)
            off = (ahead if ahead < behind else behind) - offset
            if off:
                limit = int(max(0, rtp_ns - self._last[0]) * SLEW)
                offset += max(-limit, min(limit, off))
        self._offset = offset
        self._settled_span = span
        self._remember(arrival_ns, arrival_ns - rtp_ns)
        if number == self._settled:
            self._minima.popleft()
        self._settled += 1
        self._last = (rtp_ns, arrival_ns)
        room = rtp_ns + offset
        if self._room is not None and room < self._room:
            room = self._room
        self._room = room
        # As Settled(...) does it, without the Python function in between.
        return tuple.__new__(Settled, (room, offset, restarted))

    def _comes_back(self, offset: int) -> bool:
        """Whether the old clock goes on: at once, or after a stall, as far as anything that was seen tells.

        A sender or network that stalls makes frames late, and may begin new spans several times before it has caught up.
        """
        least: dict[int, int] = {}
        for span, _, transit in self._minima:
            least.setdefault(span, transit)
        late = self._minima[0][2] - offset
        if not 0 < late <= AHEAD_NS:
            return abs(late) <= TOLERANCE_NS
        return any(abs(transit - offset) <= TOLERANCE_NS for transit in least.values())

    def _least_behind(self, arrival_ns: int, otherwise: int) -> int:
        """The least transit within ``BEHIND_NS``; buckets that are older are forgotten."""
        while self._buckets and self._buckets[0][0] * BUCKET_NS < arrival_ns - BEHIND_NS:
            self._buckets.pop(0)
            self._behind = None
        if self._behind is None:
            self._behind = min((transit for _, transit in self._buckets), default=otherwise)
        return self._behind

    def _remember(self, arrival_ns: int, transit: int) -> None:
        number = arrival_ns // BUCKET_NS
        if not self._buckets or self._buckets[-1][0] < number:
            self._buckets.append([number, transit])
            self._behind = None
        elif transit < self._buckets[-1][1]:
            self._buckets[-1][1] = transit
            self._behind = None
