"""Draws watermarks: text and images once, a time stamp once a second from planes of its digits."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import structlog
from PIL import Image, ImageDraw

from rokuga.errors import FontError
from rokuga.render.mix import fonts
from rokuga.render.mix.canvas import Overlay
from rokuga.render.mix.colour import planes_of
from rokuga.render.mix.layout import Rect
from rokuga.render.mix.marks import (
    BOTTOM,
    BOTTOM_LEFT,
    BOTTOM_RIGHT,
    CENTRE,
    TOP,
    TOP_RIGHT,
    WHITE,
    ImageMark,
    Mark,
    TextMark,
    TimeMark,
)
from rokuga.render.mix.planes import Planes

Still = Callable[[str], Image.Image | None]
"""An image file of the recording by its name, upright, in mode RGBA; None if there is none."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = "%Y-%m-%d %H:%M:%S"
LEAST_SIZE = 8
"""pixels of a time stamp's em on the smallest canvas; it is cut off there"""
STAMP_LETTERS = "0123456789-: "
# A word stays together, and what closes a sentence or a bracket does not begin a line (JIS X 4051's first rule).
_CLOSING = "、。，．！？：；）」』】》〉〕］｝…ー々"
_PIECES = re.compile(rf"\n|[^\S\n]+|(?:[^\s\u2e80-\U0010ffff]+|[^\s])[{_CLOSING}]*")
_UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class MarkPainter:
    """Makes the overlays of one canvas of even size. Asked again, it gives the same ones for the marks that stayed."""

    def __init__(self, width: int, height: int, still: Still) -> None:
        self._width = width
        self._height = height
        self._still = still
        self._known: dict[Mark, Overlay | None] = {}
        self._log = structlog.get_logger(__name__)

    def overlays(self, marks: tuple[Mark, ...]) -> tuple[Overlay, ...]:
        """In the order of ``marks``. Those that cannot be drawn are left out; a missing font is logged when it is first missed."""
        self._known = {mark: self._known[mark] if mark in self._known else self._overlay(mark) for mark in marks}
        return tuple(overlay for mark in marks if (overlay := self._known[mark]) is not None)

    def _overlay(self, mark: Mark) -> Overlay | None:
        try:
            if isinstance(mark, TimeMark):
                return Stamp(mark, self._width, self._height)
            seen = _clipped(mark.rect, self._width, self._height)
            if not seen.width or not seen.height:
                return None
            picture = _text(mark, seen.width, seen.height) if isinstance(mark, TextMark) else self._image(mark, seen)
            return Drawn(seen, planes_of(np.asarray(picture))) if picture is not None else None
        except FontError as error:
            self._log.error("watermark left out", error=str(error))
            return None

    def _image(self, mark: ImageMark, seen: Rect) -> Image.Image | None:
        """What of the image lies on the canvas."""
        image = self._still(mark.image)
        if image is None:
            return None
        box = (0.0, 0.0, seen.width * image.width / mark.rect.width, seen.height * image.height / mark.rect.height)
        return image.resize((seen.width, seen.height), Image.Resampling.LANCZOS, box)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A watermark that stays as it is."""

    rect: Rect
    picture: Planes

    def planes(self, utc_ms: int) -> tuple[Rect, Planes]:
        return self.rect, self.picture


class Stamp:
    """A running clock: white with a black outline, so that it can be read on anything."""

    def __init__(self, mark: TimeMark, width: int, height: int) -> None:
        """Digits for a canvas of that size: a thirtieth of its height, or smaller where it is too narrow. Raises FontError."""
        # Nineteen letters with their outlines are 13 ems wide, and half an em is kept free at either edge.
        size = max(LEAST_SIZE, min(height // 30, width // 14))
        self._zone = timedelta(hours=mark.zone_hours)
        self._letters = {letter: stamp_letter(letter, size) for letter in STAMP_LETTERS}
        whole = _beside([self._letters[letter] for letter in _EPOCH.strftime(_STAMP)])
        self._rect = _clipped(_placed(mark.pos, size // 4 * 2, width, height, whole), width, height)
        self._second = -1
        self._picture = whole

    def planes(self, utc_ms: int) -> tuple[Rect, Planes]:
        """The second that has begun."""
        second = utc_ms // 1000
        if second != self._second:
            self._second = second
            text = (_EPOCH + timedelta(seconds=second) + self._zone).strftime(_STAMP)
            self._picture = _cut(_beside([self._letters[letter] for letter in text]), self._rect.width, self._rect.height)
        return self._rect, self._picture


def _placed(pos: int, edge: int, width: int, height: int, picture: Planes) -> Rect:
    """Where a picture stands on the canvas, ``edge`` pixels inside it where there is room."""
    down, across = picture.y.shape
    right, bottom = max(0, width - across - edge), max(0, height - down - edge)
    middle, centre = max(0, (width - across) // 4 * 2), max(0, (height - down) // 4 * 2)
    x = {TOP_RIGHT: right, BOTTOM_RIGHT: right, TOP: middle, BOTTOM: middle, CENTRE: middle}.get(pos, min(edge, right))
    y = {BOTTOM_LEFT: bottom, BOTTOM_RIGHT: bottom, BOTTOM: bottom, CENTRE: centre}.get(pos, min(edge, bottom))
    return Rect(x, y, across, down)


def _clipped(rect: Rect, width: int, height: int) -> Rect:
    x, y = min(rect.x, width), min(rect.y, height)
    return Rect(x, y, min(rect.width, width - x), min(rect.height, height - y))


def _cut(planes: Planes, width: int, height: int) -> Planes:
    """The top left part."""
    half = (slice(height // 2), slice(width // 2))
    return Planes(planes.y[:height, :width], planes.u[half], planes.v[half], planes.a[:height, :width])


def _beside(row: Sequence[Planes]) -> Planes:
    """Planes of equal height in one row."""
    y, u, v, a = ([getattr(planes, name) for planes in row] for name in ("y", "u", "v", "a"))
    return Planes(np.hstack(y), np.hstack(u), np.hstack(v), np.hstack(a))


def stamp_letter(letter: str, size: int) -> Planes:
    """A letter of a time stamp in the middle of its own cell. Raises FontError."""
    font = fonts.font(fonts.CHINESE, size)
    outline = max(1, size // 12)
    across = (round(font.getlength(letter)) + outline + 1) & ~1
    # Digits are three quarters of an em high and stand on the line.
    down = (size * 3 // 4 + 2 * outline + 3) & ~1
    picture = Image.new("RGBA", (across, down), (0, 0, 0, 0))
    where = (across / 2, down - outline - 1)
    ImageDraw.Draw(picture).text(where, letter, WHITE, font, anchor="ms", stroke_width=outline, stroke_fill=(0, 0, 0))
    return planes_of(np.asarray(picture))


def _text(mark: TextMark, width: int, height: int) -> Image.Image:
    """The text from the top left on, in lines that are as wide as the mark; what has no room is cut off. Raises FontError."""
    font = fonts.font(fonts.face(mark.text), mark.size)
    # Transparent pixels have the text's colour, so that its edges fade out in no other.
    picture = Image.new("RGBA", (width, height), (*mark.color, 0) if mark.back is None else (*mark.back, 255))
    draw = ImageDraw.Draw(picture)
    # Lines stand one and a quarter ems apart: a fifth of an em hangs below the base line.
    for number, line in enumerate(wrapped(mark.text, mark.rect.width, font.getlength)):
        base = mark.size + number * mark.size * 5 // 4
        if base - mark.size >= height:
            break
        draw.text((0, base), line, mark.color, font, anchor="ls")
    return picture


def wrapped(text: str, width: float, length: Callable[[str], float]) -> list[str]:
    """Lines no longer than ``width`` where that can be: words stay whole unless one alone is too long, and line breaks are kept."""
    lines = [""]
    for piece in _PIECES.findall(_UNSEEN.sub("", text.replace("\r\n", "\n"))):
        if piece == "\n":
            lines.append("")
        elif length(lines[-1] + piece.rstrip()) <= width:
            lines[-1] += piece
        elif not piece.isspace():
            if lines[-1]:
                lines.append("")
            for letter in piece:
                if lines[-1] and length(lines[-1] + letter) > width:
                    lines.append("")
                lines[-1] += letter
    return [line.rstrip() for line in lines]
