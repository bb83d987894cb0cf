"""One m-line being received: packets → buffer → frames → journal, and the RTCP that keeps them coming."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiortc import RTCCertificate

from rokuga import clock
from rokuga.capture import rtcp
from rokuga.capture.av1 import Av1Depacketizer
from rokuga.capture.buffer import Event, Packet, ReceiveBuffer, Restarted
from rokuga.capture.datagrams import Datagrams
from rokuga.capture.depacketize import INCOMPLETE, AccessUnit, AudioDepacketizer, Depacketizer, Output
from rokuga.capture.h264 import H264Depacketizer
from rokuga.capture.keyframes import KeyframeAsker
from rokuga.capture.layers import Layers, Size, picture_size
from rokuga.capture.pace import Pace
from rokuga.capture.rtp import RtpPacket
from rokuga.capture.sdp import Codec, Media
from rokuga.capture.vp8 import Vp8Depacketizer, temporal_layer
from rokuga.capture.vp9 import Vp9Depacketizer
from rokuga.journal.records import KeyframeAsked, Loss, TrackClosed, TrackOpened
from rokuga.journal.writer import JournalWriter
from rokuga.room.protocol import HIGHEST, Layer, Stream

REPORT_NS = 5_000_000_000
"""between receiver reports (RFC 3550 §6.2)"""
EARLY_REPORTS, EARLY_REPORT_NS = 15, 1_000_000_000
"""The first come faster: how long Janus keeps what may be resent follows them slowly (see rtcp.CLAIMED_RTT_SECONDS)."""
LAYER_EARLY_NS = 100_000_000
"""The first packet of another simulcast layer may have come so much before we are told."""
LAYER_LATE_NS = 300_000_000
"""A layer begins with a keyframe; where none is seen within this time, it came too long before we were told."""
DOUBT_NS = 500_000_000
"""A hole this old has been asked for in vain more than twice. If it stays, the keyframe that ends the damage is on its way."""
OUR_CHOICE = ("end", "unsubscribed")
"""Causes of a track's end that have nothing to do with its publisher: a picture that is still coming in is not recorded, and not lost."""
NACKS = 256
"""so many in a datagram, which is 1036 bytes if no two of them are near each other"""
DEPACKETIZERS: dict[str, Callable[[], Depacketizer]] = {
    "h264": H264Depacketizer,
    "vp8": Vp8Depacketizer,
    "vp9": Vp9Depacketizer,
    "av1": Av1Depacketizer,
    "opus": AudioDepacketizer,
    "pcmu": AudioDepacketizer,
    "pcma": AudioDepacketizer,
    "g722": AudioDepacketizer,
}
"""codec → how frames are made of its packets; other codecs are not subscribed to"""


@dataclass(frozen=True)
class Setting:
    """What all receivers of a recording share; ``past`` adds up the counters of closed tracks.

    ``fps``: pictures a second that are shown of any video; 0 where every picture counts.
    """

    journal: JournalWriter
    certificate: RTCCertificate
    segment_seconds: float
    past: Counter[str]
    log: Any
    fps: int = 0
    datagrams: Datagrams = field(default_factory=Datagrams)


class Track:
    """Opens a journal track when made. ``tick`` moves what is in order into the journal and returns the RTCP to send.

    A source that begins anew (other sequence numbers and timestamps) closes the journal track and opens another.
    """

    def __init__(self, setting: Setting, stream: Stream, media: Media, codec: Codec, own_ssrc: int, log: Any) -> None:
        self.media = media
        self.codec = codec
        self.own_ssrc = own_ssrc
        self.frames = 0
        self._setting = setting
        self._journal = setting.journal
        self._stream = stream
        self._log = log
        self._buffer = ReceiveBuffer(codec.clock_rate)
        self._arrived: list[tuple[RtpPacket, int]] = []
        self._report: tuple[rtcp.SenderReport, int] | None = None
        self._reports = 0
        self._reported_ns = 0
        self._reported = (0, 0)
        self.layers = Layers() if stream.video is not None and stream.video.simulcast and media.kind == "video" else None
        # Janus leaves out temporal layers of VP8 alone.
        self._pace = Pace(setting.fps) if self.layers is not None and codec.name == "vp8" and setting.fps else None
        self._layer: int | None = None
        self._told: deque[int] = deque()
        """when we were told of each layer whose first frame has not been seen"""
        self._measured: tuple[Size, int] | None = None
        """the size of the last keyframe and when it came, while we may still be told that it is another layer's"""
        self._open()

    @property
    def number(self) -> int:
        """The journal's number of this track."""
        return self._number

    @property
    def wanted(self) -> Layer | None:
        """What is to be asked for of a simulcast camera; None of any other."""
        return None if self.layers is None else Layer(self.layers.wanted, self._pace.wanted if self._pace else HIGHEST)

    @property
    def last_arrival_ns(self) -> int:
        """When its last packet came, monotonic; 0: none yet."""
        return self._buffer.last_arrival_ns

    @property
    def repairing(self) -> bool:
        """Whether packets wait for one that is missing."""
        return self._buffer.held > 0

    @property
    def counters(self) -> dict[str, int]:
        """What the buffer counted, and frames."""
        c = self._buffer.counters
        return {"packets": c.received, "bytes": c.bytes, "lost": c.lost, "repaired": c.repaired, "frames": self.frames}

    def rtp(self, packet: RtpPacket, arrival_ns: int) -> None:
        """A packet of the media SSRC: the next ``tick`` takes it in."""
        self._arrived.append((packet, arrival_ns))

    def rtx(self, packet: RtpPacket, arrival_ns: int) -> None:
        """A packet of the retransmission SSRC. Raises MalformedPacket."""
        self._buffer.push_rtx(packet, arrival_ns)

    def sender_report(self, report: rtcp.SenderReport, arrival_ns: int) -> None:
        self._report = report, arrival_ns

    def layer(self, layer: int, now_ns: int) -> None:
        """The server passes on that simulcast layer, from the next keyframe on. The first one told is no switch; neither is one told
        again, as Janus does when it is asked for what it sends."""
        if layer == self._layer:
            return
        self._log.debug("simulcast layer", track=self._number, layer=layer)
        if self._layer is not None:
            self._told.append(now_ns)
        self._layer = layer

    def tick(self, now_ns: int, utc_ns: int) -> list[bytes]:
        """Journal what is in order; the RTCP datagrams that are due."""
        self._take_in()
        self._journal_events(self._buffer.poll(now_ns))
        if self._measured is not None:
            self._measure(now_ns)
        datagrams: list[bytes] = []
        if now_ns - self._reported_ns >= (REPORT_NS if self._reports >= EARLY_REPORTS else EARLY_REPORT_NS):
            self._reports += 1
            self._reported_ns = now_ns
            datagrams.append(self._receiver_report(now_ns, utc_ns))
        if self._buffer.missing:
            missing = self._buffer.nacks(now_ns)
            for start in range(0, len(missing), NACKS):
                datagrams.append(rtcp.nack(self.own_ssrc, self.media.ssrc, missing[start : start + NACKS]))
            if self._asker is not None and self._buffer.waits_ns(now_ns) > DOUBT_NS:
                self._asker.lost()
        if self._asker is not None:
            if self.layers is not None and self.layers.overdue(self._layer, now_ns):
                self._asker.layer()
            reason = self._asker.due(now_ns)
            if reason is not None:
                self._journal.append(KeyframeAsked(self._number, reason))
                datagrams.append(rtcp.pli(self.own_ssrc, self.media.ssrc))
        return datagrams

    def flush(self, cause: str) -> None:
        """Journal what is held, with its holes given up. ``cause``: why the track ends."""
        self._take_in()
        self._journal_events(self._buffer.flush())
        rest = self._depacketizer.flush()
        if cause in OUR_CHOICE:
            rest = [item for item in rest if isinstance(item, AccessUnit) or item.cause != INCOMPLETE]
        self._journal_output(rest)

    def close(self, cause: str) -> None:
        """Close the journal track."""
        self._journal.append(TrackClosed(self._number, cause))
        self._setting.past.update(self.counters)
        c = self._buffer.counters
        self._log.info("track closed", track=self._number, cause=cause, malformed=self._depacketizer.malformed, **self.counters)
        if c.late or c.duplicates or c.restarts:
            self._log.debug("odd packets", track=self._number, late=c.late, duplicates=c.duplicates, restarts=c.restarts)

    def _open(self) -> None:
        self._depacketizer = DEPACKETIZERS[self.codec.name]()
        self._asker = KeyframeAsker(self._setting.segment_seconds) if self.media.kind == "video" else None
        self._number = self._journal.new_track()
        self._journal.append(
            TrackOpened(
                track=self._number,
                user_id=self._stream.user_id,
                media_id=self._stream.media_id,
                kind="video" if self.media.kind == "video" else "audio",
                codec=self.codec.name,
                clock_rate=self.codec.clock_rate,
                channels=self.codec.channels,
                fmtp=self.codec.fmtp,
            )
        )
        self._log.info("track opened", track=self._number, kind=self.media.kind, codec=self.codec.name, mid=self.media.mid)

    def _take_in(self) -> None:
        arrived = self._arrived
        if not arrived:
            return
        self._arrived = []
        self._buffer.push_all(arrived)
        if self._pace is not None:
            for packet, arrival_ns in arrived:
                if packet.marker:
                    self._pace.saw(temporal_layer(packet.payload), arrival_ns)

    def _journal_events(self, events: list[Event]) -> None:
        output: Output = []
        for event in events:
            if isinstance(event, Packet):
                output += self._depacketizer.push(event)
            elif isinstance(event, Restarted):
                self._journal_output(output + self._depacketizer.flush())
                output = []
                self._journal.append(TrackClosed(self._number, "replaced"))
                self._open()
            else:
                output += self._depacketizer.lost(event)
        if output:
            self._journal_output(output)

    def _journal_output(self, output: Output) -> None:
        now, frames, asker = clock.monotonic_ns(), [], self._asker
        for item in output:
            if isinstance(item, AccessUnit):
                if self._told and self._switched(item):
                    item = item._replace(switched=True)
                frames.append(item)
                self.frames += 1
                if asker is not None:
                    asker.media(item.keyframe, item.first_arrival_ns)
                    if item.keyframe and self.layers is not None:
                        size = picture_size(self.codec.name, item.data)
                        self._measured = (size[::-1] if item.orientation & 1 else size, item.first_arrival_ns) if size else None
                continue
            if frames:
                self._journal.append_frames(self._number, frames, now)
                frames = []
            loss = Loss(self._number, item.first_sequence, item.last_sequence, item.rtp_time, item.cause, item.tries)
            self._journal.append(loss, now)
            if asker is not None:
                asker.lost()
        if frames:
            self._journal.append_frames(self._number, frames, now)

    def _measure(self, now_ns: int) -> None:
        if self.layers is None or self._measured is None or self._layer is None or self._told:
            return
        size, came_ns = self._measured
        if now_ns - came_ns >= LAYER_LATE_NS:
            self._measured = None
            self.layers.saw(self._layer, size)
            self._log.debug("simulcast size", track=self._number, layer=self._layer, size=size, wanted=self.layers.wanted)

    def _switched(self, item: AccessUnit) -> bool:
        """Whether this frame is the first of a layer that we were told of, or comes after one whose first was not seen in time."""
        since = item.first_arrival_ns - self._told[0]
        if not (item.keyframe and since >= -LAYER_EARLY_NS) and since < LAYER_LATE_NS:
            return False
        self._told.popleft()
        while self._told and item.first_arrival_ns - self._told[0] >= LAYER_LATE_NS:
            self._told.popleft()
        return self.frames > 0

    def _receiver_report(self, now_ns: int, utc_ns: int) -> bytes:
        expected, received = self._buffer.expected, self._buffer.counters.received
        new_expected, new_received = expected - self._reported[0], received - self._reported[1]
        self._reported = expected, received
        fraction = min(max(new_expected - new_received, 0) * 256 // new_expected, 255) if new_expected > 0 else 0
        if self._report is None:
            lsr, delay = rtcp.first_lsr(utc_ns), 0
        else:
            lsr, delay = rtcp.later_lsr(self._report[0]), rtcp.dlsr(now_ns - self._report[1])
        block = rtcp.ReportBlock(self.media.ssrc, fraction, expected - received, self._buffer.highest, lsr, delay)
        return rtcp.receiver_report(self.own_ssrc, [block])
