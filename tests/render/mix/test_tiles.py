"""Pictures of any kind in their cells: render modes, orientations, formats, and those that cannot be decoded."""

from fractions import Fraction
from typing import Literal

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from rokuga.render.h264 import START_CODE, leading, nal_units
from rokuga.render.mix.canvas import views
from rokuga.render.mix.colour import Rgb, yuv
from rokuga.render.mix.layout import CROP, FIT, SMART, STRETCH, Rect
from rokuga.render.mix.scene import Picture, Scene, Tile
from rokuga.render.mix.video import VideoMixer
from tests.render.mix.film import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    RED,
    YELLOW,
    Journal,
    NoImages,
    Seen,
    Units,
    coded,
    count,
    film,
    near,
    plan,
    scene,
    watch,
    who,
)

pytestmark = pytest.mark.live

WHOLE = Rect(0, 0, 640, 360)


def show(journal: Journal, track: list[Picture], rect: Rect, mode: int = STRETCH, frames: int = 1) -> list[Seen]:
    tile = Tile(rect, 0, mode)
    return watch(VideoMixer(journal.payload, NoImages()), plan([track], [Scene(0, (tile,), background=BLUE)], (0, frames)))


def ramp(frame: VideoFrame, _: int) -> None:
    """Luma rises from 50 to 200 from left to right; colours are those of purple."""
    y, u, v = views(frame)
    y[...] = np.linspace(50, 200, y.shape[1]).astype(np.uint8)
    u[...], v[...] = yuv(PURPLE)[1:]


@pytest.mark.parametrize(
    ("mode", "cut", "bar"),
    [(STRETCH, 0, 0), (CROP, (1 - 9 / 16) / 2, 0), (FIT, 0, (1 - 9 / 16) / 2), (SMART, 0.1, (1 - 9 / 16 / 0.8) / 2)],
)
@pytest.mark.parametrize("upright", [False, True])
def test_where_a_wide_picture_is_cut_and_where_bars_are(mode: int, cut: float, bar: float, upright: bool) -> None:
    """In a square cell. ``cut``, ``bar``: as parts of the picture's and the cell's size, on each side. The same of a tall picture."""
    journal, cell = Journal(), Rect(200, 40, 240, 240)
    track = journal.track(coded(320, 180, 1, ramp), orientation=1 if upright else 0)
    [seen] = show(journal, track, cell, mode)
    y, u, _ = (
        plane[part.y : part.y + part.height, part.x : part.x + part.width]
        for plane, part in zip(seen, (cell, Rect(100, 20, 120, 120), Rect(100, 20, 120, 120)), strict=True)
    )
    if upright:
        y, u = y.T, u.T
    showing = np.abs(u[:, 60].astype(int) - yuv(PURPLE)[1]) < 20
    assert abs(int(showing.argmax()) - bar * 120) <= 1.5
    assert abs(int(showing[::-1].argmax()) - bar * 120) <= 1.5
    assert showing[60]
    for at, side in ((3, cut), (236, 1 - cut)):
        inside = (at + 0.5) / 240 * (1 - 2 * cut) + cut
        assert abs(int(y[120, at]) - (50 + 150 * inside)) <= 4, side
    assert near(seen, 190, 160, BLUE)
    assert near(seen, 450, 160, BLUE)


@pytest.mark.parametrize(("axis", "width", "height"), [(1, 160, 90), (0, 640, 90), (1, 160, 360)])
def test_every_pixel_counts_in_a_picture_that_is_made_much_smaller(axis: int, width: int, height: int) -> None:
    """Fine stripes become an even tone, as they would for an eye further off: also of a picture that is smaller in one direction alone."""

    def stripes(frame: VideoFrame, _: int) -> None:
        """One bright column, or row, of four."""
        y, u, v = views(frame)
        y[...] = np.where(np.indices(y.shape)[axis] % 4 == 0, 200, 40).astype(np.uint8)
        u[...] = v[...] = 128

    journal = Journal()
    [seen] = show(journal, journal.track(coded(640, 360, 1, stripes)), Rect(0, 0, width, height))
    inside = seen[0][4 : height - 4, 4 : width - 4]
    assert abs(float(inside.mean()) - 80) < 6
    assert inside.std() < 6


def quadrants(frame: VideoFrame, _: int) -> None:
    """Red, green / grey, yellow."""
    y, u, v = views(frame)
    for number, colour in enumerate((RED, GREEN, GREY, YELLOW)):
        for plane, value in zip((y, u, v), yuv(colour), strict=True):
            height, width = plane.shape
            top, left = number // 2 * height // 2, number % 2 * width // 2
            plane[top : top + height // 2, left : left + width // 2] = value


TURNED: list[tuple[Rgb, ...]] = [
    (RED, GREEN, GREY, YELLOW),
    (GREY, RED, YELLOW, GREEN),
    (YELLOW, GREY, GREEN, RED),
    (GREEN, YELLOW, RED, GREY),
    (GREEN, RED, YELLOW, GREY),
    (YELLOW, GREEN, GREY, RED),
    (GREY, YELLOW, RED, GREEN),
    (RED, GREY, GREEN, YELLOW),
]


@pytest.mark.parametrize("orientation", range(8))
def test_a_picture_is_mirrored_and_then_turned_clockwise(orientation: int) -> None:
    """FIT shows its shape, too: a quarter turn makes a wide picture tall."""
    journal = Journal()
    [seen] = show(journal, journal.track(coded(320, 160, 1, quadrants), orientation=orientation), Rect(80, 80, 200, 200), FIT)
    width, height = (50, 100) if orientation % 2 else (100, 50)
    corners = [(180 + x * width // 2, 180 + y * height // 2) for y in (-1, 1) for x in (-1, 1)]
    for (x, y), colour in zip(corners, TURNED[orientation], strict=True):
        assert near(seen, x, y, colour)
    assert near(seen, 180 - width - 6, 180, BLUE)
    assert near(seen, 180, 180 - height - 6, BLUE)
    assert not near(seen, 180 - width + 6, 170, BLUE)


def test_a_phone_that_is_turned_in_the_middle() -> None:
    journal = Journal()
    units = coded(320, 160, 6, quadrants)
    upright, turned = journal.track(units), journal.track(units, orientation=2)
    track = [*upright[:3], *turned[3:]]
    for number, seen in enumerate(show(journal, track, WHOLE, frames=6)):
        assert near(seen, 160, 90, RED if number < 3 else YELLOW)


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1"])
def test_other_codecs_and_odd_sizes(codec: Literal["vp8", "vp9", "av1"]) -> None:
    journal = Journal()
    size = (320, 180) if codec == "av1" else (321, 181)
    track = journal.track(film(GREEN, 20, *size, gop=6, codec=codec), codec=codec)
    for number, seen in enumerate(show(journal, track, WHOLE, CROP, 20)):
        assert (who(seen, WHOLE), count(seen, WHOLE)) == (GREEN, number % 8)


def test_a_stream_whose_size_changes_at_a_keyframe() -> None:
    journal = Journal()
    track = journal.track(film(GREEN, 7, 160, 90, gop=7) + film(GREEN, 8, 640, 360) + film(GREEN, 5, 180, 320, gop=5))
    for number, seen in enumerate(show(journal, track, Rect(100, 100, 320, 180), FIT, 20)):
        place = Rect(100, 100, 320, 180) if number < 15 else Rect(208, 100, 102, 180)
        mark = number if number < 7 else (number - 7) % 8 if number < 15 else number - 15
        assert (who(seen, place), count(seen, place)) == (GREEN, mark)
        assert near(seen, 110, 190, GREEN if number < 15 else BLUE)


@pytest.mark.parametrize("pixels", ["yuv422p", "yuv444p", "yuvj420p", "nv12", "yuv420p10le", "gbrp", "gray"])
def test_any_pixel_format_and_range(pixels: str) -> None:
    journal = Journal()
    colour: Rgb = GREY if pixels == "gray" else RED
    [seen] = show(journal, journal.track(_plain(colour, pixels)), WHOLE)
    assert near(seen, 320, 180, colour, 3)


def test_another_matrix_is_converted() -> None:
    """BT.709, as some cameras say; what says nothing is BT.601, as the output is."""
    journal = Journal()
    [seen] = show(journal, journal.track(_plain(GREEN, "yuv420p", matrix="bt709")), WHOLE)
    assert near(seen, 320, 180, GREEN, 3)


def _plain(colour: Rgb, pixels: str, matrix: str = "") -> Units:
    """One picture of that pixel format, coded as it is."""
    y, u, v = yuv(colour)
    if matrix == "bt709":
        red, green, blue = (value / 255 for value in colour)
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        y, u, v = round(16 + 219 * luma), round(128 + 224 * (blue - luma) / 1.8556), round(128 + 224 * (red - luma) / 1.5748)
    deep = pixels.endswith("10le")
    frame = VideoFrame(320, 180, pixels)
    if pixels == "yuvj420p":
        values = [round((y - 16) * 255 / 219), *(round(128 + (c - 128) * 255 / 224) for c in (u, v))]
    elif pixels == "gbrp":
        values = [colour[1], colour[2], colour[0]]
    else:
        values = [y, u, v]
    for plane, value in zip(frame.planes, values, strict=False):
        if pixels == "nv12" and plane is frame.planes[1]:
            break
        plane.update((value << 2).to_bytes(2, "little") * (plane.buffer_size // 2) if deep else bytes([value]) * plane.buffer_size)
    if pixels == "nv12":
        frame.planes[1].update(bytes((u, v)) * (frame.planes[1].buffer_size // 2))
    name = "libx264rgb" if pixels == "gbrp" else "libx264"
    if pixels == "gbrp":
        frame = frame.reformat(format="rgb24")
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, frame.format.name
    encoder.time_base, encoder.framerate = Fraction(1, 15), Fraction(15)
    encoder.thread_count = 1
    encoder.options = {
        "preset": "ultrafast",
        "x264-params": "qp=8:annexb=1:repeat-headers=1" + (f":colormatrix={matrix}" if matrix else ""),
    }
    frame.pts = 0
    packets = encoder.encode(frame) + encoder.encode(None)
    return tuple((bytes(p), True) for p in packets)


@pytest.mark.parametrize("bad", [b"", b"\x00", b"\x00\x00\x00\x01\x65", b"\x00\x00\x00\x01\x41\xff\xff\xff\xff", b"no picture at all"])
def test_a_picture_that_cannot_be_decoded_leaves_the_last_one(bad: bytes) -> None:
    journal = Journal()
    track = journal.track(film(GREEN, 12, gop=6))
    for number in (4, 5, 6):
        journal.data[track[number].ref.position] = bad
    seen = show(journal, track, WHOLE, frames=12)
    assert [count(s, WHOLE) for s in seen[:7]] == [0, 1, 2, 3, 3, 3, 3]
    assert all(who(s, WHOLE) == GREEN for s in seen[:7])


def test_a_keyframe_without_parameter_sets_gets_those_of_the_plan() -> None:
    journal = Journal()
    units = film(GREEN, 8)
    sets = leading(units[0][0]).parameter_sets
    bare = b"".join(START_CODE + unit for unit in nal_units(units[0][0]) if unit not in sets)
    track = journal.track(((bare, True), *units[1:]))
    assert who(show(journal, track, WHOLE)[0], WHOLE) == BLUE
    track[0] = Picture(track[0].ref, sets)
    assert [count(s, WHOLE) for s in show(journal, track, WHOLE, frames=8)] == list(range(8))


def test_a_stream_without_a_keyframe_shows_nothing_until_there_is_one() -> None:
    journal = Journal()
    track = journal.track(film(GREEN, 12, gop=6))[2:]
    for number, seen in enumerate(show(journal, track, WHOLE, frames=12)):
        assert who(seen, WHOLE) == (BLUE if number < 6 else GREEN)


def test_two_places_may_show_the_same_stream() -> None:
    journal = Journal()
    track = journal.track(film(GREEN, 8))
    both = Scene(0, (Tile(Rect(0, 0, 320, 180), 0, STRETCH), Tile(Rect(320, 180, 160, 90), 0, STRETCH)))
    for number, seen in enumerate(watch(VideoMixer(journal.payload, NoImages()), plan([track], [both], (0, 8)))):
        assert [count(seen, tile.rect) for tile in both.tiles] == [number, number]
    assert len(journal.read) == 8


def test_a_shape_that_would_need_a_gigabyte_is_distorted() -> None:
    journal = Journal()
    track = journal.track(film(GREEN, 1, 16, 2000))
    [seen] = watch(
        VideoMixer(journal.payload, NoImages()), plan([track], [scene([Rect(0, 0, 1920, 1080)], mode=CROP)], (0, 1), (1920, 1080))
    )
    assert near(seen, 960, 540, GREEN)
