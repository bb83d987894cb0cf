"""From who is there and how it shall look to the scenes of a segment. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rokuga.render.mix.audience import Audience
from rokuga.render.mix.layout import Cell, Shown, arrange
from rokuga.render.mix.reel import Reel
from rokuga.render.mix.scene import Scene, Tile
from rokuga.render.mix.settings import Look, Output


@dataclass(frozen=True, slots=True)
class View:
    """How the picture is to look: streams in room-entry order, each with the number of its video track (0: none), and the parameters.

    ``params``: ``layout`` is MixLayoutParams, ``images`` leads from URLs to names of files.
    """

    shown: tuple[tuple[Shown, int], ...]
    params: dict[str, Any]

    @staticmethod
    def of(audience: Audience, params: dict[str, Any]) -> "View":
        return View(tuple((shown, audience.video_track(shown)) for shown in audience.shown()), params)

    def save(self) -> list[Any]:
        """Plain JSON."""
        return [[[s.user_id, s.media_id, s.video, track] for s, track in self.shown], self.params]

    @staticmethod
    def load(state: list[Any]) -> "View":
        return View(tuple((Shown(user, media, video), track) for user, media, video, track in state[0]), state[1])


def stage(
    out: Output, pts: Sequence[int], end: int, views: Sequence[tuple[int, View]], reels: Mapping[int, Reel], black: bool
) -> tuple[list[int], tuple[Scene, ...]]:
    """The video tracks that are seen, which scenes refer to by their index, and the scenes of the pictures at ``pts``.

    ``views``: from which picture on how it looks. ``black``: a camera that has stopped shows black (FillType 1), else its last picture.
    """
    numbers: list[int] = []
    scenes: list[Scene] = []
    for index, (first, view) in enumerate(views):
        after = views[index + 1][0] if index + 1 < len(views) else len(pts)
        look = Look.of(view.params["layout"])
        tracks = dict(view.shown)
        cells = arrange(out.width, out.height, list(tracks), look.layout)
        stops = {number: _stopped(reels.get(number), pts, first, after, end) if black else [] for number in tracks.values() if number}
        borders = sorted({first, *(n for spans in stops.values() for span in spans for n in span if first < n < after)})
        for border in borders:
            dark = {number for number, spans in stops.items() if any(a <= border < b for a, b in spans)}
            tiles = tuple(_tile(cell, tracks, numbers, look, view.params["images"], dark) for cell in cells)
            background = view.params["images"].get(look.background_image, "")
            scenes.append(Scene(border, tiles, look.background, background, look.background_mode))
    return numbers, tuple(scenes)


def _stopped(reel: Reel | None, pts: Sequence[int], first: int, after: int, end: int) -> list[tuple[int, int]]:
    """Between which pictures a camera stands still: half-open."""
    if reel is None:
        return []
    until = pts[after] if after < len(pts) else end
    spans = reel.stops(pts[first], until)
    return [(_number(pts, first, since), _number(pts, first, back)) for since, back in spans]


def _number(pts: Sequence[int], first: int, at: int) -> int:
    return next((n for n in range(first, len(pts)) if pts[n] >= at), len(pts))


def _tile(cell: Cell, tracks: Mapping[Shown, int], numbers: list[int], look: Look, images: Mapping[str, str], dark: set[int]) -> Tile:
    number = tracks[cell.shown] if cell.shown else 0
    source = None
    if number:
        if number not in numbers:
            numbers.append(number)
        source = numbers.index(number)
    image = images.get(cell.image or look.placeholder, "") if look.placeholders else ""
    return Tile(cell.rect, source, cell.render_mode, cell.alpha, image, number in dark)
