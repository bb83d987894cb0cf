"""The fold of an Opus playlist: packets become runs of sound, and runs are cut at AAC frame borders.

A run is sound whose RTP times can be compared, with holes of at most a second. Within it, AAC frame k is the samples from 1024 k on.
"""

from collections.abc import Iterator
from typing import Any

from rokuga.render.clock import Settled
from rokuga.render.line import Arrived, Line
from rokuga.render.plan import AudioPlan, Plan, Ref

RATE = 48_000
"""RTP clock of Opus (RFC 7587 §4.1) and sample rate of all that we write."""
BLOCK = 1024
"""samples of an AAC frame"""
BLOCK_90K = BLOCK * 90_000 // RATE
GAP_SAMPLES = RATE
PRE_BLOCKS = 4
"""AAC frames that the encoder is given before those kept, so that it is in stride (window shapes depend on the frames before)."""
POST_BLOCKS = 2
"""And after: a frame overlaps the next one, and the encoder looks one further ahead."""
PRE_SAMPLES = 4_800
"""Sound that the Opus decoder is given before that: RFC 7845 §4.6 asks for 80 ms until it has converged."""
FRAME_SAMPLES = (
    *(480, 960, 1920, 2880) * 3,
    *(480, 960) * 2,
    *(120, 240, 480, 960) * 4,
)
"""per TOC configuration, at 48 kHz (RFC 6716 §3.1, table 2)"""


def opus_samples(packet: bytes) -> int:
    """How many samples at 48 kHz an Opus packet holds, from its first two bytes (RFC 6716 §3.1); 0 if it is none."""
    if not packet:
        return 0
    code = packet[0] & 3
    if code == 3 and len(packet) < 2:
        return 0
    frames = (1, 2, 2, packet[1] & 0x3F if code == 3 else 0)[code]
    samples = frames * FRAME_SAMPLES[packet[0] >> 3]
    return samples if samples <= 5760 else 0


class AudioLine(Line):
    """See the module. Units: RTP samples at 48 kHz, PTS at 90 kHz."""

    def _restore(self, state: dict[str, Any]) -> None:
        self._packets = [Ref.from_json(p) for p in state.get("packets", [])]
        self._origin = int(state.get("origin", 0))
        self._first = int(state.get("first", 0))
        self._covered = int(state.get("covered", 0))
        self._half_ns = int(state.get("half", 0))
        self._last_end = int(state.get("end", -1))
        self._discontinuity = bool(state.get("discontinuity", False))

    def _save(self) -> dict[str, Any]:
        return {
            "packets": [p.to_json() for p in self._packets],
            "origin": self._origin,
            "first": self._first,
            "covered": self._covered,
            "half": self._half_ns,
            "end": self._last_end,
            "discontinuity": self._discontinuity,
        }

    def _is_open(self) -> bool:
        return bool(self._packets)

    def _gap_ns(self) -> int:
        return GAP_SAMPLES * 1_000_000_000 // RATE

    def _frame(self, item: Arrived, settled: Settled) -> Iterator[Plan]:
        samples = opus_samples(self._peek(item.position, min(item.size, 2)))
        if not samples:
            return
        if self._packets:
            step = item.rtp_time - self._covered
            if settled.restarted or abs(step) > GAP_SAMPLES:
                yield from self._end()
            elif step < 0:
                return
        if not self._packets:
            self._begin(item, settled, samples)
        # An Opus packet leaves when its sound is over, but is stamped with its beginning: half way between is least wrong for live
        # and for pre-encoded publishers.
        self._packets.append(Ref(item.position, item.size, item.rtp_time, samples=samples, offset_ns=settled.offset_ns - self._half_ns))
        self._covered = item.rtp_time + samples
        while True:
            border = max(self._first, 0) + int(self._wanted_seconds() * RATE) // BLOCK
            if self._covered < self._origin + BLOCK * (border + POST_BLOCKS):
                return
            yield self._cut(border, True)
            self._first = border
            needed = self._origin + BLOCK * (border - PRE_BLOCKS) - PRE_SAMPLES
            self._packets = [p for p in self._packets if p.time + p.samples > needed]
            self._began = True

    def _end(self) -> Iterator[Plan]:
        if not self._packets:
            return
        border = -((self._origin - self._covered) // BLOCK)
        if border > self._first:
            yield self._cut(border, False)
            self._discontinuity = True
        self._packets = []

    def _begin(self, item: Arrived, settled: Settled, samples: int) -> None:
        self._half_ns = samples * 500_000_000 // RATE
        pts = self._timeline.pts(item.rtp_time * 1_000_000_000 // RATE + settled.offset_ns - self._half_ns)
        overlap = max(0, self._last_end - pts)
        self._origin = item.rtp_time - (-overlap * RATE // 90_000)
        # The encoder's priming frame makes the run's first frame decode whole; it must not reach into the run before.
        self._first = -1 if pts - BLOCK_90K >= self._last_end else 0
        self._began = True

    def _cut(self, border: int, contiguous: bool) -> AudioPlan:
        times = self._times(self._first, border + 1)
        end_pts = times[-1] if contiguous else times[-2] + BLOCK_90K
        self._last_end = end_pts
        low = self._origin + BLOCK * (self._first - PRE_BLOCKS) - PRE_SAMPLES
        high = self._origin + BLOCK * (border + POST_BLOCKS)
        packets = tuple(p for p in self._packets if p.time + p.samples > low and p.time < high)
        head = self._head(times[0], end_pts, self._discontinuity)
        self._discontinuity = False
        return AudioPlan(head, self._origin, self._first, tuple(times[:-1]), packets)

    def _times(self, first: int, end: int) -> list[int]:
        """PTS of each frame's first sample, strictly rising."""
        times: list[int] = []
        at = 0
        for block in range(first, end):
            sample = self._origin + BLOCK * block
            while at + 1 < len(self._packets) and self._packets[at + 1].time <= sample:
                at += 1
            pts = self._timeline.pts(sample * 1_000_000_000 // RATE + self._packets[at].offset_ns)
            times.append(pts if not times else max(pts, times[-1] + 1))
        return times
