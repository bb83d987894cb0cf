"""What stands in a cell: the current picture of a source, decoded and scaled when it changes and not before."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from rokuga.journal.reader import Position
from rokuga.render import h264
from rokuga.render.mix.canvas import BLACK, HALVES, Images, Layer, part, views
from rokuga.render.mix.fit import fit
from rokuga.render.mix.layout import Rect
from rokuga.render.mix.planes import Plane
from rokuga.render.mix.scene import Picture, Tile
from rokuga.render.pictures import DECODERS
from rokuga.render.sound import Payload

INVISIBLE = 255
"""Tile.alpha"""
_KNOWN_MATRICES = (0, 1, 4, 7, 9)
"""ISO/IEC 23091-2 MatrixCoefficients that need a conversion and have one: RGB, BT.709, FCC, SMPTE 240M, BT.2020"""
_FULL_RANGE = 2
AREA_FROM = 2
"""A picture that is made so much smaller is the mean of its pixels: of FFmpeg's fast bilinear scaling fine stripes become a moire."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    frame: VideoFrame
    orientation: int
    """as in the journal's Frame: quarter turns clockwise, and 4 where it is mirrored first"""


class Gop:
    """A decoder for a keyframe and what follows up to the next. No decoder goes on across a keyframe.

    So what it shows depends on the pictures it was ``given`` alone, damaged ones included, and not on when it was started.
    """

    def __init__(self, codec: str) -> None:
        name = DECODERS[codec]
        decoder = av.CodecContext.create(name, "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.thread_count = 1
        if name == "libdav1d":
            decoder.options = {"max_frame_delay": "1"}
        self._decoder = decoder
        self.given: list[Position] = []
        self.last: Decoded | None = None

    def give(self, picture: Picture, payload: Payload) -> None:
        """``last`` becomes this picture, or stays if it cannot be decoded."""
        ref = picture.ref
        self.given.append(ref.position)
        data = payload(ref)
        if data and picture.parameter_sets:
            data = h264.with_parameter_sets(data, list(picture.parameter_sets))
        if not data:
            return
        try:
            frames = self._decoder.decode(av.Packet(data))
        except av.FFmpegError:
            return
        if frames:
            # A superframe of several spatial layers of VP9 gives one picture of each: the last is meant.
            self.last = Decoded(frames[-1], ref.orientation)


class Source:
    """The pictures of one stream in one segment. Decodes what is asked for, from the last keyframe before it on."""

    def __init__(self, pictures: Sequence[Picture], payload: Payload, gop: Gop | None) -> None:
        """``gop``: a decoder that may have been given the first of these pictures in the segment before."""
        self._pictures = pictures
        self._payload = payload
        self._times = [picture.ref.time for picture in pictures]
        self._keyframes = [index for index, picture in enumerate(pictures) if picture.ref.keyframe]
        self._shown: Decoded | None = None
        self._index = -1
        self._begin = 0
        self.gop = None
        if gop is not None and gop.given == [picture.ref.position for picture in pictures[: len(gop.given)]]:
            self.gop = gop

    def at(self, pts: int) -> Decoded | None:
        """The latest picture at or before ``pts`` that can be decoded. Times asked for rise."""
        index = bisect_right(self._times, pts) - 1
        if index == self._index:
            return self._shown
        self._index = index
        keyframe = bisect_right(self._keyframes, index) - 1
        if keyframe < 0:
            return None
        begin = self._keyframes[keyframe]
        gop = self.gop
        if gop is None or begin != self._begin or begin + len(gop.given) > index + 1:
            gop = self.gop = Gop(self._pictures[begin].ref.codec)
            self._begin = begin
        for picture in self._pictures[begin + len(gop.given) : index + 1]:
            gop.give(picture, self._payload)
        # Of a group of pictures that cannot be decoded at all, the one before it stays.
        self._shown = gop.last or self._shown
        return self._shown


class Cell:
    """A tile of a scene."""

    def __init__(self, tile: Tile, source: Source | None, images: Images, scaler: VideoReformatter) -> None:
        self.rect = tile.rect
        self._tile = tile
        self._source = None if tile.black else source
        self._scaler = scaler
        self._decoded: Decoded | None = None
        self._shape: tuple[int, int, int] | None = None
        """of the last picture: width, height, orientation"""
        self._layer = self._empty(images)

    def layer(self, pts: int) -> Layer | None:
        """What it shows then; the same object as before while that does not change. None: nothing at all."""
        decoded = self._source.at(pts) if self._source is not None else None
        if decoded is not None and decoded is not self._decoded:
            self._decoded = decoded
            self._layer = self._picture(decoded) or self._layer
        return self._layer

    def _empty(self, images: Images) -> Layer | None:
        tile = self._tile
        if tile.black:
            return Layer.solid(tile.rect, BLACK, tile.alpha)
        found = images.image(tile.image, tile.rect, tile.render_mode) if tile.image else None
        return Layer.image(*found, tile.alpha) if found else None

    def _picture(self, decoded: Decoded) -> Layer | None:
        frame, orientation = decoded.frame, decoded.orientation
        shape = frame.width, frame.height, orientation
        if shape != self._shape:
            self._shape = shape
            self._fit(*shape)
        try:
            scaled = _scaled(frame, *self._size, self._scaler)
        except av.FFmpegError:
            return None  # a pixel format that cannot be converted: the picture before stays
        planes = views(scaled)
        if orientation:
            planes = _upright(planes[0], orientation), _upright(planes[1], orientation), _upright(planes[2], orientation)
        y, u, v = (plane[here] for plane, here in zip(planes, self._seen, strict=True))
        return Layer.of(self._place, (y, u, v), self._tile.alpha)

    def _fit(self, width: int, height: int, orientation: int) -> None:
        """Where pictures of that shape go."""
        place = fit(*_turned((width, height), orientation), self._tile.rect, self._tile.render_mode)
        window = Rect(place.left, place.top, place.rect.width, place.rect.height)
        self._size = _turned((place.width, place.height), orientation)
        self._seen = [part(window, half) for half in HALVES]
        self._place = place.rect


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation & 1 else size


def _upright(plane: Plane, orientation: int) -> Plane:
    """Mirrored and turned; not copied."""
    if orientation & 4:
        plane = plane[:, ::-1]
    turns = orientation & 3
    return np.rot90(plane, -turns) if turns else plane


def _scaled(frame: VideoFrame, width: int, height: int, scaler: VideoReformatter) -> VideoFrame:
    """As the canvas has its pixels; the frame itself if it is so already. What does not say otherwise is BT.601 in limited range."""
    smaller = AREA_FROM * width <= frame.width or AREA_FROM * height <= frame.height
    return scaler.reformat(
        frame,
        width,
        height,
        "yuv420p",
        src_colorspace=None if frame.colorspace in _KNOWN_MATRICES else Colorspace.ITU601,
        dst_colorspace=Colorspace.ITU601,
        interpolation=Interpolation.AREA if smaller else Interpolation.FAST_BILINEAR,
        src_color_range=ColorRange.JPEG if frame.color_range == _FULL_RANGE else ColorRange.MPEG,
        dst_color_range=ColorRange.MPEG,
        threads=1,
    )
