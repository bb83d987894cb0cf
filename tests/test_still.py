"""Images from outside: what is taken, upright and with its transparency, and what is refused."""

import random
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rokuga.errors import ImageError
from rokuga.still import MOST_BYTES, MOST_SIDE, decoded
from tests.kit.stills import bomb, file_of, jpg, png


@pytest.mark.parametrize(("data", "kind"), [(png(), "png"), (jpg(), "jpg")])
def test_kind_size_and_colour(data: bytes, kind: str) -> None:
    found = decoded(data)
    assert (found.kind, found.image.size, found.image.mode) == (kind, (8, 4), "RGBA")
    red, green, blue, alpha = found.image.getpixel((7, 3))  # type: ignore[misc]
    assert red > 250
    assert green < 5
    assert blue < 5
    assert alpha == 255


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("RGBA", (2, 2), (10, 20, 30, 40)), (10, 20, 30, 40)),
        (Image.new("LA", (2, 2), (50, 60)), (50, 50, 50, 60)),
        (Image.new("L", (2, 2), 70), (70, 70, 70, 255)),
        (Image.new("1", (2, 2), 1), (255, 255, 255, 255)),
        (Image.new("P", (2, 2), 0), (0, 0, 0, 255)),
        (Image.new("I;16", (2, 2), 40000), (155, 155, 155, 255)),
    ],
)
def test_kinds_of_pixels(image: Image.Image, pixel: tuple[int, int, int, int]) -> None:
    assert decoded(file_of(image, "png")).image.getpixel((0, 0)) == pixel


def test_a_transparent_colour() -> None:
    found = decoded(file_of(Image.new("RGB", (2, 2), (1, 2, 3)), "png", transparency=(1, 2, 3))).image
    assert found.getpixel((0, 0)) == (1, 2, 3, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_phones_are_turned_upright(orientation: int) -> None:
    upright = Image.new("RGB", (32, 16), (0, 0, 0))
    upright.paste((255, 255, 255), (0, 0, 16, 8))
    # How such a phone lies: what turns its picture upright, the other way round (EXIF 2.3, tag 0x0112).
    turns = [
        [],
        [Image.Transpose.FLIP_LEFT_RIGHT],
        [Image.Transpose.ROTATE_180],
        [Image.Transpose.FLIP_TOP_BOTTOM],
        [Image.Transpose.TRANSPOSE],
        [Image.Transpose.ROTATE_90],
        [Image.Transpose.TRANSVERSE],
        [Image.Transpose.ROTATE_270],
    ]
    image = upright
    for turn in turns[orientation - 1]:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decoded(file_of(image, "jpg", exif=exif, quality=95)).image.convert("L")
    assert found.size == (32, 16)
    bright = [(x, y) for y in (4, 12) for x in (8, 24) if found.getpixel((x, y)) > 200]  # type: ignore[operator]
    assert bright == [(8, 4)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither"),
        (b"GIF89a" + bytes(100), "neither"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither"),
        (png() + bytes(MOST_BYTES), "bytes"),
        (png((MOST_SIDE + 1, 1)), "pixels"),
        (jpg((1, MOST_SIDE + 1)), "pixels"),
        (bomb(60_000, 60_000), "pixels"),
        (bomb(MOST_SIDE, MOST_SIDE), "decoded"),
        (b"\x89PNG\r\n\x1a\n", "decoded"),
        (b"\xff\xd8\xff", "decoded"),
        (png()[:-30], "decoded"),
        (file_of(Image.effect_noise((64, 64), 90), "jpg")[:-500], "decoded"),
    ],
    ids=range(12),
)
def test_refused(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        decoded(data)


def test_the_largest_is_taken() -> None:
    assert decoded(png((MOST_SIDE, MOST_SIDE))).image.size == (MOST_SIDE, MOST_SIDE)


def test_a_jpeg_of_too_many_scans() -> None:
    data = file_of(Image.effect_noise((64, 64), 90), "jpg", progressive=True)
    assert decoded(data).image.size == (64, 64)
    at = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="scans"):
        decoded(data[:at] + data[at:-2] * 40 + data[-2:])


@given(st.sampled_from([png(), jpg(), file_of(Image.effect_noise((16, 16), 90), "jpg", progressive=True)]), st.integers(0, 2**32))
def test_damage_is_refused_or_decoded(data: bytes, seed: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert decoded(bytes(damaged)).image.mode == "RGBA"
        except ImageError:
            assert bytes(damaged) != data
