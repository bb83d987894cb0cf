"""Watermarks as a request says them (TRTC's data type WaterMark). Pure: `rokuga.render.mix.raster` draws them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rokuga.render.mix.colour import Rgb
from rokuga.render.mix.layout import Rect

MOST_MARKS = 25
TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT, TOP, BOTTOM, CENTRE = range(7)
"""Pos of a time stamp"""
WHITE: Rgb = (255, 255, 255)
FONT_SIZE = 14
ZONE_HOURS = 8
FONT = "Tencent"


@dataclass(frozen=True, slots=True)
class ImageMark:
    """``image``: name of a file in the generation's folder of images; it is distorted to fill ``rect``."""

    rect: Rect
    image: str


@dataclass(frozen=True, slots=True)
class TextMark:
    """``size``: pixels of an em. ``back``: colour that fills ``rect`` behind the text, None: nothing does."""

    rect: Rect
    text: str
    size: int = FONT_SIZE
    color: Rgb = WHITE
    back: Rgb | None = None
    font: str = FONT


@dataclass(frozen=True, slots=True)
class TimeMark:
    """The time of the picture, to the second, ``zone_hours`` ahead of UTC."""

    pos: int
    zone_hours: int = ZONE_HOURS
    font: str = FONT


Mark = ImageMark | TextMark | TimeMark


def marks_of(layout: Mapping[str, Any], images: Mapping[str, str]) -> tuple[Mark, ...]:
    """The marks of a request's MixLayoutParams that the API has checked, in order of painting.

    ``images`` leads from URLs to names of files; a mark whose image could not be had is left out.
    Raises KeyError, TypeError or ValueError for what the API would have refused.
    """
    of_type: tuple[tuple[str, Callable[[Mapping[str, Any]], Mark]], ...] = (
        ("WaterMarkImage", lambda said: ImageMark(_rect(said), images.get(said["WaterMarkUrl"], ""))),
        ("WaterMarkChar", _text),
        ("WaterMarkTimestamp", _time),
    )
    marks = []
    for entry in (layout.get("WaterMarkList") or [])[:MOST_MARKS]:
        key, make = of_type[entry.get("WaterMarkType") or 0]
        mark = make(entry[key])
        if not isinstance(mark, ImageMark) or mark.image:
            marks.append(mark)
    return tuple(marks)


def colour_of(text: str) -> Rgb | None:
    """``#RRGGBB`` or ``0xRRGGBB``; None for an empty one. Raises ValueError."""
    if not text:
        return None
    digits = text.removeprefix("#").removeprefix("0x").removeprefix("0X")
    if len(digits) != 6:
        raise ValueError(f"no colour as #RRGGBB: {text}")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _text(said: Mapping[str, Any]) -> TextMark:
    return TextMark(
        _rect(said),
        said["Chars"],
        said.get("FontSize") or FONT_SIZE,
        colour_of(said.get("FontColor") or "") or WHITE,
        colour_of(said.get("BackGroundColor") or ""),
        said.get("Font") or FONT,
    )


def _time(said: Mapping[str, Any]) -> TimeMark:
    zone = said.get("TimeZone")
    return TimeMark(said["Pos"], ZONE_HOURS if zone is None else zone, said.get("Font") or FONT)


def _rect(said: Mapping[str, Any]) -> Rect:
    """Edges, not sizes, are rounded to even pixels, as those of pictures are."""
    left, top = _even(said["Left"]), _even(said["Top"])
    return Rect(left, top, _even(said["Left"] + said["Width"]) - left, _even(said["Top"] + said["Height"]) - top)


def _even(pixels: int) -> int:
    return (pixels + 1) & ~1
