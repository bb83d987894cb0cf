"""Segments of a mix, decoded and looked at: who is where, in every output frame."""

from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest

from rokuga.render.mix.colour import Rgb, planes_of, yuv
from rokuga.render.mix.layout import CROP, CUSTOM, FIT, FLOATING, GRID, SCREEN, STRETCH, Layout, Place, Rect, Shown, arrange
from rokuga.render.mix.planes import Planes
from rokuga.render.mix.scene import Scene, Tile
from rokuga.render.mix.video import AT_ONCE, VideoMixer
from tests.render.mix.film import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    RED,
    YELLOW,
    Journal,
    NoImages,
    colour_at,
    count,
    film,
    latest,
    near,
    plan,
    scene,
    watch,
    who,
)

pytestmark = pytest.mark.live

LEFT, RIGHT, WHOLE = Rect(0, 0, 320, 360), Rect(320, 0, 320, 360), Rect(0, 0, 640, 360)
BLACK: Rgb = (0, 0, 0)


def mixer(journal: Journal) -> VideoMixer:
    return VideoMixer(journal.payload, NoImages())


LAYOUTS = {
    "grid": Layout(GRID, render_mode=STRETCH),
    "floating": Layout(FLOATING, render_mode=STRETCH),
    "screen": Layout(SCREEN, big=("user2", "main"), render_mode=STRETCH),
    "custom": Layout(
        CUSTOM,
        places=(
            Place(0, 0, 640, 360, "user1", render_mode=STRETCH, layer=0),
            Place(20, 120, 200, 100, render_mode=STRETCH, layer=2),
            Place(400, 220, 200, 100, "user0", render_mode=STRETCH, layer=1),
        ),
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_everybody_is_in_place_with_the_latest_picture_in_every_frame(name: str) -> None:
    """Cameras of other rates and phases than the output's."""
    journal = Journal()
    tracks = [
        journal.track(film(COLOURS[n], 40, gop=gop), begin, fps)
        for n, (begin, fps, gop) in enumerate([(0, 15, 15), (-4000, 30, 40), (-100, 10, 7), (-2500, 24, 5)])
    ]
    shown = [Shown(f"user{n}", "main") for n in range(4)]
    cells = arrange(640, 360, shown, LAYOUTS[name])
    people = [(cell.rect, shown.index(cell.shown)) for cell in cells if cell.shown]
    assert len(people) == (3 if name == "custom" else 4)
    segment = plan(tracks, [Scene(0, tuple(Tile(rect, n, STRETCH) for rect, n in people))], (0, 18))
    for seen, pts in zip(watch(mixer(journal), segment), segment.pts, strict=True):
        for rect, number in people:
            assert who(seen, rect) == COLOURS[number]
            assert count(seen, rect) == latest(tracks[number], pts)


def test_frames_come_at_a_constant_rate_and_keyframes_at_the_beginning_and_each_gop() -> None:
    journal = Journal()
    segment = plan([journal.track(film(RED, 50))], [scene([WHOLE])], (0, 50), gop_seconds=1)
    units = list(mixer(journal).segment(segment))
    assert [pts for _, pts, _ in units] == [6000 * n for n in range(50)]
    assert [n for n, (_, _, keyframe) in enumerate(units) if keyframe] == [0, 15, 30, 45]


def test_streams_are_decoded_in_turn_for_several_pictures() -> None:
    """One decoder that goes on is cheaper than many in turn, and a scene ends such a run."""
    journal = Journal()
    end = 2 * AT_ONCE + 2
    tracks = [journal.track(film(colour, end)) for colour in (RED, GREEN)]
    scenes = [scene((LEFT, RIGHT)), scene((LEFT, RIGHT), first=AT_ONCE + 1)]
    for number, seen in enumerate(watch(mixer(journal), plan(tracks, scenes, (0, end)))):
        assert [(who(seen, rect), count(seen, rect)) for rect in (LEFT, RIGHT)] == [(RED, number % 8), (GREEN, number % 8)]
    borders = [0, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 1, end]
    assert [(p.file, p.offset) for p in journal.read] == [(file, n) for turn in pairwise(borders) for file in (2, 1) for n in range(*turn)]


def test_a_scene_begins_with_its_very_frame() -> None:
    journal = Journal()
    tracks = [journal.track(film(RED, 15)), journal.track(film(GREEN, 15))]
    scenes = [scene([WHOLE]), scene([LEFT, RIGHT], 4), Scene(9, (Tile(WHOLE, 1, STRETCH),)), Scene(10, ())]
    for number, seen in enumerate(watch(mixer(journal), plan(tracks, scenes))):
        expected = (RED, RED) if number < 4 else (RED, GREEN) if number < 9 else (GREEN, GREEN) if number < 10 else (None, None)
        assert (who(seen, LEFT), who(seen, RIGHT)) == expected, number
        if number < 10:
            assert count(seen, WHOLE if number < 4 or number > 8 else RIGHT) == number % 8
    assert near(seen, 100, 100, BLACK)


def test_a_source_that_stops_keeps_its_last_picture_and_disturbs_nobody() -> None:
    journal = Journal()
    tracks = [journal.track(film(RED, 5)), journal.track(film(GREEN, 15))]
    for number, seen in enumerate(watch(mixer(journal), plan(tracks, [scene([LEFT, RIGHT])]))):
        assert (who(seen, LEFT), count(seen, LEFT)) == (RED, min(number, 4))
        assert (who(seen, RIGHT), count(seen, RIGHT)) == (GREEN, number % 8)


def test_a_source_that_has_not_begun_shows_what_is_behind_it() -> None:
    journal = Journal()
    tracks = [journal.track(film(RED, 15), begin=6 * 6000 - 10), journal.track(film(GREEN, 15))]
    segment = plan(tracks, [Scene(0, (Tile(WHOLE, 1, STRETCH), Tile(Rect(160, 90, 320, 180), 0, STRETCH)))])
    for number, seen in enumerate(watch(mixer(journal), segment)):
        assert who(seen, WHOLE) == (GREEN if number < 6 else RED)


def test_a_tile_that_shall_be_black_is_and_its_source_is_not_decoded() -> None:
    journal = Journal()
    red, green = journal.track(film(RED, 15)), journal.track(film(GREEN, 15))
    tiles = (Tile(LEFT, 0, STRETCH, black=True), Tile(RIGHT, 1, STRETCH))
    for seen in watch(mixer(journal), plan([red, green], [Scene(0, tiles, background=GREY)])):
        assert near(seen, 160, 180, BLACK)
        assert who(seen, RIGHT) == GREEN
    assert {position.file for position in journal.read} == {green[0].ref.position.file}


def test_the_later_tile_is_in_front() -> None:
    journal = Journal()
    tracks = [journal.track(film(colour, 15)) for colour in (RED, GREEN, BLUE)]
    segment = plan(tracks, [scene([Rect(0, 0, 400, 240), Rect(200, 60, 400, 240), Rect(300, 120, 40, 200)])])
    for number, seen in enumerate(watch(mixer(journal), segment)):
        assert near(seen, 100, 150, RED)
        assert near(seen, 250, 180, GREEN)
        assert near(seen, 320, 180, BLUE)
        assert count(seen, Rect(200, 60, 400, 240)) == number % 8


def test_a_transparent_tile_lets_through_what_moves_behind_it() -> None:
    journal = Journal()
    tracks = [journal.track(film(RED, 15)), journal.track(film(BLUE, 1))]
    segment = plan(tracks, [Scene(0, (Tile(WHOLE, 0, STRETCH), Tile(Rect(0, 0, 640, 180), 1, STRETCH, alpha=102)))])
    mixed: Rgb = (int(200 * 0.4 + 40 * 0.6), int(30 * 0.4 + 40 * 0.6), int(30 * 0.4 + 200 * 0.6))
    for number, seen in enumerate(watch(mixer(journal), segment)):
        assert near(seen, 320, 150, mixed)
        assert near(seen, 320, 300, RED)
        # The mark behind, below the one in front: 0.4 of white and 0.6 of blue.
        column = number % 8 * 80 + 40
        row = seen[0][70]
        assert all((row[c * 80 + 40] > row[column] - 20) == (c == column // 80) for c in range(8))


@pytest.mark.parametrize("alpha", [0, 255])
def test_what_is_not_seen_is_not_decoded(alpha: int) -> None:
    """Behind another picture, or invisible."""
    journal = Journal()
    back, front = journal.track(film(RED, 15)), journal.track(film(GREEN, 15))
    hidden = front if alpha else back
    tiles = (Tile(Rect(20, 20, 100, 100), 0, CROP), Tile(WHOLE, 1, STRETCH, alpha=alpha))
    for seen in watch(mixer(journal), plan([back, front], [Scene(0, tiles)])):
        assert near(seen, 70, 110, RED if alpha else GREEN)
    assert hidden[0].ref.position.file not in {position.file for position in journal.read}


def test_who_was_hidden_is_up_to_date_when_it_is_seen_again() -> None:
    journal = Journal()
    tracks = [journal.track(film(RED, 15, gop=4)), journal.track(film(GREEN, 15))]
    hidden = Scene(3, (Tile(LEFT, 0, STRETCH), Tile(WHOLE, 1, STRETCH)))
    for number, seen in enumerate(watch(mixer(journal), plan(tracks, [scene([LEFT, RIGHT]), hidden, scene([LEFT, RIGHT], 10)]))):
        if number < 3 or number >= 10:
            assert (who(seen, LEFT), count(seen, LEFT)) == (RED, number % 8)
        else:
            assert who(seen, LEFT) == GREEN
    # The two groups of pictures from 4 to 7 and from 12 on: of the first nobody has seen anything.
    assert not {5, 6} & {p.offset for p in journal.read if p.file == tracks[0][0].ref.position.file}


def test_odd_output_rates_and_sizes() -> None:
    journal = Journal()
    track = journal.track(film(YELLOW, 30))
    segment = plan([track], [scene([Rect(0, 0, 358, 638)])], (7, 31), (358, 638), fps=23)
    for seen, pts in zip(watch(mixer(journal), segment), segment.pts, strict=True):
        assert seen[0].shape == (638, 358)
        assert count(seen, Rect(0, 0, 358, 638)) == latest(track, pts)


class Banner:
    """A watermark: white, half seen, and another one from some second on."""

    def __init__(self, rect: Rect, *values: int) -> None:
        half = (rect.height // 2, rect.width // 2)
        grey = np.full(half, 128, np.uint8)
        self.rect = rect
        self.asked: list[int] = []
        a = np.full((rect.height, rect.width), 128, np.uint8)
        self._planes = [Planes(np.full((rect.height, rect.width), value, np.uint8), grey, grey, a) for value in values]

    def planes(self, utc_ms: int) -> tuple[Rect, Planes] | None:
        self.asked.append(utc_ms)
        second = utc_ms // 1000
        return (self.rect, self._planes[second]) if second < len(self._planes) else None


def test_marks_stand_on_everything_at_their_time() -> None:
    journal = Journal()
    marks = Banner(Rect(500, 300, 100, 40), 235, 16), Banner(Rect(560, 320, 60, 40), 16)
    segment = plan([journal.track(film(GREY, 40))], [scene([WHOLE], marks=marks)], (0, 35))
    grey = yuv(GREY)[0]
    for number, seen in enumerate(watch(mixer(journal), segment)):
        light, dark = (235 + grey) / 2, (16 + grey) / 2
        first = light if number < 15 else dark if number < 30 else grey
        both = (first + 16) / 2 if number < 15 else first
        assert abs(colour_at(seen, 520, 310)[0] - first) <= 4, number
        assert abs(colour_at(seen, 580, 330)[0] - both) <= 4, number
        assert near(seen, 490, 310, GREY)
        assert count(seen, WHOLE) == number % 8
    assert marks[0].asked == [n * 1000 // 15 for n in range(35)]


class Pattern:
    """Images of one colour each, which show that they were asked for in the right place: the right half is transparent."""

    COLOURS: ClassVar = {"sea.png": BLUE, "face.png": YELLOW}

    def __init__(self) -> None:
        self.asked: list[tuple[str, Rect, int]] = []

    def image(self, name: str, rect: Rect, render_mode: int) -> tuple[Rect, Planes] | None:
        self.asked.append((name, rect, render_mode))
        if name not in self.COLOURS:
            return None
        rgba = np.zeros((rect.height, rect.width, 4), np.uint8)
        rgba[..., :3], rgba[:, : rect.width // 2, 3] = self.COLOURS[name], 255
        return rect, planes_of(rgba)


def test_background_and_placeholders() -> None:
    journal, images = Journal(), Pattern()
    late = journal.track(film(RED, 10), begin=5 * 6000)
    tiles = (
        Tile(Rect(20, 20, 200, 100), 0, STRETCH, image="face.png"),
        Tile(Rect(20, 200, 200, 100), None, CROP, image="face.png"),
        Tile(Rect(400, 20, 200, 100), None, CROP),
        Tile(Rect(400, 200, 200, 100), None, CROP, image="missing.png"),
        Tile(Rect(240, 20, 60, 100), None, CROP, image="face.png", black=True),
    )
    segment = plan([late], [Scene(0, tiles, GREEN, "sea.png", FIT)], (0, 10))
    for number, seen in enumerate(watch(VideoMixer(journal.payload, images), segment)):
        assert near(seen, 10, 150, BLUE)
        assert near(seen, 340, 150, GREEN)
        assert near(seen, 60, 70, YELLOW if number < 5 else RED)
        assert near(seen, 180, 70, BLUE if number < 5 else RED), "behind the transparent half"
        assert near(seen, 60, 250, YELLOW)
        assert near(seen, 180, 250, BLUE)
        assert near(seen, 450, 70, GREEN)
        assert near(seen, 450, 250, GREEN)
        assert near(seen, 270, 70, BLACK)
    wanted = [(tile.image, tile.rect, tile.render_mode) for tile in tiles if tile.image and not tile.black]
    assert sorted(images.asked, key=str) == sorted([*wanted, ("sea.png", WHOLE, FIT)], key=str), "each once"
