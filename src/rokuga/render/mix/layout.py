"""Where each picture of a mixed recording stands: TRTC's four layouts (seed, section MixLayoutMode). Pure.

Positions are fractions of the canvas whose edges, not sizes, are rounded to even pixels: neighbours share an edge exactly, and chroma
planes of 4:2:0 pictures need no half pixels. Nothing here knows of time: whoever calls says who is there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MediaName = Literal["main", "aux"]

FLOATING, SCREEN, GRID, CUSTOM = 1, 2, 3, 4
"""MixLayoutMode"""
STRETCH, CROP, FIT, SMART = 0, 1, 2, 3
"""RenderMode: distort; cut off what sticks out; bars; cut at most a fifth, then bars"""
MOST_PICTURES = 25
"""the big one included"""


@dataclass(frozen=True, slots=True)
class Rect:
    """Pixels of the canvas, origin top left; all four are even."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A stream that is subscribed to now. ``video``: it has a camera or screen track, flowing or not."""

    user_id: str
    media_id: MediaName
    video: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of MixLayoutList (mode 4), in pixels. ``user_id`` empty: whoever comes next in room-entry order."""

    left: int
    top: int
    width: int
    height: int
    user_id: str = ""
    media_id: MediaName = "main"
    render_mode: int = CROP
    alpha: int = 0
    layer: int = 0
    image: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """MixLayoutParams, as far as positions depend on them. ``big`` is MaxResolutionUserId with its MediaId."""

    mode: int = GRID
    big: tuple[str, MediaName] | None = None
    big_right: bool = False
    render_mode: int = CROP
    voices_hidden: bool = False
    """PureAudioDisableLayout: who has no video takes up no place"""
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture's place. ``shown`` is None where the place is kept for somebody who is not there.

    ``alpha`` as TRTC's: 0 opaque, 255 invisible. ``image``: URL of the placeholder of this place, empty: the layout's.
    """

    rect: Rect
    shown: Shown | None
    render_mode: int = CROP
    alpha: int = 0
    image: str = ""


def arrange(width: int, height: int, shown: Sequence[Shown], layout: Layout) -> list[Cell]:
    """The cells from back to front, for a canvas of even ``width`` and ``height``. ``shown`` in room-entry order."""
    if layout.mode == CUSTOM:
        return _custom(width, height, shown, layout)
    if layout.voices_hidden:
        shown = [s for s in shown if s.video]
    place = {GRID: _grid, FLOATING: _floating, SCREEN: _screen}[layout.mode]
    return [Cell(rect, who, layout.render_mode) for rect, who in place(_Canvas(width, height), shown, layout)]


@dataclass(frozen=True, slots=True)
class _Canvas:
    width: int
    height: int

    def rect(self, left: Fraction, top: Fraction, right: Fraction, bottom: Fraction) -> Rect:
        """From fractions of the canvas."""
        x, y = _even(left * self.width), _even(top * self.height)
        return Rect(x, y, _even(right * self.width) - x, _even(bottom * self.height) - y)


def _even(value: Fraction) -> int:
    """The nearest even number; half way up, so that it depends on the edge alone."""
    return 2 * int(value / 2 + Fraction(1, 2))


Placed = Iterator[tuple[Rect, Shown | None]]


def _grid(canvas: _Canvas, shown: Sequence[Shown], _: Layout) -> Placed:
    """Equal cells, row by row from the top left; those left over show the background."""
    shown = shown[:MOST_PICTURES]
    count = len(shown)
    columns = 1 if count <= 1 else 2 if count <= 4 else 3 if count <= 9 else 4 if count <= 16 else 5
    rows = 1 if count <= 2 else columns
    for index, who in enumerate(shown):
        row, column = divmod(index, columns)
        left, top = Fraction(column, columns), Fraction(row, rows)
        yield canvas.rect(left, top, left + Fraction(1, columns), top + Fraction(1, rows)), who


def _floating(canvas: _Canvas, shown: Sequence[Shown], layout: Layout) -> Placed:
    """One picture fills the canvas; the others stand on it in rows from the bottom left upwards."""
    shown = _within_limit(shown, layout)
    if not shown:
        return
    big = _find(shown, layout.big) or shown[0]
    yield canvas.rect(Fraction(0), Fraction(0), Fraction(1), Fraction(1)), big
    few = len(shown) <= 17
    columns = 4 if few else 5
    margin, size = (Fraction(12, 1000), Fraction(235, 1000)) if few else (Fraction(10, 1000), Fraction(188, 1000))
    for index, who in enumerate(s for s in shown if s is not big):
        row, column = divmod(index, columns)
        left = margin + column * (size + margin)
        bottom = 1 - margin - row * (size + margin)
        yield canvas.rect(left, bottom - size, left + size, bottom), who


def _screen(canvas: _Canvas, shown: Sequence[Shown], layout: Layout) -> Placed:
    """A big picture at the left, whose place stays its own while it is away; the others in columns at the right."""
    shown = _within_limit(shown, layout)
    big = _find(shown, layout.big)
    small = [s for s in shown if s is not big][: MOST_PICTURES - 1]
    count = len(small) + 1
    if count <= 9:
        rows = 4 if count <= 5 else 6 if count <= 7 else 8
        width, height = Fraction(1, rows + 1), Fraction(1, rows)
        columns = 1
    else:
        rows, columns = 8, 2
        width, height = Fraction(1, 10), Fraction(1, 8)
    edge = 1 - columns * width
    floor = Fraction(7, 8) if count > 17 else Fraction(1)

    def place(left: Fraction, top: Fraction, right: Fraction, bottom: Fraction) -> Rect:
        rect = canvas.rect(left, top, right, bottom)
        return Rect(canvas.width - rect.x - rect.width, rect.y, rect.width, rect.height) if layout.big_right else rect

    yield place(Fraction(0), Fraction(0), edge, floor), big
    for index, who in enumerate(small):
        column, row = divmod(index, rows)
        if column < columns:
            left, top = edge + column * width, row * height
        else:
            left, top = (index - rows * columns) * width, floor
        yield place(left, top, left + width, top + height), who


def _within_limit(shown: Sequence[Shown], layout: Layout) -> list[Shown]:
    """At most 25: the big one, and of the others those who entered first."""
    big = _find(shown, layout.big)
    others = [s for s in shown if s is not big][: MOST_PICTURES - (big is not None)]
    return [s for s in shown if s is big or s in others]


def _find(shown: Sequence[Shown], wanted: tuple[str, MediaName] | None) -> Shown | None:
    return next((s for s in shown if (s.user_id, s.media_id) == wanted), None)


def _custom(width: int, height: int, shown: Sequence[Shown], layout: Layout) -> list[Cell]:
    """Each entry where it says; a higher ImageLayer is in front, of equal ones the later entry. Who has no entry is not seen."""
    named = {(p.user_id, p.media_id) for p in layout.places if p.user_id}
    waiting = [s for s in shown if (s.user_id, s.media_id) not in named]
    cells: list[tuple[int, Cell]] = []
    for place in layout.places[:MOST_PICTURES]:
        if place.user_id:
            who = _find(shown, (place.user_id, place.media_id))
        else:
            who = next((s for s in waiting if s.media_id == place.media_id), None)
            waiting = [s for s in waiting if s is not who]
        rect = _clipped(place, width, height)
        if rect.width and rect.height:
            cells.append((place.layer, Cell(rect, who, place.render_mode, place.alpha, place.image)))
    by_layer: Callable[[tuple[int, Cell]], int] = lambda entry: entry[0]  # noqa: E731
    return [cell for _, cell in sorted(cells, key=by_layer)]


def _clipped(place: Place, width: int, height: int) -> Rect:
    """On even pixels, and inside the canvas, which may have lost a line to become even itself."""
    x, y = min(_even(Fraction(place.left)), width), min(_even(Fraction(place.top)), height)
    right, bottom = _even(Fraction(place.left + place.width)), _even(Fraction(place.top + place.height))
    return Rect(x, y, min(right, width) - x, min(bottom, height) - y)
