"""How a picture is brought into a cell by its RenderMode (seed, MixLayout.RenderMode). Pure."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rokuga.render.mix.layout import CROP, FIT, SMART, STRETCH, Rect

MOST_CUT = Fraction(1, 5)
"""SMART: of the picture's width or height"""
MOST_ENLARGED = 8
"""A picture whose shape differs from its cell's by more than this is distorted: it would take hundreds of megabytes to cover it."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The picture is scaled to ``width`` × ``height``; the part of it from ``left``, ``top`` on fills ``rect`` of the canvas. All even."""

    width: int
    height: int
    left: int
    top: int
    rect: Rect


@lru_cache(256)
def fit(width: int, height: int, cell: Rect, render_mode: int) -> Fit:
    """Where a picture of ``width`` × ``height`` pixels goes in ``cell``: in the middle of it, what sticks out cut off evenly."""
    if render_mode == STRETCH:
        return Fit(cell.width, cell.height, 0, 0, cell)
    across, down = Fraction(cell.width, width), Fraction(cell.height, height)
    whole, cover = min(across, down), max(across, down)
    scale = {CROP: cover, FIT: whole, SMART: min(cover, whole / (1 - MOST_CUT))}[render_mode]
    scaled_width, left, x, shown_width = _along(width * scale, cell.width)
    scaled_height, top, y, shown_height = _along(height * scale, cell.height)
    return Fit(scaled_width, scaled_height, left, top, Rect(cell.x + x, cell.y + y, shown_width, shown_height))


def _along(length: Fraction, cell: int) -> tuple[int, int, int, int]:
    """In one direction: the scaled length, how much is cut off in front, where it begins in the cell, how much is seen."""
    scaled = min(max(2, 2 * round(length / 2)), cell * MOST_ENLARGED)
    shown = min(scaled, cell)
    return scaled, _half(scaled - shown), _half(cell - shown), shown


def _half(length: int) -> int:
    return length // 4 * 2
