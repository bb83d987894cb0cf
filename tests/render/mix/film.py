"""Streams in one colour each, with a white mark that counts their pictures; plans made of them; and what is seen in the segments."""

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from rokuga.journal.reader import Position
from rokuga.render.mix.canvas import Overlay, views
from rokuga.render.mix.colour import Rgb, yuv
from rokuga.render.mix.layout import STRETCH, Rect
from rokuga.render.mix.planes import Plane, Planes
from rokuga.render.mix.scene import MixVideo, Picture, Scene, Tile
from rokuga.render.mix.video import VideoMixer
from rokuga.render.plan import Ref
from tests.kit.scheduling import ordinary_scheduling

RED, GREEN, BLUE, YELLOW, PURPLE, GREY = (200, 30, 30), (30, 150, 30), (40, 40, 200), (180, 170, 20), (150, 30, 150), (110, 110, 110)
COLOURS: tuple[Rgb, ...] = (RED, GREEN, BLUE, YELLOW, PURPLE, GREY)
COLUMNS = 8
"""places of the mark"""
FPS = 15
Units = tuple[tuple[bytes, bool], ...]
Seen = tuple[Plane, Plane, Plane]


def paint(frame: VideoFrame, colour: Rgb, number: int) -> None:
    """The mark: an eighth of the width, a quarter of the height, at the top."""
    y, u, v = views(frame)
    for plane, value in zip((y, u, v), yuv(colour), strict=True):
        plane[...] = value
    height, width = y.shape
    column = number % COLUMNS
    left, right = column * width // COLUMNS, (column + 1) * width // COLUMNS
    y[: height // 4, left:right] = 235
    for plane in (u, v):
        plane[: height // 8, left // 2 : right // 2] = 128


@functools.cache
def film(colour: Rgb, count: int, width: int = 320, height: int = 180, gop: int = FPS, codec: str = "h264") -> Units:
    """Coded pictures of one stream, and whether each is a keyframe."""
    return coded(width, height, count, lambda frame, number: paint(frame, colour, number), gop, codec)


@ordinary_scheduling()
def coded(
    width: int, height: int, count: int, draw: Callable[[VideoFrame, int], None], gop: int = FPS, codec: str = "h264", params: str = ""
) -> Units:
    encoder = av.CodecContext.create({"h264": "libx264", "vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}[codec], "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.thread_count, encoder.gop_size = 1, gop
    if codec == "h264":
        sets = f"keyint={gop}:min-keyint={gop}:scenecut=0:repeat-headers=1:annexb=1:qp=12{params}"
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": sets}
    elif codec == "av1":
        encoder.options = {"preset": "12", "crf": "20", "svtav1-params": "pred-struct=1:lp=1"}
    else:
        encoder.bit_rate = 2_000_000
        encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}
    packets: list[av.Packet[Any]] = []
    for number in range(count):
        frame = VideoFrame(width, height, "yuv420p")
        draw(frame, number)
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    assert len(packets) == count
    return tuple((bytes(p).removeprefix(b"\x12\x00") if codec == "av1" else bytes(p), p.is_keyframe) for p in packets)


class Journal:
    """What plans refer to. ``read``: the positions that were asked for, in order."""

    def __init__(self) -> None:
        self.data: dict[Position, bytes] = {}
        self.read: list[Position] = []
        self._tracks = 0

    def payload(self, ref: Ref) -> bytes:
        self.read.append(ref.position)
        return self.data[ref.position]

    def track(self, units: Units, begin: int = 0, fps: int = FPS, orientation: int = 0, codec: str = "h264") -> list[Picture]:
        """A stream whose first picture is at PTS ``begin``."""
        self._tracks += 1
        pictures = []
        for number, (data, keyframe) in enumerate(units):
            ref = Ref(
                Position(self._tracks, number),
                len(data),
                begin + number * 90_000 // fps,
                keyframe=keyframe,
                codec=codec,
                orientation=orientation,
            )
            self.data[ref.position] = data
            pictures.append(Picture(ref))
        return pictures


class NoImages:
    def image(self, name: str, rect: Rect, render_mode: int) -> tuple[Rect, Planes] | None:
        raise AssertionError(f"nobody has asked for the image {name!r}")


def plan(
    tracks: Sequence[Sequence[Picture]],
    scenes: Sequence[Scene],
    frames: tuple[int, int] = (0, FPS),
    size: tuple[int, int] = (640, 360),
    fps: int = FPS,
    gop_seconds: int = 10,
    bit_rate: int = 3_000_000,
) -> MixVideo:
    """A segment of the output frames from the first to before the second of ``frames``, each at its number / fps."""
    pts = tuple(number * 90_000 // fps for number in range(*frames))
    return MixVideo(*size, fps, bit_rate, gop_seconds, pts, pts[0] // 90, tuple(needed(t, pts[0], pts[-1]) for t in tracks), tuple(scenes))


def needed(track: Sequence[Picture], begin: int, end: int) -> tuple[Picture, ...]:
    """What a plan must hold of a track."""
    keyframes = [n for n, p in enumerate(track) if p.ref.keyframe and p.ref.time <= begin]
    return tuple(p for p in track[keyframes[-1] if keyframes else 0 :] if p.ref.time <= end)


def scene(rects: Sequence[Rect], first: int = 0, mode: int = STRETCH, marks: tuple[Overlay, ...] = ()) -> Scene:
    """Source n in the n-th place."""
    return Scene(first, tuple(Tile(rect, number, mode) for number, rect in enumerate(rects)), marks=marks)


def watch(mixer: VideoMixer, segment: MixVideo) -> list[Seen]:
    """The output frames, decoded; there must be one for each PTS."""
    units = list(mixer.segment(segment))
    assert [pts for _, pts, _ in units] == list(segment.pts)
    return decoded(data for data, _, _ in units)


def decoded(units: Any) -> list[Seen]:
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    frames = [frame for data in units for frame in decoder.decode(av.Packet(data))] + decoder.decode(None)
    return [(y.copy(), u.copy(), v.copy()) for y, u, v in map(views, frames)]


def colour_at(seen: Seen, x: int, y: int) -> tuple[int, int, int]:
    return int(seen[0][y, x]), int(seen[1][y // 2, x // 2]), int(seen[2][y // 2, x // 2])


def near(seen: Seen, x: int, y: int, colour: Rgb, tolerance: int = 5) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(colour_at(seen, x, y), yuv(colour), strict=True))


def who(seen: Seen, rect: Rect) -> Rgb | None:
    """Whose colour is in the middle of that place."""
    at = rect.x + rect.width // 2, rect.y + rect.height // 2
    return next((colour for colour in COLOURS if near(seen, *at, colour)), None)


def count(seen: Seen, rect: Rect) -> int:
    """Where the mark is."""
    row = seen[0][rect.y + rect.height // 8, rect.x : rect.x + rect.width]
    lights = [int(row[(2 * c + 1) * rect.width // (2 * COLUMNS)]) for c in range(COLUMNS)]
    bright = int(np.argmax(lights))
    assert lights[bright] > 215, lights
    assert all(light < 200 for c, light in enumerate(lights) if c != bright), lights
    return bright


def latest(track: Sequence[Picture], pts: int) -> int:
    """The number of the picture to be seen at that time, as the mark shows it."""
    return (sum(p.ref.time <= pts for p in track) - 1) % COLUMNS
