"""Carrying out a plan: its pictures and its sound into one MPEG-TS segment."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import structlog

from rokuga.render.audio import RATE
from rokuga.render.pictures import PictureMaker
from rokuga.render.plan import AudioPlan, MergedPlan, Plan, VideoPlan
from rokuga.render.sound import Payload, aac_frames
from rokuga.render.ts import Codec, ContinuousFile, TsMuxer

if TYPE_CHECKING:
    from rokuga.render.mix.make import MixMaker
    from rokuga.render.mix.plan import MixPlan

AAC_PER_PES = 4
"""At 48 kHz. 85 ms: fewer and the packets are mostly stuffing, more and PCR comes later than every 100 ms (ISO/IEC 13818-1 §2.7.2)."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a segment file holds. ``counters``: last continuity counter of each PID; sizes in bytes and pixels, 0 where there is none."""

    size: int
    sha256: str
    counters: dict[int, int]
    width: int = 0
    height: int = 0
    channels: int = 0
    sample_rate: int = 0


class _Packet(NamedTuple):
    codec: Codec
    data: bytes
    pts: int
    keyframe: bool


@dataclass(frozen=True, slots=True)
class _Streams:
    """What goes into a segment; None: that stream is not declared. Sizes in pixels, as far as they are known before."""

    pictures: Iterator[_Packet] | None
    sound: Iterator[_Packet] | None
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    sample_rate: int = 0


class Muxer:
    """Makes segments of plans. ``payload``: a frame's bytes, empty if the journal cannot be read there; ``images``: folder of a mix's."""

    def __init__(self, payload: Payload, images: Path) -> None:
        self._payload = payload
        self._images = images
        self._maker = PictureMaker(payload)
        self._mix: MixMaker | None = None
        self._log = structlog.get_logger(__name__)
        self._size = (0, 0)

    def write(self, plan: Plan, file: BinaryIO, counters: dict[int, int]) -> Written:
        """Raises OSError when the disk refuses."""
        streams = self._streams(plan)
        out = ContinuousFile(file, counters)
        self._size = streams.size
        declared: tuple[tuple[Codec, Iterator[_Packet] | None], ...] = (("h264", streams.pictures), ("aac", streams.sound))
        began = time.thread_time()
        with TsMuxer(out, [codec for codec, part in declared if part]) as muxer:
            for packet in merge(*(part for _, part in declared if part), key=lambda p: p.pts):
                muxer.mux(packet.codec, packet.data, packet.pts, packet.keyframe)
        out.finish()
        codec = transcoded_from(plan)
        if codec:
            self._log.info(
                "segment transcoded",
                user_id=plan.head.key.user_id,
                codec=codec,
                seconds=round((plan.head.end_pts - plan.head.pts) / 90_000, 3),
                cpu_seconds=round(time.thread_time() - began, 3),
            )
        return Written(out.size, out.sha256, out.counters, *self._size, streams.channels, streams.sample_rate)

    def _streams(self, plan: Plan) -> _Streams:
        if isinstance(plan, VideoPlan):
            return _Streams(self._pictures(plan), None, (plan.width, plan.height))
        if isinstance(plan, AudioPlan):
            return _Streams(None, self._sound(plan), channels=plan.channels, sample_rate=RATE)
        if isinstance(plan, MergedPlan):
            size = plan.video.width, plan.video.height
            return _Streams(self._pictures(plan.video), self._sound(plan.audio), size, plan.audio.channels, RATE)
        return self._mixed(plan)

    def _mixed(self, plan: "MixPlan") -> _Streams:
        if self._mix is None:
            from rokuga.render.mix.make import MixMaker  # brings numpy, which single-stream recordings do without

            self._mix = MixMaker(self._payload, self._images)
        video, audio = plan.video, plan.audio
        pictures = (_Packet("h264", *unit) for unit in self._mix.pictures(plan)) if video else None
        sound = _grouped(self._mix.sound(plan), audio.pts, audio.rate) if audio else None
        size = (video.width, video.height) if video else (0, 0)
        return _Streams(pictures, sound, size, audio.channels if audio else 0, audio.rate if audio else 0)

    def _pictures(self, plan: VideoPlan) -> Iterator[_Packet]:
        for number, picture in enumerate(self._maker.pictures(plan)):
            if number == 0:
                self._size = (picture.width, picture.height)
            yield _Packet("h264", picture.data, picture.pts, picture.keyframe)

    def _sound(self, plan: AudioPlan) -> Iterator[_Packet]:
        return _grouped(aac_frames(plan, self._payload), plan.pts, RATE)


def transcoded_from(plan: Plan) -> str:
    """The codec of pictures that were not passed on as they came; empty if there are none, and for a mix, of which that is known."""
    video = plan.video if isinstance(plan, MergedPlan) else plan
    codec = video.frames[0].codec if isinstance(video, VideoPlan) and video.frames else "h264"
    return "" if codec == "h264" else codec


def _grouped(frames: Sequence[bytes], pts: Sequence[int], rate: int) -> Iterator[_Packet]:
    """AAC frames, several to a packet."""
    begin, together = 0, AAC_PER_PES * rate // RATE
    while begin < len(frames):
        # The first goes alone: FFmpeg learns a frame's duration from it, and gives the next one the same time otherwise.
        end = begin + together if begin else 1
        yield _Packet("aac", b"".join(frames[begin:end]), pts[begin], True)
        begin = end
