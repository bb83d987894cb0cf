"""What a segment of a mixed recording looks like: the pictures of each source and where they stand. No media, no time of its own."""

from dataclasses import dataclass
from typing import NamedTuple

from rokuga.render.mix.canvas import Overlay
from rokuga.render.mix.colour import Rgb
from rokuga.render.mix.layout import Rect
from rokuga.render.plan import Ref


class Picture(NamedTuple):
    """One video frame of a stream; ``ref.time`` is its PTS, ``ref.orientation`` how it must be turned to be upright."""

    ref: Ref
    parameter_sets: tuple[bytes, ...] = ()
    """H.264: go in front of a keyframe that comes without its own"""


@dataclass(frozen=True, slots=True)
class Tile:
    """What a cell shows. A source that has no picture (yet), or None: ``image``, where there is none the background."""

    rect: Rect
    source: int | None
    """index into ``MixVideo.sources``"""
    render_mode: int
    """STRETCH, CROP, FIT or SMART of `layout`; for the placeholder image too"""
    alpha: int = 0
    """0 opaque to 255 invisible (TRTC's; the opposite of `Planes.a`)"""
    image: str = ""
    """file name of a placeholder, empty: none"""
    black: bool = False
    """the camera is stopped and a black cell was asked for (FillType 1): no picture, no placeholder"""


@dataclass(frozen=True, slots=True)
class Scene:
    """How the canvas looks from output frame ``first`` of the segment on, until the next scene. ``tiles`` from back to front."""

    first: int
    tiles: tuple[Tile, ...]
    background: Rgb = (0, 0, 0)
    background_image: str = ""
    background_mode: int = 1
    marks: tuple[Overlay, ...] = ()
    """painted last, in order"""


@dataclass(frozen=True, slots=True)
class MixVideo:
    """The pictures of a segment.

    ``pts`` (90 kHz) of the output frames at a constant ``fps``; the first is at UTC ``begin_ms``. Each source: its pictures in order of
    time, from the last keyframe at or before the first output frame on (a later one if it has none) up to the segment's end. The first
    scene's ``first`` is 0, those of the others rise.
    """

    width: int
    height: int
    fps: int
    bit_rate: int
    gop_seconds: int
    pts: tuple[int, ...]
    begin_ms: int
    sources: tuple[tuple[Picture, ...], ...]
    scenes: tuple[Scene, ...]
