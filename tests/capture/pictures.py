"""Real bitstreams: pictures encoded and decoded by FFmpeg."""

from collections.abc import Iterable
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext

from tests.kit.scheduling import ordinary_scheduling

REALTIME = {
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "libsvtav1": {"preset": "11", "crf": "40", "svtav1-params": "pred-struct=1:lookahead=0"},
}


@ordinary_scheduling()
def encode(encoder: str, width: int = 320, height: int = 180, count: int = 10, options: dict[str, str] | None = None) -> list[bytes]:
    """So many pictures, of which the first is a keyframe; something moves."""
    chosen = REALTIME[encoder] if options is None else options
    context = VideoCodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.bit_rate = 0 if "crf" in chosen else 2_000_000
    context.gop_size = 1000
    context.thread_count = 1
    context.options = chosen
    packets = []
    for number in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            row = bytes((x * 5 + number * 9) & 0xFF for x in range(plane.line_size))
            plane.update(b"".join(row[y % 16 :] + row[: y % 16] for y in range(plane.height)))
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    return [bytes(p) for p in packets]


def decode(decoder: str, frames: Iterable[bytes]) -> list[tuple[int, int]]:
    """Each decoded picture's width and height. Raises FFmpegError if the decoder complains."""
    context = VideoCodecContext.create(decoder, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
    sizes = []
    for data in [*frames, None]:
        sizes += [(f.width, f.height) for f in context.decode(av.Packet(data) if data is not None else None)]
    return sizes
