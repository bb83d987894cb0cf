"""RenderMode, statement by statement (seed, MixLayout.RenderMode), and what must hold for any picture in any cell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga.render.mix.canvas import contains
from rokuga.render.mix.fit import MOST_ENLARGED, Fit, fit
from rokuga.render.mix.layout import CROP, FIT, SMART, STRETCH, Rect

CELL = Rect(100, 60, 400, 400)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (STRETCH, Fit(400, 400, 0, 0, CELL)),
        (CROP, Fit(800, 400, 200, 0, CELL)),
        (FIT, Fit(400, 200, 0, 0, Rect(100, 160, 400, 200))),
        # A fifth of the width of 500 is cut off: 250 high, bars of 75 (which are not even: 74 and 76).
        (SMART, Fit(500, 250, 50, 0, Rect(100, 134, 400, 250))),
    ],
)
def test_a_wide_picture_in_a_square_cell(mode: int, expected: Fit) -> None:
    assert fit(640, 320, CELL, mode) == expected


@pytest.mark.parametrize("mode", [STRETCH, CROP, FIT, SMART])
def test_a_picture_of_the_cells_shape_fills_it_exactly(mode: int) -> None:
    assert fit(200, 200, CELL, mode) == Fit(400, 400, 0, 0, CELL)


def test_smart_is_crop_as_long_as_no_more_than_a_fifth_is_cut_off() -> None:
    assert fit(500, 400, CELL, SMART) == fit(500, 400, CELL, CROP) == Fit(500, 400, 50, 0, CELL)
    assert fit(400, 500, CELL, SMART) == fit(400, 500, CELL, CROP) == Fit(400, 500, 0, 50, CELL)
    assert fit(504, 400, CELL, SMART).rect.height < 400


pixels = st.integers(1, 2000)
evens = st.integers(1, 960).map(lambda n: 2 * n)
cells = st.builds(Rect, st.integers(0, 100).map(lambda n: 2 * n), st.integers(0, 100).map(lambda n: 2 * n), evens, evens)


@given(pixels, pixels, cells, st.sampled_from([STRETCH, CROP, FIT, SMART]))
def test_any_picture_in_any_cell(width: int, height: int, cell: Rect, mode: int) -> None:
    place = fit(width, height, cell, mode)
    rect = place.rect
    assert all(v % 2 == 0 for v in (place.width, place.height, place.left, place.top, rect.x, rect.y, rect.width, rect.height))
    assert contains(cell, rect)
    assert rect.width
    assert rect.height
    assert 0 <= place.left <= place.width - rect.width
    assert 0 <= place.top <= place.height - rect.height
    assert abs((place.width - rect.width) - 2 * place.left) <= 2, "cut in the middle"
    assert abs((cell.width - rect.width) - 2 * (rect.x - cell.x)) <= 2, "bars of equal width"
    if mode in (STRETCH, CROP):
        assert rect == cell
    if mode == FIT:
        assert (place.left, place.top, place.width, place.height) == (0, 0, rect.width, rect.height), "nothing is cut"
        assert rect.width == cell.width or rect.height == cell.height
    if mode == SMART:
        assert rect.width == cell.width or rect.height == cell.height
        assert rect.width >= 0.8 * place.width - 2
        assert rect.height >= 0.8 * place.height - 2
    enlarged = place.width == MOST_ENLARGED * cell.width or place.height == MOST_ENLARGED * cell.height
    if mode != STRETCH and not enlarged:
        assert abs(place.width * height - place.height * width) <= max(width, height) * 2, "not distorted beyond even sizes"
