"""The fold of an audio playlist: packets become runs of sound, and runs are cut at AAC frame borders.

A run is sound whose RTP times can be compared, with holes of at most a second. Within it, AAC frame k is the samples from 1024 k on.
"""

from collections.abc import Iterator
from typing import Any

from rokuga.journal.reader import Arrived
from rokuga.render.clock import Settled
from rokuga.render.line import Line, Track
from rokuga.render.plan import AudioPlan, Head, Plan, Ref, Timeline

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
OPUS_STEREO = 0x04
"""of the TOC byte"""
SILENT_BYTES = 5
"""An Opus packet of 20 ms can hold nothing that is heard in so few: a muted microphone's are so, and those of DTX."""
DTX_BYTES = 2
"""A packet of at most this many says that the publisher falls silent, and sends nothing until it says more (RFC 6716 §2.1.9)."""
CODECS = ("opus", "pcmu", "pcma", "g722")


def opus_samples(packet: bytes) -> int:
    """How many samples at 48 kHz an Opus packet holds, from its first two bytes (RFC 6716 §3.1); 0 if it is none."""
    if not packet:
        return 0
    code = packet[0] & 3
    if code != 3:
        return FRAME_SAMPLES[packet[0] >> 3] * (2 if code else 1)
    if len(packet) < 2:
        return 0
    samples = (packet[1] & 0x3F) * FRAME_SAMPLES[packet[0] >> 3]
    return samples if samples <= 5760 else 0


def packet_samples(codec: str, item: Arrived) -> int:
    """How much sound a packet holds, in samples at 48 kHz; 0 if it is none."""
    if codec == "opus":
        return opus_samples(item.head)
    # G.711: a byte a sample; G.722: a byte for two samples at 16 kHz, but RTP time runs at 8 kHz (RFC 3551 §4.5.2).
    return min(item.size * (RATE // 8000), GAP_SAMPLES)


def announces_pause(packet: Ref) -> bool:
    """It is to be known with what follows the pause, which may be background noise: see ``sound.silences``."""
    return packet.codec == "opus" and packet.size <= DTX_BYTES


class Sound:
    """The packets of an open run that are still needed, and how far AAC frames have been planned. Times: samples at 48 kHz."""

    def __init__(self, timeline: Timeline, state: dict[str, Any]) -> None:
        self._timeline = timeline
        self.packets = [Ref.load(p) for p in state.get("packets", [])]
        self.origin = int(state.get("origin", 0))
        self.first = int(state.get("first", 0))
        """the next AAC frame that is not planned"""
        self.covered = int(state.get("covered", 0))
        self.offset_ns = int(state.get("offset", 0))
        """room time minus sample time, where no packet tells"""
        self.stereo = bool(state.get("stereo", False))
        """Players dislike a playlist that changes its channels: mono up to the first packet in stereo, stereo from there on."""
        self.planned_channels = int(state.get("channels", 0))

    def save(self) -> dict[str, Any]:
        return {
            "packets": [*self.packets],
            "origin": self.origin,
            "first": self.first,
            "covered": self.covered,
            "offset": self.offset_ns,
            "stereo": self.stereo,
            "channels": self.planned_channels,
        }

    def samples(self, track: Track, item: Arrived) -> int:
        """How much sound a frame holds; 0 if it is none."""
        samples = packet_samples(track.codec, item)
        if track.codec == "opus" and samples and item.size > SILENT_BYTES and item.head[0] & OPUS_STEREO:
            self.stereo = True
        return samples

    def begin(self, origin: int, first: int, offset_ns: int) -> None:
        """A run begins: frame 0's sound at ``origin``; ``first`` is -1 if the encoder's priming frame is wanted."""
        self.packets = []
        self.origin = self.covered = origin
        self.first = first
        self.offset_ns = offset_ns

    def add(self, packet: Ref) -> None:
        self.packets.append(packet)
        self.covered = packet.time + packet.samples

    def times(self, first: int, end: int) -> list[int]:
        """PTS of frames ``first`` to ``end`` - 1: when their first samples sound. Strictly rising."""
        times: list[int] = []
        at = -1
        offset_ns = self.packets[0].offset_ns if self.packets and self.first <= 0 else self.offset_ns
        for block in range(first, end):
            sample = self.origin + BLOCK * block
            while at + 1 < len(self.packets) and self.packets[at + 1].time <= sample:
                at += 1
                offset_ns = self.packets[at].offset_ns
            pts = self._timeline.pts(sample * 1_000_000_000 // RATE + offset_ns)
            times.append(pts if not times else max(pts, times[-1] + 1))
        return times

    def plan(self, head: Head, pts: list[int]) -> AudioPlan:
        """The frames from the first one on whose PTS are given."""
        border = self.first + len(pts)
        low = self._needed(self.first)
        high = self.origin + BLOCK * (border + POST_BLOCKS)
        inside = [i for i, p in enumerate(self.packets) if p.time + p.samples > low and p.time < high]
        packets = tuple(self.packets[self._from_pause(inside[0]) : inside[-1] + 1]) if inside else ()
        self.planned_channels = self.channels
        plan = AudioPlan(head, self.origin, self.first, tuple(pts), packets, self.channels)
        self.first = border
        needed = self._needed(border)
        past = sum(p.time + p.samples <= needed for p in self.packets)
        for _ in range(self._from_pause(past)):
            self.offset_ns = self.packets.pop(0).offset_ns
        return plan

    @property
    def channels(self) -> int:
        return 2 if self.stereo else 1

    def _from_pause(self, first: int) -> int:
        """The packet before the ``first`` too, if that announces a pause."""
        return first - 1 if first and announces_pause(self.packets[first - 1]) else first

    def _needed(self, block: int) -> int:
        """Sound up to here is not needed for the frames from ``block`` on."""
        return self.origin + BLOCK * (block - PRE_BLOCKS) - PRE_SAMPLES


class AudioLine(Line):
    """See the module. Units: samples at 48 kHz, PTS at 90 kHz."""

    gap_ns = GAP_SAMPLES * 1_000_000_000 // RATE

    def _restore(self, state: dict[str, Any]) -> None:
        self._sound = Sound(self._timeline, state)
        self._half_ns = int(state.get("half", 0))
        self._last_end = int(state.get("end", -1))
        self._discontinuity = bool(state.get("discontinuity", False))

    def _save(self) -> dict[str, Any]:
        return {**self._sound.save(), "half": self._half_ns, "end": self._last_end, "discontinuity": self._discontinuity}

    def _is_open(self) -> bool:
        return bool(self._sound.packets)

    def _files(self) -> set[int]:
        return {ref.position.file for ref in self._sound.packets}

    def _frame(self, track: Track, item: Arrived, settled: Settled) -> Iterator[Plan]:
        sound = self._sound
        samples = sound.samples(track, item)
        if not samples:
            return
        time = item.rtp_time * RATE // track.rate
        if sound.packets:
            step = time - sound.covered
            if settled.restarted or abs(step) > GAP_SAMPLES:
                yield from self._end()
            elif step < 0:
                return
        if not sound.packets:
            self._begin(time, settled, samples)
        # A packet leaves when its sound is over, but is stamped with its beginning: half way between is least wrong for live
        # and for pre-encoded publishers.
        offset_ns = settled.offset_ns - self._half_ns
        sound.add(Ref(item.position, item.size, time, samples=samples, offset_ns=offset_ns, codec=track.codec))
        while True:
            border = max(sound.first, 0) + int(self._wanted_seconds() * RATE) // BLOCK
            if sound.covered < sound.origin + BLOCK * (border + POST_BLOCKS):
                return
            yield self._cut(border, True)
            self._began = True

    def _end(self) -> Iterator[Plan]:
        sound = self._sound
        if not sound.packets:
            return
        border = -((sound.origin - sound.covered) // BLOCK)
        if border > sound.first:
            yield self._cut(border, False)
            self._discontinuity = True
        sound.packets = []

    def _begin(self, time: int, settled: Settled, samples: int) -> None:
        self._half_ns = samples * 500_000_000 // RATE
        offset_ns = settled.offset_ns - self._half_ns
        pts = self._timeline.pts(time * 1_000_000_000 // RATE + offset_ns)
        overlap = max(0, self._last_end - pts)
        # The encoder's priming frame makes the run's first frame decode whole; it must not reach into the run before.
        self._sound.begin(time - (-overlap * RATE // 90_000), -1 if pts - BLOCK_90K >= self._last_end else 0, offset_ns)
        self._began = True

    def _cut(self, border: int, contiguous: bool) -> AudioPlan:
        sound = self._sound
        times = sound.times(sound.first, border + 1)
        self._last_end = times[-1] if contiguous else times[-2] + BLOCK_90K
        changed = sound.planned_channels not in (0, sound.channels)
        head = self._head(times[0], self._last_end, self._discontinuity or changed)
        self._discontinuity = False
        return sound.plan(head, times[:-1])
