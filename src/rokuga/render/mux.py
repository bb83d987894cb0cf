"""Carrying out a plan: its pictures and its sound into one MPEG-TS segment."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import BinaryIO, NamedTuple

import structlog

from rokuga.render.audio import RATE
from rokuga.render.pictures import PictureMaker
from rokuga.render.plan import AudioPlan, MergedPlan, Plan, VideoPlan
from rokuga.render.sound import Payload, aac_frames
from rokuga.render.ts import Codec, ContinuousFile, TsMuxer

AAC_PER_PES = 4
"""85 ms: fewer and the packets are mostly stuffing, more and PCR comes later than every 100 ms (ISO/IEC 13818-1 §2.7.2)."""


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


class Muxer:
    """Makes segments of plans. ``payload``: a frame's bytes, empty if the journal cannot be read there."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._maker = PictureMaker(payload)
        self._log = structlog.get_logger(__name__)
        self._size = (0, 0)

    def write(self, plan: Plan, file: BinaryIO, counters: dict[int, int]) -> Written:
        """Raises OSError when the disk refuses."""
        video = plan.video if isinstance(plan, MergedPlan) else plan if isinstance(plan, VideoPlan) else None
        audio = plan.audio if isinstance(plan, MergedPlan) else plan if isinstance(plan, AudioPlan) else None
        out = ContinuousFile(file, counters)
        self._size = (video.width, video.height) if video else (0, 0)
        declared: tuple[tuple[Codec, object], ...] = (("h264", video), ("aac", audio))
        codecs = [codec for codec, part in declared if part]
        began = time.thread_time()
        with TsMuxer(out, codecs) as muxer:
            parts = [*([self._pictures(video)] if video else []), *([self._sound(audio)] if audio else [])]
            for packet in merge(*parts, key=lambda p: p.pts):
                muxer.mux(packet.codec, packet.data, packet.pts, packet.keyframe)
        out.finish()
        if video and video.frames and video.frames[0].codec != "h264":
            self._log.info(
                "segment transcoded",
                user_id=plan.head.key.user_id,
                codec=video.frames[0].codec,
                seconds=round((plan.head.end_pts - plan.head.pts) / 90_000, 3),
                cpu_seconds=round(time.thread_time() - began, 3),
            )
        sample_rate = RATE if audio else 0
        return Written(out.size, out.sha256, out.counters, *self._size, audio.channels if audio else 0, sample_rate)

    def _pictures(self, plan: VideoPlan) -> Iterator[_Packet]:
        for number, picture in enumerate(self._maker.pictures(plan)):
            if number == 0:
                self._size = (picture.width, picture.height)
            yield _Packet("h264", picture.data, picture.pts, picture.keyframe)

    def _sound(self, plan: AudioPlan) -> Iterator[_Packet]:
        group: list[bytes] = []
        begin = 0
        for number, frame in enumerate(aac_frames(plan, self._payload), 1):
            group.append(frame)
            # The first goes alone: FFmpeg learns a frame's duration from it, and gives the next one the same time otherwise.
            if len(group) == AAC_PER_PES or number in (1, len(plan.pts)):
                yield _Packet("aac", b"".join(group), plan.pts[begin], True)
                group.clear()
                begin = number
