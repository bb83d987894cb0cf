"""Painting only what changed gives what painting everything gives; transparency is exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga.render.mix.canvas import Canvas, Layer, views
from rokuga.render.mix.colour import Rgb, yuv
from rokuga.render.mix.layout import Rect
from rokuga.render.mix.planes import Plane, Planes

WIDTH, HEIGHT = 48, 32
WHOLE = Rect(0, 0, WIDTH, HEIGHT)
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def noise(height: int, width: int, seed: int) -> Plane:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def picture(rect: Rect, seed: int, transparency: str, alpha: int) -> Layer:
    half = (rect.height // 2, rect.width // 2)
    y, u, v = noise(rect.height, rect.width, seed), noise(*half, seed + 1), noise(*half, seed + 2)
    a = {"none": np.full_like(y, 255), "some": noise(rect.height, rect.width, seed + 3)}[transparency]
    return Layer.image(rect, Planes(y, u, v, a), alpha)


def pixels(canvas: Canvas) -> bytes:
    return b"".join(plane.tobytes() for plane in views(canvas.frame))


def colour_at(canvas: Canvas, x: int, y: int) -> tuple[int, int, int]:
    luma, u, v = views(canvas.frame)
    return int(luma[y, x]), int(u[y // 2, x // 2]), int(v[y // 2, x // 2])


evens = st.integers(0, 11).map(lambda n: 2 * n)
rects = st.builds(
    lambda x, y, w, h: Rect(x, y, w + 2, h + 2), evens, st.integers(0, 5).map(lambda n: 2 * n), evens, evens.filter(lambda h: h < 20)
)
alphas = st.sampled_from([0, 0, 90, 255])
layers = st.builds(picture, rects | st.just(WHOLE), st.integers(0, 1000), st.sampled_from(["none", "some"]), alphas)
changes = st.lists(st.tuples(st.integers(0, 4), st.none() | layers | st.integers(0, 1000)), max_size=3)
"""another layer in that place, or one like that there with other pixels"""


@pytest.mark.live
@given(st.lists(layers, min_size=5, max_size=5), st.lists(changes, max_size=5))
def test_painting_what_changed_is_painting_everything(first: list[Layer], later: list[list[tuple[int, Layer | int | None]]]) -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    ground = Layer.solid(WHOLE, RED)
    shown: list[Layer | None] = list(first)
    for step in [[], *later]:
        for number, change in step:
            old = shown[number]
            if not isinstance(change, int):
                shown[number] = change
            elif old is not None:
                shown[number] = picture(old.rect, change, "none", 0 if old.opaque else 90)
        canvas.paint([ground, *shown])
        again = Canvas(WIDTH, HEIGHT)
        again.paint([ground, *shown])
        assert pixels(canvas) == pixels(again)


def test_a_layer_keeps_its_place_and_takes_new_pixels() -> None:
    """The usual case: the same places, new pictures."""
    ground, back, front = Layer.solid(WHOLE, BLACK), Layer.solid(Rect(0, 0, 24, 16), RED), Layer.solid(Rect(8, 8, 24, 16), GREEN)
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.paint([ground, back, front])
    canvas.paint([ground, Layer.solid(back.rect, BLUE), front])
    assert [colour_at(canvas, *at) for at in ((0, 0), (7, 7), (8, 8), (31, 23), (32, 24))] == list(
        map(yuv, (BLUE, BLUE, GREEN, GREEN, BLACK))
    )


def test_only_what_changed_is_touched() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    ground, left, right = (Layer.solid(rect, WHITE) for rect in (WHOLE, Rect(0, 0, 24, 32), Rect(24, 0, 24, 32)))
    canvas.paint([ground, left, right])
    for plane in views(canvas.frame):
        plane[...] = 77
    canvas.paint([ground, left, right])
    assert all((plane == 77).all() for plane in views(canvas.frame))
    canvas.paint([ground, left, Layer.solid(right.rect, RED)])
    assert {colour_at(canvas, x, 5) for x in range(24)} == {(77, 77, 77)}
    assert {colour_at(canvas, x, 5) for x in range(24, 48)} == {yuv(RED)}


def test_what_is_outside_the_canvas_is_cut_off() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    ground = Layer.solid(WHOLE, BLACK)
    canvas.paint(
        [ground, Layer.solid(Rect(40, 20, 20, 20), RED), Layer.solid(Rect(-4, -2, 8, 8), GREEN, 1), Layer.solid(Rect(48, 0, 8, 8), BLUE)]
    )
    assert [colour_at(canvas, *at) for at in ((39, 31), (40, 31), (47, 20), (47, 0), (4, 0))] == list(
        map(yuv, (BLACK, RED, RED, BLACK, BLACK))
    )
    assert colour_at(canvas, 3, 5)[0] > yuv(BLACK)[0]


def test_who_leaves_shows_what_was_behind() -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    ground, back, front = Layer.solid(WHOLE, BLACK), Layer.solid(Rect(0, 0, 24, 16), RED), Layer.solid(Rect(8, 8, 24, 16), GREEN)
    canvas.paint([ground, back, front])
    canvas.paint([ground, back, None])
    assert [colour_at(canvas, *at) for at in ((8, 8), (24, 16), (31, 23))] == list(map(yuv, (RED, BLACK, BLACK)))


@pytest.mark.parametrize("alpha", [0, 1, 77, 128, 254, 255])
def test_a_transparent_picture_is_mixed_with_what_is_behind_it(alpha: int) -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.paint([Layer.solid(WHOLE, RED), Layer.solid(Rect(0, 0, 2, 2), WHITE, alpha)])
    expected = tuple(round((back * alpha + front * (255 - alpha)) / 255) for back, front in zip(yuv(RED), yuv(WHITE), strict=True))
    assert colour_at(canvas, 0, 0) == expected
    assert colour_at(canvas, 2, 0) == yuv(RED)


def test_mixing_is_exact_for_all_values() -> None:
    values = np.arange(256)
    front, back = (np.array(v, np.uint8).reshape(256, 256) for v in np.meshgrid(values, values))
    grey: Plane = np.full((128, 128), 128, np.uint8)
    rect = Rect(0, 0, 256, 256)
    opaque: Plane = np.full((256, 256), 255, np.uint8)
    for opacity in (0, 1, 60, 127, 128, 200, 254):
        canvas = Canvas(256, 256)
        a = np.full((256, 256), opacity, np.uint8)
        canvas.paint([Layer.image(rect, Planes(back, grey, grey, opaque)), Layer.image(rect, Planes(front, grey, grey, a))])
        exact = (back.astype(int) * (255 - opacity) + front.astype(int) * opacity) / 255
        assert np.abs(views(canvas.frame)[0] - exact).max() <= 0.5
        assert (views(canvas.frame)[1] == 128).all()


def test_an_images_transparency_and_the_places_add_up() -> None:
    colour: Rgb = (40, 80, 200)
    y, u, v = (np.full(size, value, np.uint8) for size, value in zip(((2, 4), (1, 2), (1, 2)), yuv(colour), strict=True))
    a: Plane = np.array([[255, 255, 0, 0], [255, 255, 0, 128]], np.uint8)
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.paint([Layer.solid(WHOLE, WHITE), Layer.image(Rect(0, 0, 4, 2), Planes(y, u, v, a), alpha=51)])
    half_seen = [round(back * 0.2 + front * 0.8) for back, front in zip(yuv(WHITE), yuv(colour), strict=True)]
    assert list(colour_at(canvas, 0, 0)) == half_seen
    assert colour_at(canvas, 2, 0)[0] == yuv(WHITE)[0]
    luma, blue, _ = yuv(WHITE)
    seen = 128 / 255 * 0.8
    assert abs(colour_at(canvas, 3, 1)[0] - (luma * (1 - seen) + yuv(colour)[0] * seen)) <= 1
    # Chroma of four pixels, of which one is half seen.
    assert abs(colour_at(canvas, 3, 1)[1] - (blue * (1 - seen / 4) + yuv(colour)[1] * seen / 4)) <= 1
