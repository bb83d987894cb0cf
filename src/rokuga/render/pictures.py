"""The pictures of a VideoPlan as H.264 access units: H.264 as it came, VP8, VP9 and AV1 transcoded.

A transcoded segment has a decoder and an encoder of its own, each with one thread: its bytes depend on the plan alone. libx264 at
constant quality (CRF 23, "veryfast", no B-frames), held below twice the source's own bit rate in that segment: H.264 needs more than the
newer codecs for the same picture, and coding noise again is of no use.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import merge

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from rokuga.render import h264
from rokuga.render.plan import Fill, Ref, VideoPlan
from rokuga.render.sound import Payload

DECODERS = {"h264": "h264", "vp8": "libvpx", "vp9": "vp9", "av1": "libdav1d"}
"""FFmpeg's own decoder for VP8 shows what its memory held before where a picture is damaged: other bytes each time. The others do not."""
QUALITY = "23"
LEAST_RATE = 250_000
STILL_RATE = 20_000_000
BLACK_SIZE = (640, 360)
"""of a stream that has not shown a picture"""
TIME_BASE = Fraction(1, 90_000)
SECOND_90K = 90_000


@dataclass(frozen=True, slots=True)
class Picture:
    """An access unit with start codes; ``pts`` in 90 kHz."""

    data: bytes
    pts: int
    keyframe: bool
    width: int = 0
    height: int = 0

    def turned(self, orientation: int) -> "Picture":
        """The same, and what is to be done with it before it is shown."""
        return replace(self, data=h264.with_orientation(self.data, orientation)) if orientation else self


class PictureMaker:
    """Makes the pictures of plans. Remembers the last still picture: a stopped camera needs it in each segment."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._still: tuple[Fill, VideoFrame] | None = None

    def pictures(self, plan: VideoPlan) -> Iterator[Picture]:
        """In order of time; what cannot be read or decoded is left out. If that is all of it, the picture is black."""
        frames = _transcoded(plan, self._payload) if plan.frames and plan.frames[0].codec != "h264" else self._as_they_are(plan)
        orientations = {ref.time: ref.orientation for ref in plan.frames if ref.orientation}
        if orientations:
            frames = (picture.turned(orientations.get(picture.pts, 0)) for picture in frames)
        none = True
        for picture in merge(frames, *(self._fill(fill) for fill in plan.fills), key=lambda picture: picture.pts):
            none = False
            yield picture
        if none:
            yield from self._fill(Fill(plan.head.pts, plan.head.end_pts, True, (), ()))

    def _as_they_are(self, plan: VideoPlan) -> Iterator[Picture]:
        for ref in plan.frames:
            data = self._payload(ref)
            if ref is plan.frames[0]:
                data = h264.with_parameter_sets(data, list(plan.parameter_sets))
            if data:
                yield Picture(data, ref.time, ref.keyframe, plan.width, plan.height)

    def _fill(self, fill: Fill) -> Iterator[Picture]:
        if self._still is None or replace(self._still[0], pts=fill.pts, end_pts=fill.end_pts) != fill:
            self._still = fill, _still(fill, self._payload)
        frame = self._still[1]
        encoder = _Encoder(frame.width, frame.height, 1, STILL_RATE)
        orientation = fill.frames[-1].orientation if fill.frames and not fill.black else 0
        # An IDR, then pictures that say "as before" in some bytes: FFmpeg does not find out what one picture alone is.
        for pts in range(fill.pts, max(fill.end_pts - SECOND_90K // 2, fill.pts + 1), SECOND_90K):
            frame.pts = pts
            yield from (picture.turned(orientation) for picture in encoder.encode(frame))
        yield from (picture.turned(orientation) for picture in encoder.rest())


def _still(fill: Fill, payload: Payload) -> VideoFrame:
    """The last picture that can be decoded, or black."""
    last: VideoFrame | None = None
    for frame in _decoded(fill.frames[: 1 if fill.black else None], payload, fill.parameter_sets):
        last = frame
    width, height = (last.width & ~1, last.height & ~1) if last is not None else BLACK_SIZE
    if last is not None and not fill.black:
        return last.reformat(width, height, "yuv420p")
    black = VideoFrame(width, height, "yuv420p")
    for plane, value in zip(black.planes, (16, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return black


def _transcoded(plan: VideoPlan, payload: Payload) -> Iterator[Picture]:
    seconds = max((plan.head.end_pts - plan.head.pts) / 90_000, 0.1)
    rate = max(int(2 * 8 * sum(ref.size for ref in plan.frames) / seconds), LEAST_RATE)
    encoder: _Encoder | None = None
    first = plan.frames[0].time
    last = first - 1
    for frame in _decoded((*plan.before, *plan.frames), payload):
        # Numbers of hidden frames and of those decoded before the segment do not come here twice: times rise.
        if frame.pts is None or frame.pts < first or frame.pts <= last:
            continue
        last = frame.pts
        width, height = frame.width & ~1, frame.height & ~1
        if not width or not height:
            continue
        if encoder is None or (encoder.width, encoder.height) != (width, height):
            if encoder is not None:
                yield from encoder.rest()
            encoder = _Encoder(width, height, len(plan.frames) / seconds, rate)
        yield from encoder.encode(frame)
    if encoder is not None:
        yield from encoder.rest()


def _decoded(refs: tuple[Ref, ...], payload: Payload, parameter_sets: tuple[bytes, ...] = ()) -> Iterator[VideoFrame]:
    """Frames with their PTS."""
    if not refs:
        return
    name = DECODERS[refs[0].codec]
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    if name == "libdav1d":
        decoder.options = {"max_frame_delay": "1"}
    for ref in refs:
        data = payload(ref)
        if ref is refs[0]:
            data = h264.with_parameter_sets(data, list(parameter_sets))
        if not data:
            continue
        packet = av.Packet(data)
        packet.pts = packet.dts = ref.time
        packet.time_base = TIME_BASE
        try:
            # A superframe of several spatial layers of VP9 gives one picture of each: the last is meant.
            yield from decoder.decode(packet)[-1:]
        except av.FFmpegError:
            continue  # a picture whose reference was lost: the one before stays
    try:
        yield from decoder.decode(None)
    except av.FFmpegError:
        return


class _Encoder:
    def __init__(self, width: int, height: int, fps: float, rate: int) -> None:
        self.width, self.height = width, height
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = TIME_BASE
        encoder.framerate = Fraction(max(1, round(fps)))
        encoder.thread_count = 1
        encoder.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "crf": QUALITY,
            "maxrate": str(rate),
            "bufsize": str(2 * rate),
            "x264-params": "keyint=infinite:scenecut=0:repeat-headers=1:annexb=1",
        }
        self._encoder = encoder

    def encode(self, frame: VideoFrame) -> Iterator[Picture]:
        pts = frame.pts
        if (frame.width, frame.height, frame.format.name) != (self.width, self.height, "yuv420p"):
            frame = frame.reformat(self.width, self.height, "yuv420p")
        frame.pts, frame.time_base = pts, TIME_BASE
        frame.pict_type = PictureType.NONE
        return self._pictures(frame)

    def rest(self) -> Iterator[Picture]:
        return self._pictures(None)

    def _pictures(self, frame: VideoFrame | None) -> Iterator[Picture]:
        for packet in self._encoder.encode(frame):
            assert packet.pts is not None
            yield Picture(bytes(packet), packet.pts, packet.is_keyframe, self.width, self.height)
