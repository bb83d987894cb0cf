"""RGB to YUV against FFmpeg's own conversion, and chroma beside transparency."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga.render.mix.colour import planes_of, yuv

PART = st.integers(0, 255)


def test_limited_range() -> None:
    assert yuv((0, 0, 0)) == (16, 128, 128)
    assert yuv((255, 255, 255)) == (235, 128, 128)
    assert yuv((128, 128, 128)) == (126, 128, 128)


# ITU-R BT.601 100 % bars, as in test signals: yellow, cyan, green, magenta, red, blue.
@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 255, 0), (210, 16, 146)),
        ((0, 255, 255), (170, 166, 16)),
        ((0, 255, 0), (145, 54, 34)),
        ((255, 0, 255), (106, 202, 222)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 0, 255), (41, 240, 110)),
    ],
)
def test_colour_bars(rgb: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    assert yuv(rgb) == expected


@given(st.tuples(PART, PART, PART))
def test_as_ffmpeg_converts(rgb: tuple[int, int, int]) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), rgb, np.uint8), format="rgb24").reformat(format="yuv420p")
    theirs = [bytes(plane)[0] for plane in frame.planes]
    assert all(abs(ours - their) <= 1 for ours, their in zip(yuv(rgb), theirs, strict=True))


def test_what_is_invisible_lends_no_colour() -> None:
    picture = np.zeros((4, 4, 4), np.uint8)
    picture[...] = (0, 255, 0, 0)
    picture[1, 1] = (255, 0, 0, 255)
    picture[2, 2] = (0, 0, 255, 1)
    planes = planes_of(picture)
    assert planes.y.shape == planes.a.shape == (4, 4)
    assert planes.u.shape == planes.v.shape == (2, 2)
    assert (planes.u[0, 0], planes.v[0, 0]) == yuv((255, 0, 0))[1:]
    assert (planes.u[1, 1], planes.v[1, 1]) == yuv((0, 0, 255))[1:]
    assert (planes.u[0, 1], planes.v[0, 1]) == (128, 128)
    assert planes.a[1, 1] == 255
    assert planes.a[2, 2] == 1
    assert planes.a.sum() == 256


def test_four_pixels_share_a_chroma_sample() -> None:
    picture = np.full((2, 2, 4), 255, np.uint8)
    picture[0, :, :3] = (255, 0, 0)
    picture[1, :, :3] = (0, 0, 255)
    planes = planes_of(picture)
    assert planes.y.tolist() == [[81, 81], [41, 41]]
    assert (planes.u[0, 0], planes.v[0, 0]) == yuv((128, 0, 128))[1:]
