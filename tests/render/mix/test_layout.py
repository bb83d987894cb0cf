"""TRTC's layouts, statement by statement (seed, section MixLayoutMode), and what must hold on any canvas."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga.render.mix.layout import (
    CROP,
    CUSTOM,
    FIT,
    FLOATING,
    GRID,
    MOST_PICTURES,
    SCREEN,
    Cell,
    Layout,
    Place,
    Rect,
    Shown,
    arrange,
)

W, H = 3600, 2400
"""divides by what the rules divide by"""


def people(count: int) -> list[Shown]:
    return [Shown(f"user{number}", "main") for number in range(count)]


def rects(cells: Sequence[Cell]) -> list[Rect]:
    return [cell.rect for cell in cells]


def names(cells: Sequence[Cell]) -> list[str]:
    return [cell.shown.user_id if cell.shown else "" for cell in cells]


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 3), (9, 3, 3), (10, 4, 4), (16, 4, 4), (17, 5, 5), (25, 5, 5), (26, 5, 5)],
)
def test_the_grid_has_equal_cells_filled_row_by_row(count: int, columns: int, rows: int) -> None:
    cells = arrange(W, H, people(count), Layout(GRID))
    assert len(cells) == min(count, 25)
    width, height = W // columns, H // rows
    expected = [Rect(i % columns * width, i // columns * height, width, height) for i in range(len(cells))]
    assert rects(cells) == expected
    assert names(cells) == [f"user{i}" for i in range(len(cells))]


def test_the_grid_of_nobody_is_empty() -> None:
    assert arrange(W, H, [], Layout(GRID)) == []


@pytest.mark.parametrize("count", [1, 2, 5, 6, 16, 17])
def test_floating_up_to_17_stands_in_rows_of_four(count: int) -> None:
    big, *small = arrange(W, H, people(count), Layout(FLOATING))
    assert (big.rect, names([big])) == (Rect(0, 0, W, H), ["user0"])
    assert len(small) == count - 1
    for index, cell in enumerate(small):
        x = W * (12 + index % 4 * 247) / 1000
        y = H * (1000 - 247 - index // 4 * 247) / 1000
        assert abs(cell.rect.x - x) <= 1
        assert abs(cell.rect.y - y) <= 1
        assert abs(cell.rect.width - 0.235 * W) <= 2
        assert abs(cell.rect.height - 0.235 * H) <= 2


@pytest.mark.parametrize("count", [18, 25, 30])
def test_floating_beyond_17_stands_in_rows_of_five(count: int) -> None:
    small = arrange(W, H, people(count), Layout(FLOATING))[1:]
    assert len(small) == min(count, 25) - 1
    size = Rect(36, H - 24 - 452, 676, 452)  # margin, 0.188 of the canvas, edges to even pixels
    assert small[0].rect == size
    assert (small[4].rect.x, small[5].rect.x) == (2888, 36)
    assert small[5].rect.y < small[0].rect.y


def test_floating_shows_the_designated_user_big_and_the_first_while_that_one_is_away() -> None:
    layout = Layout(FLOATING, big=("user2", "main"))
    assert names(arrange(W, H, people(4), layout)) == ["user2", "user0", "user1", "user3"]
    assert names(arrange(W, H, people(2), layout)) == ["user0", "user1"]


def test_the_designated_user_is_among_the_25_however_late_it_came() -> None:
    for mode in (FLOATING, SCREEN):
        found = names(arrange(W, H, people(30), Layout(mode, big=("user29", "main"))))
        assert found == ["user29", *(f"user{i}" for i in range(24))]


@pytest.mark.parametrize(
    ("count", "small", "big"),
    [
        (2, (W // 5, H // 4), (4 * W // 5, H)),
        (5, (W // 5, H // 4), (4 * W // 5, H)),
        (6, (W / 7, H / 6), (6 * W / 7, H)),
        (7, (W / 7, H / 6), (6 * W / 7, H)),
        (8, (W / 9, H / 8), (8 * W / 9, H)),
        (9, (W / 9, H / 8), (8 * W / 9, H)),
        (10, (W // 10, H // 8), (4 * W // 5, H)),
        (17, (W // 10, H // 8), (4 * W // 5, H)),
        (18, (W // 10, H // 8), (4 * W // 5, 7 * H // 8)),
        (25, (W // 10, H // 8), (4 * W // 5, 7 * H // 8)),
    ],
)
def test_screen_sharing_sizes(count: int, small: tuple[float, float], big: tuple[float, float]) -> None:
    first, *others = arrange(W, H, people(count), Layout(SCREEN, big=("user0", "main")))
    assert names([first]) == ["user0"]
    assert (first.rect.x, first.rect.y) == (0, 0)
    assert abs(first.rect.width - big[0]) <= 1
    assert abs(first.rect.height - big[1]) <= 1
    assert len(others) == count - 1
    for cell in others:
        assert abs(cell.rect.width - small[0]) <= 2
        assert abs(cell.rect.height - small[1]) <= 2


def test_screen_sharing_fills_columns_from_the_top_and_then_a_row_at_the_bottom() -> None:
    cells = arrange(W, H, people(25), Layout(SCREEN, big=("user0", "main")))[1:]
    cell_w, cell_h = W // 10, H // 8
    for index, cell in enumerate(cells):
        if index < 8:
            expected = (8 * cell_w, index * cell_h)
        elif index < 16:
            expected = (9 * cell_w, (index - 8) * cell_h)
        else:
            expected = ((index - 16) * cell_w, 7 * cell_h)
        assert (cell.rect.x, cell.rect.y) == expected


def test_screen_sharing_keeps_the_place_of_a_big_picture_that_is_away_or_not_designated() -> None:
    for layout in (Layout(SCREEN), Layout(SCREEN, big=("screen", "aux"))):
        first, *others = arrange(W, H, people(5), layout)
        assert first.shown is None
        assert abs(first.rect.width - 6 * W / 7) <= 1  # the reserved place counts: six pictures
        assert names(others) == [f"user{i}" for i in range(5)]


def test_aux_can_be_the_big_one() -> None:
    shown = [Shown("a", "main"), Shown("b", "main"), Shown("b", "aux")]
    cells = arrange(W, H, shown, Layout(SCREEN, big=("b", "aux")))
    assert [c.shown for c in cells] == [shown[2], shown[0], shown[1]]


@pytest.mark.parametrize("count", [3, 7, 9, 17, 25])
def test_screen_sharing_to_the_right_is_the_mirror_image(count: int) -> None:
    left = arrange(W, H, people(count), Layout(SCREEN, big=("user0", "main")))
    right = arrange(W, H, people(count), Layout(SCREEN, big=("user0", "main"), big_right=True))
    assert names(left) == names(right)
    for a, b in zip(rects(left), rects(right), strict=True):
        assert (b.x, b.y, b.width, b.height) == (W - a.x - a.width, a.y, a.width, a.height)


@pytest.mark.parametrize("mode", [GRID, FLOATING, SCREEN])
def test_who_only_speaks_takes_up_a_place_unless_that_is_switched_off(mode: int) -> None:
    shown = [Shown("a", "main"), Shown("voice", "main", video=False), Shown("c", "main")]
    assert "voice" in names(arrange(W, H, shown, Layout(mode)))
    assert "voice" not in names(arrange(W, H, shown, Layout(mode, voices_hidden=True)))


def test_custom_places_are_pixels_layered_and_filled_in_order_of_entry() -> None:
    places = (
        Place(0, 0, 400, 300, layer=2),
        Place(100, 100, 400, 300, user_id="user1", layer=1, render_mode=FIT, alpha=100, image="http://x/y.png"),
        Place(600, 0, 200, 200, user_id="nobody"),
        Place(800, 0, 200, 200),
        Place(0, 600, 200, 200, media_id="aux"),
    )
    shown = [*people(4), Shown("user0", "aux")]
    cells = arrange(W, H, shown, Layout(CUSTOM, places=places, render_mode=FIT))
    assert names(cells) == ["", "user2", "user0", "user1", "user0"]
    assert cells[2].shown == Shown("user0", "aux")
    front = cells[-1]
    assert (front.rect, front.render_mode) == (Rect(0, 0, 400, 300), CROP)
    second = cells[-2]
    assert (second.rect, second.render_mode, second.alpha, second.image) == (Rect(100, 100, 400, 300), FIT, 100, "http://x/y.png")
    assert rects(cells[:1]) == [Rect(600, 0, 200, 200)]


def test_custom_places_without_an_extent_or_outside_are_not_drawn() -> None:
    places = (Place(0, 0, 0, 100), Place(W, 0, 100, 100), Place(W - 50, 0, 100, 100))
    assert rects(arrange(W, H, people(3), Layout(CUSTOM, places=places))) == [Rect(W - 50, 0, 50, 100)]


even = st.integers(1, 960).map(lambda n: 2 * n)
modes = st.sampled_from([GRID, FLOATING, SCREEN])


@given(even, even, st.integers(0, 30), modes, st.booleans(), st.booleans())
def test_on_any_canvas_cells_are_even_inside_and_do_not_overlap(
    width: int, height: int, count: int, mode: int, right: bool, designated: bool
) -> None:
    layout = Layout(mode, big=("user1", "main") if designated else None, big_right=right)
    cells = arrange(width, height, people(count), layout)
    assert len(cells) <= MOST_PICTURES
    assert len({c.shown for c in cells}) == len(cells)
    for rect in rects(cells):
        assert all(v % 2 == 0 and v >= 0 for v in (rect.x, rect.y, rect.width, rect.height))
        assert rect.x + rect.width <= width
        assert rect.y + rect.height <= height
    flat = rects(cells)[1:] if mode == FLOATING else rects(cells)
    for a, b in combinations(flat, 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart or 0 in (a.width, a.height, b.width, b.height)


@given(even, even, st.sampled_from([4, 9, 16, 25]), st.sampled_from([GRID, SCREEN]))
def test_full_layouts_have_no_seams(width: int, height: int, count: int, mode: int) -> None:
    """A full grid, and screen sharing with 25, cover every pixel; 9 screen sharing pictures too."""
    if mode == SCREEN and count in (4, 16):
        count += 1  # 5 and 17 are the full ones
    cells = arrange(width, height, people(count), Layout(mode, big=("user0", "main")))
    assert sum(r.width * r.height for r in rects(cells)) == width * height


@given(even, even, st.integers(1, 25), st.sampled_from([GRID, FLOATING]))
def test_equal_cells_differ_by_rounding_only(width: int, height: int, count: int, mode: Literal[1, 3]) -> None:
    cells = rects(arrange(width, height, people(count), Layout(mode)))
    same = cells[1:] if mode == FLOATING else cells
    for sizes in ([r.width for r in same], [r.height for r in same]):
        assert not sizes or max(sizes) - min(sizes) <= 2
