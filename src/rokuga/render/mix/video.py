"""The pictures of a mixed segment: decoded, put together, encoded. Bytes depend on the plan, the journal and the images alone."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from rokuga.journal.reader import Position
from rokuga.render.mix.canvas import Canvas, Images, Layer, contains
from rokuga.render.mix.layout import Rect
from rokuga.render.mix.scene import MixVideo, Scene
from rokuga.render.mix.tiles import INVISIBLE, Cell, Gop, Source
from rokuga.render.sound import Payload

AT_ONCE = 10
"""So many pictures of one stream are decoded and scaled before it is another one's turn: the caches then hold what its decoder needs."""
Unit = tuple[bytes, int, bool]
"""an access unit with start codes, its PTS (90 kHz), whether it is an IDR"""


class VideoMixer:
    """Makes segments of plans. Between them it keeps decoders, which go on where the next segment has the same pictures."""

    def __init__(self, payload: Payload, images: Images) -> None:
        self._payload = payload
        self._images = images
        self._gops: dict[Position, Gop] = {}
        self._scalers: list[VideoReformatter] = []

    def segment(self, plan: MixVideo) -> Iterator[Unit]:
        """One access unit for each of ``plan.pts``, in order. Segments may come in any order, one at a time."""
        sources = [Source(pictures, self._payload, self._gop(pictures[0].ref.position) if pictures else None) for pictures in plan.sources]
        canvas = Canvas(plan.width, plan.height)
        encoder = Encoder(plan)
        for scene, after in zip(plan.scenes, [*(scene.first for scene in plan.scenes[1:]), len(plan.pts)], strict=True):
            view = self._view(plan, scene, sources)
            for first in range(scene.first, after, view.at_once):
                run = plan.pts[first : min(first + view.at_once, after)]
                for number, layers in enumerate(view.layers(run), first):
                    canvas.paint(layers)
                    yield from encoder.encode(canvas, number)
        yield from encoder.rest()
        gops = (source.gop for source in sources)
        self._gops = {gop.given[0]: gop for gop in gops if gop is not None and gop.given}

    def _gop(self, first: Position) -> Gop | None:
        return self._gops.pop(first, None)

    def _view(self, plan: MixVideo, scene: Scene, sources: list[Source]) -> "_View":
        while len(self._scalers) < len(scene.tiles):
            self._scalers.append(VideoReformatter())
        cells = [
            Cell(tile, None if tile.source is None else sources[tile.source], self._images, scaler) if tile.alpha < INVISIBLE else None
            for tile, scaler in zip(scene.tiles, self._scalers, strict=False)
        ]
        return _View(plan, scene, cells, self._images)


class _View:
    """A scene as layers."""

    def __init__(self, plan: MixVideo, scene: Scene, cells: list[Cell | None], images: Images) -> None:
        whole = Rect(0, 0, plan.width, plan.height)
        found = images.image(scene.background_image, whole, scene.background_mode) if scene.background_image else None
        self._ground = (Layer.solid(whole, scene.background), Layer.image(*found) if found else None)
        self._cells = cells
        self._in_front = [
            [n for n, other in enumerate(cells) if n > number and cell and other and contains(other.rect, cell.rect)]
            for number, cell in enumerate(cells)
        ]
        self._marks = scene.marks
        self._marked: list[Layer | None] = [None] * len(scene.marks)
        self._begin = plan.begin_ms, plan.pts[0]
        sources = [tile.source for tile in scene.tiles if tile.source is not None]
        # A source that stands in two places may be asked about no picture before the last one.
        self.at_once = AT_ONCE if len(sources) == len(set(sources)) else 1

    def layers(self, run: Sequence[int]) -> Iterator[list[Layer | None]]:
        """Of the pictures at those times, at most ``at_once``: from back to front. What is wholly behind another is not even decoded."""
        pictures: list[list[Layer | None]] = [[None] * len(self._cells) for _ in run]
        for number in range(len(self._cells) - 1, -1, -1):
            cell, in_front = self._cells[number], self._in_front[number]
            if cell is not None:
                for pts, shown in zip(run, pictures, strict=True):
                    if not any(_hides(shown[n], cell.rect) for n in in_front):
                        shown[number] = cell.layer(pts)
        begin_ms, begin = self._begin
        for pts, shown in zip(run, pictures, strict=True):
            yield [*self._ground, *shown, *self._drawn(begin_ms + (pts - begin) // 90)]

    def _drawn(self, utc_ms: int) -> list[Layer | None]:
        """The watermarks at that time."""
        for number, mark in enumerate(self._marks):
            drawn = mark.planes(utc_ms)
            before = self._marked[number]
            if drawn is None:
                self._marked[number] = None
            elif before is None or before.planes[0] is not drawn[1].y or before.rect != drawn[0]:
                self._marked[number] = Layer.image(*drawn)
        return self._marked


def _hides(layer: Layer | None, rect: Rect) -> bool:
    return layer is not None and layer.opaque and contains(layer.rect, rect)


class Encoder:
    """H.264 at a constant rate, an IDR first and then each ``gop_seconds``, no B-frames. One thread: its bytes are always the same.

    The bit rate is an average that a buffer of one second holds it to; still pictures take less.
    """

    def __init__(self, plan: MixVideo) -> None:
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = plan.width, plan.height, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, plan.fps), Fraction(plan.fps)
        encoder.thread_count = 1
        encoder.bit_rate = plan.bit_rate
        keyint, rate = plan.gop_seconds * plan.fps, plan.bit_rate // 1000
        colours = "colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m:range=tv"
        encoder.options = {
            "preset": "veryfast",
            "x264-params": f"keyint={keyint}:min-keyint={keyint}:scenecut=0:bframes=0:vbv-maxrate={rate}:vbv-bufsize={rate}"
            f":{colours}:repeat-headers=1:annexb=1",
        }
        self._encoder = encoder
        self._pts = plan.pts

    def encode(self, canvas: Canvas, number: int) -> Iterator[Unit]:
        """The canvas may be painted on again afterwards: libx264 copies its input."""
        frame = canvas.frame
        frame.pts, frame.time_base, frame.pict_type = number, self._encoder.time_base, PictureType.NONE
        for packet in self._encoder.encode(frame):
            yield self._unit(packet)

    def rest(self) -> Iterator[Unit]:
        for packet in self._encoder.encode(None):
            yield self._unit(packet)

    def _unit(self, packet: "av.Packet[Any]") -> Unit:
        assert packet.pts is not None
        return bytes(packet), self._pts[packet.pts], packet.is_keyframe
