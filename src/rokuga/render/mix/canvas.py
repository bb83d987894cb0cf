"""The picture that everybody is painted into. It stays in place: only what changed is painted again, with what stands on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from rokuga.render.mix.colour import Rgb, yuv
from rokuga.render.mix.layout import Rect
from rokuga.render.mix.planes import Plane, Planes

BLACK: Rgb = (0, 0, 0)
Wide = npt.NDArray[np.uint16]
Slices = tuple[slice, slice]
"""rows, columns"""
HALVES = (0, 1, 1)
"""by how many bits a plane's coordinates are smaller than the canvas'"""


class Overlay(Protocol):
    """A watermark."""

    def planes(self, utc_ms: int) -> tuple[Rect, Planes] | None:
        """What it shows at that time and where, the same `Planes` as before while it does not change; None: nothing.

        ``Rect`` is even and has the planes' size; what of it is outside the canvas is not seen.
        """


class Images(Protocol):
    """Background and placeholder images."""

    def image(self, name: str, rect: Rect, render_mode: int) -> tuple[Rect, Planes] | None:
        """The image in that place: what of ``rect`` it covers, and its pixels there. None if it cannot be shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Something to paint, unchanging; Y, U, V. Where it can be seen through: its samples times their opacity, and 255 minus that."""

    rect: Rect
    planes: tuple[Plane, Plane, Plane]
    weighted: tuple[Wide, Wide, Wide] | None = None
    rest: tuple[Wide, Wide, Wide] | None = None

    @property
    def opaque(self) -> bool:
        return self.weighted is None

    @classmethod
    def of(cls, rect: Rect, planes: tuple[Plane, Plane, Plane], alpha: int = 0) -> Self:
        """A picture without transparency of its own, that is seen as ``alpha`` says (TRTC's: 255 is invisible)."""
        if alpha == 0:
            return cls(rect, planes)
        opacity = np.uint16(255 - alpha)
        y, u, v = ((plane * opacity).astype(np.uint16, copy=False) for plane in planes)
        rest = [np.broadcast_to(255 - opacity, plane.shape) for plane in planes]
        return cls(rect, planes, (y, u, v), (rest[0], rest[1], rest[2]))

    @classmethod
    def solid(cls, rect: Rect, colour: Rgb, alpha: int = 0) -> Self:
        values = [np.uint8(value) for value in yuv(colour)]
        fine, coarse = (rect.height, rect.width), (rect.height // 2, rect.width // 2)
        y, u, v = (np.broadcast_to(value, shape) for value, shape in zip(values, (fine, coarse, coarse), strict=True))
        return cls.of(rect, (y, u, v), alpha)

    @classmethod
    def image(cls, rect: Rect, planes: Planes, alpha: int = 0) -> Self:
        """A picture with transparency."""
        pixels = (planes.y, planes.u, planes.v)
        if int(planes.a.min(initial=255)) == 255:
            return cls.of(rect, pixels, alpha)
        opacity = _product(planes.a, np.broadcast_to(np.uint16(255 - alpha), planes.a.shape))
        coarse = _quartered(opacity)
        y, u, v = (plane * seen for plane, seen in zip(pixels, (opacity, coarse, coarse), strict=True))
        return cls(rect, pixels, (y, u, v), (255 - opacity, 255 - coarse, 255 - coarse))


class Canvas:
    """``frame`` is what is to be encoded; yuv420p, of even width and height."""

    def __init__(self, width: int, height: int) -> None:
        self.frame = VideoFrame(width, height, "yuv420p")
        self._whole = Rect(0, 0, width, height)
        self._planes = views(self.frame)
        self._painted: tuple[Layer | None, ...] = ()
        self._strokes: list[list[_Stroke]] = []
        self._within: list[list[int]] = []

    def paint(self, layers: Sequence[Layer | None]) -> None:
        """Make it look like ``layers``, from back to front. The first must cover everything; None leaves a place empty.

        The same object in the same place of ``layers`` as before has not changed.
        """
        before, self._painted = self._painted, tuple(layers)
        changed = [n for n, (old, new) in enumerate(zip(before, layers, strict=False)) if old is not new]
        if len(before) != len(layers) or not all(_alike(before[n], layers[n]) for n in changed):
            self._arrange()
            changed = [0]
        for n in changed:
            if not any(other in changed for other in self._within[n]):
                for stroke in self._strokes[n]:
                    self._put(stroke)

    def _arrange(self) -> None:
        """Find out what must be painted when a layer has changed: within its bounds, all that stands there."""
        self._strokes, self._within = [], []
        present = [(n, layer) for n, layer in enumerate(self._painted) if layer is not None]
        for n, layer in enumerate(self._painted):
            bounds = _common(layer.rect, self._whole) if layer else None
            if layer is None or bounds is None:
                self._within.append([])
                self._strokes.append([])
                continue
            around = [(m, other) for m, other in present if contains(other.rect, layer.rect)]
            # Of equal bounds, each within the other, the rearmost counts.
            self._within.append([m for m, other in around if other.rect != layer.rect or m < n])
            lowest = max((m for m, other in around if other.opaque), default=0)
            there = ((m, other, _common(other.rect, bounds)) for m, other in present if m >= lowest)
            self._strokes.append([self._stroke(m, other, seen) for m, other, seen in there if seen])

    def _stroke(self, number: int, layer: Layer, bounds: Rect) -> "_Stroke":
        here = replace(bounds, x=bounds.x - layer.rect.x, y=bounds.y - layer.rect.y)
        y, u, v = (plane[part(bounds, half)] for plane, half in zip(self._planes, HALVES, strict=True))
        return _Stroke(number, (y, u, v), (part(here, 0), part(here, 1), part(here, 1)))

    def _put(self, stroke: "_Stroke") -> None:
        layer = self._painted[stroke.layer]
        assert layer is not None
        if layer.weighted is None or layer.rest is None:
            for target, plane, here in zip(stroke.targets, layer.planes, stroke.sources, strict=True):
                target[...] = plane[here]
        else:
            for target, weighted, rest, here in zip(stroke.targets, layer.weighted, layer.rest, stroke.sources, strict=True):
                target[...] = _by_255(target * rest[here] + weighted[here])


@dataclass(frozen=True, slots=True, eq=False)
class _Stroke:
    """A part of a layer and where it goes, in each plane."""

    layer: int
    targets: tuple[Plane, Plane, Plane]
    sources: tuple[Slices, Slices, Slices]


def views(frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """The planes of a yuv420p frame, in place."""
    y, u, v = frame.planes
    return _view(y), _view(u), _view(v)


def _view(plane: VideoPlane) -> Plane:
    return np.ndarray((plane.height, plane.width), np.uint8, memoryview(plane), 0, (plane.line_size, 1))


def contains(outer: Rect, inner: Rect) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and outer.x + outer.width >= inner.x + inner.width
        and outer.y + outer.height >= inner.y + inner.height
    )


def _common(a: Rect, b: Rect) -> Rect | None:
    x, y = max(a.x, b.x), max(a.y, b.y)
    width, height = min(a.x + a.width, b.x + b.width) - x, min(a.y + a.height, b.y + b.height) - y
    return Rect(x, y, width, height) if width > 0 and height > 0 else None


def _alike(a: Layer | None, b: Layer | None) -> bool:
    """Whether one can be painted in the other's stead without a look at the rest."""
    return a is not None and b is not None and a.rect == b.rect and a.opaque == b.opaque


def part(rect: Rect, half: int) -> Slices:
    """Of a plane; ``half``: one of HALVES."""
    return slice(rect.y >> half, rect.y + rect.height >> half), slice(rect.x >> half, rect.x + rect.width >> half)


def _by_255(values: Wide) -> Wide:
    """Rounded division of products of two bytes (or sums up to 255²), exactly."""
    values += 128
    values += values >> 8
    values >>= 8
    return values


def _product(a: Plane, b: Wide) -> Wide:
    """Opacities one behind the other."""
    return _by_255(a * b)


def _quartered(opacity: Wide) -> Wide:
    """At the chroma planes' resolution: the mean of each square of four pixels."""
    total = opacity[0::2, 0::2] + opacity[0::2, 1::2] + opacity[1::2, 0::2] + opacity[1::2, 1::2]
    total += 2
    total >>= 2
    return total
