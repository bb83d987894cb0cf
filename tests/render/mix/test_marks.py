"""Watermarks: what a request says, and what comes of it on canvases of several sizes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from structlog.testing import capture_logs

from rokuga.errors import FontError
from rokuga.render.mix import fonts
from rokuga.render.mix.canvas import Overlay
from rokuga.render.mix.colour import yuv
from rokuga.render.mix.layout import Rect
from rokuga.render.mix.marks import (
    BOTTOM,
    BOTTOM_LEFT,
    BOTTOM_RIGHT,
    CENTRE,
    TOP,
    TOP_LEFT,
    TOP_RIGHT,
    ImageMark,
    Mark,
    TextMark,
    TimeMark,
    colour_of,
    marks_of,
)
from rokuga.render.mix.planes import Planes
from rokuga.render.mix.raster import MarkPainter, stamp_letter, wrapped

pytestmark = pytest.mark.live

CANVASES = [(360, 640), (640, 360), (1280, 720), (1920, 1080), (64, 64)]
PLACE = {"Top": 10, "Left": 21, "Width": 100, "Height": 51}


def nothing(name: str) -> Image.Image | None:
    return None


def painted(mark: Mark, canvas: tuple[int, int] = (640, 360), image: Image.Image | None = None) -> tuple[Rect, Planes]:
    overlays = MarkPainter(*canvas, lambda name: image).overlays((mark,))
    assert len(overlays) == 1
    shown = overlays[0].planes(0)
    assert shown is not None
    rect, planes = shown
    assert planes.y.shape == planes.a.shape == (rect.height, rect.width)
    assert planes.u.shape == planes.v.shape == (rect.height // 2, rect.width // 2)
    assert not (rect.x | rect.y | rect.width | rect.height) & 1
    assert 0 <= rect.x < rect.x + rect.width <= canvas[0]
    assert 0 <= rect.y < rect.y + rect.height <= canvas[1]
    return rect, planes


def ink(text: str, size: int = 40) -> npt.NDArray[np.uint8]:
    return painted(TextMark(Rect(0, 0, 200, 60), text, size))[1].a


def bounds(alpha: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is seen"""
    rows, columns = np.nonzero(alpha.any(axis=1))[0], np.nonzero(alpha.any(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# What a request says


def layout(*marks: dict[str, Any]) -> dict[str, Any]:
    return {"MixLayoutMode": 3, "WaterMarkList": list(marks)}


def test_the_three_types_in_their_order() -> None:
    found = marks_of(
        layout(
            {"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 3, "TimeZone": -3, "Font": "SourceHanSans"}},
            {"WaterMarkType": 0, "WaterMarkImage": PLACE | {"WaterMarkUrl": "https://h/m.png"}},
            {
                "WaterMarkType": 1,
                "WaterMarkChar": PLACE | {"Chars": "x", "FontSize": 20, "FontColor": "#102030", "BackGroundColor": "0xbbCCbb"},
            },
        ),
        {"https://h/m.png": "abc.png"},
    )
    rect = Rect(22, 10, 100, 52)
    assert found == (
        TimeMark(3, -3, "SourceHanSans"),
        ImageMark(rect, "abc.png"),
        TextMark(rect, "x", 20, (16, 32, 48), (0xBB, 0xCC, 0xBB), "Tencent"),
    )


def test_defaults_are_trtcs() -> None:
    found = marks_of(
        layout(
            {"WaterMarkImage": PLACE | {"WaterMarkUrl": "u"}},
            {"WaterMarkType": 1, "WaterMarkChar": PLACE | {"Chars": "x", "FontColor": "", "BackGroundColor": ""}},
            {"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 0}},
            {"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 0, "TimeZone": 0}},
        ),
        {"u": "f.png"},
    )
    assert isinstance(found[0], ImageMark)
    assert found[1:] == (
        TextMark(Rect(22, 10, 100, 52), "x", 14, (255, 255, 255), None, "Tencent"),
        TimeMark(0, 8, "Tencent"),
        TimeMark(0, 0, "Tencent"),
    )


def test_an_image_that_could_not_be_had_is_left_out() -> None:
    mark = {"WaterMarkType": 0, "WaterMarkImage": PLACE | {"WaterMarkUrl": "https://h/m.png"}}
    assert marks_of(layout(mark, {"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 1}}), {}) == (TimeMark(1),)
    assert marks_of({"MixLayoutMode": 3}, {}) == ()
    assert marks_of({}, {}) == ()


@pytest.mark.parametrize("text", ["#0aF", "0x12345g", "red", "#12345678"])
def test_what_is_no_colour(text: str) -> None:
    with pytest.raises(ValueError, match=r"colour|hex"):
        colour_of(text)


# Letters


def test_each_letter_has_its_own_glyph() -> None:
    missing = ink("\U0001f600")
    assert np.array_equal(missing, ink("\U0001f680"))
    pictures = [missing, *(ink(letter) for letter in "日本語録画云录制한A")]
    for number, one in enumerate(pictures):
        assert one.max() == 255
        assert not any(np.array_equal(one, other) for other in pictures[:number])


def test_japanese_and_chinese_forms_of_one_letter() -> None:
    assert fonts.face("直") == fonts.face("direct") == fonts.CHINESE
    assert fonts.face("直す") == fonts.face("ｶﾅ") == fonts.JAPANESE
    first = slice(0, 40)
    assert not np.array_equal(ink("直す")[:, first], ink("直线")[:, first])
    assert np.array_equal(ink("日す")[:, first], ink("日线")[:, first])


def test_both_font_names_are_drawn_alike() -> None:
    rect = Rect(0, 0, 100, 40)
    one, other = (painted(TextMark(rect, "录制", font=font))[1].a for font in ("Tencent", "SourceHanSans"))
    assert np.array_equal(one, other)


def test_without_the_font_the_rest_is_painted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "FOLDERS", (tmp_path,))
    fonts.font.cache_clear()
    (tmp_path / fonts.FILE).write_bytes(b"no font")
    with pytest.raises(FontError, match="fonts-noto-cjk"):
        fonts.font(fonts.CHINESE, 14)
    painter = MarkPainter(640, 360, lambda name: Image.new("RGBA", (2, 2)))
    marks = (TextMark(Rect(0, 0, 100, 20), "x"), ImageMark(Rect(0, 0, 100, 20), "i.png"), TimeMark(0))
    with capture_logs() as logs:
        assert len(painter.overlays(marks)) == 1
        assert len(painter.overlays(marks)) == 1
    assert [entry["log_level"] for entry in logs] == ["error", "error"]


# Text


def test_text_stands_at_the_top_left_of_its_rectangle() -> None:
    rect, planes = painted(TextMark(Rect(100, 50, 300, 100), "日本", 40))
    assert rect == Rect(100, 50, 300, 100)
    left, top, right, bottom = bounds(planes.a)
    assert 0 <= left <= 10
    assert 0 <= top <= 10
    assert 60 <= right <= 80
    assert 36 <= bottom <= 50


@pytest.mark.parametrize("size", [14, 20, 60, 100])
def test_font_size_is_an_em_in_pixels(size: int) -> None:
    _, top, _, bottom = bounds(painted(TextMark(Rect(0, 0, 600, 300), "口", size))[1].a)
    assert 0.7 * size <= bottom - top <= size


def test_colours_of_text_and_background() -> None:
    rect = Rect(0, 0, 120, 80)
    _, planes = painted(TextMark(rect, "■", 80, (255, 0, 0), (0, 0, 255)))
    assert (planes.a == 255).all()
    assert (planes.y[40, 40], planes.u[20, 20], planes.v[20, 20]) == yuv((255, 0, 0))
    assert (planes.y[78, 118], planes.u[39, 59], planes.v[39, 59]) == yuv((0, 0, 255))
    _, planes = painted(TextMark(rect, "■", 80, (255, 0, 0)))
    assert planes.a[78, 118] == 0
    assert planes.a[40, 40] == 255
    # An edge fades out in the text's own colour.
    seen = planes.a.reshape(40, 2, 60, 2).any(axis=(1, 3))
    assert (planes.u[seen] == yuv((255, 0, 0))[1]).all()
    assert (planes.v[seen] == yuv((255, 0, 0))[2]).all()


def test_text_wraps_and_is_cut_off_at_its_rectangle() -> None:
    _, planes = painted(TextMark(Rect(0, 0, 84, 400), "日本語の録画", 40), (640, 640))
    lines = [bounds(planes.a[top : top + 50]) for top in (0, 50, 100)]
    assert all(60 <= right <= 84 for _, _, right, _ in lines)
    assert not planes.a[152:].any()
    rect, planes = painted(TextMark(Rect(0, 0, 84, 60), "日本語の録画", 40))
    assert rect.height == 60
    assert planes.a[50:].any()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two three", ["one two", "three"]),
        ("one\ntwo", ["one", "two"]),
        ("one\r\n\r\ntwo", ["one", "", "two"]),
        ("a long-winded-word", ["a", "long-wind", "ed-word"]),
        ("日本語で録画しています", ["日本語で録画して", "います"]),
        ("日本語で録画した。次", ["日本語で録画し", "た。次"]),
        ("日本語word", ["日本語word"]),
        ("日本語で録word", ["日本語で録", "word"]),
        ("one      \x00\x1btwo", ["one", "two"]),
    ],
)
def test_wrapping(text: str, lines: list[str]) -> None:
    assert wrapped(text, 8.5 if not text.startswith("a") else 9, len) == lines


@given(st.text(max_size=40), st.integers(1, 12))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    lines = wrapped(text, width, len)
    assert all(len(line) <= width for line in lines)
    kept = [letter for letter in text if not letter.isspace() and letter.isprintable()]
    assert [letter for line in lines for letter in line if not letter.isspace() and letter.isprintable()] == kept


# Images


def halves() -> Image.Image:
    """Left red and opaque, right green and half transparent."""
    picture = Image.new("RGBA", (40, 20), (255, 0, 0, 255))
    picture.paste((0, 255, 0, 128), (20, 0, 40, 20))
    return picture


@pytest.mark.parametrize("canvas", CANVASES)
def test_an_image_fills_its_rectangle(canvas: tuple[int, int]) -> None:
    width, height = canvas
    rect, planes = painted(ImageMark(Rect(width // 4, height // 2, width // 2, height // 4), "i"), canvas, halves())
    assert rect == Rect(width // 4, height // 2, width // 2, height // 4)
    row, left, right = rect.height // 2, rect.width // 8, rect.width * 7 // 8
    assert planes.a[row, left] == 255
    assert planes.a[row, right] == 128
    assert (planes.y[row, left], planes.u[row // 2, left // 2], planes.v[row // 2, left // 2]) == yuv((255, 0, 0))
    assert (planes.y[row, right], planes.u[row // 2, right // 2], planes.v[row // 2, right // 2]) == yuv((0, 255, 0))


def test_of_an_image_that_sticks_out_the_inner_part_is_seen() -> None:
    rect, planes = painted(ImageMark(Rect(600, 340, 80, 40), "i"), (640, 360), halves())
    assert rect == Rect(600, 340, 40, 20)
    assert (planes.a[:, :34] == 255).all()
    assert (planes.v[:, :18] == yuv((255, 0, 0))[2]).all()


def test_nothing_to_paint() -> None:
    painter = MarkPainter(640, 360, nothing)
    assert painter.overlays((ImageMark(Rect(0, 0, 10, 10), "missing"),)) == ()
    assert painter.overlays((TextMark(Rect(640, 0, 10, 10), "beside"), TextMark(Rect(0, 0, 0, 10), "thin"))) == ()


def test_what_stays_is_not_drawn_again() -> None:
    asked: list[str] = []

    def still(name: str) -> Image.Image | None:
        asked.append(name)
        return halves()

    painter = MarkPainter(640, 360, still)
    marks: list[Mark] = [ImageMark(Rect(0, 2 * number, 10, 10), str(number)) for number in range(25)]
    first = painter.overlays(tuple(marks))
    assert len(first) == len(asked) == 25
    again = painter.overlays((TimeMark(0), *marks[1:]))
    assert list(again[1:]) == list(first[1:])
    assert len(asked) == 25
    painter.overlays(tuple(marks))
    assert asked[25:] == ["0"]


# Time stamps

KNOWN = datetime(2034, 5, 16, 7, 28, 59, tzinfo=UTC)
"""shows each digit"""


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def stamp(mark: TimeMark, canvas: tuple[int, int] = (1280, 720)) -> Overlay:
    return MarkPainter(*canvas, nothing).overlays((mark,))[0]


def cells(picture: npt.NDArray[np.uint8]) -> Sequence[bytes]:
    """The letters of a stamp. Its digits are equally wide; ``-`` and ``:`` and the blank have no fixed place, so go by their widths."""
    digit, dash, blank, colon = (widths()[letter] for letter in "0- :")
    found, at = [], 0
    for width in [digit] * 4 + [dash] + [digit] * 2 + [dash] + [digit] * 2 + [blank] + ([digit] * 2 + [colon]) * 2 + [digit] * 2:
        found.append(picture[:, at : at + width].tobytes())
        at += width
    assert at == picture.shape[1]
    return found


def widths() -> dict[str, int]:
    return {letter: stamp_letter(letter, 24).y.shape[1] for letter in "0- :"}


def read(overlay: Overlay, utc_ms: int) -> str:
    """What the stamp says, by comparing with one that is known."""
    known, shown = stamp(TimeMark(0, 0)).planes(ms(KNOWN)), overlay.planes(utc_ms)
    assert known is not None
    assert shown is not None
    letters = dict(zip(cells(known[1].a), KNOWN.strftime("%Y-%m-%d %H:%M:%S"), strict=True))
    assert len(letters) == 13
    return "".join(letters[cell] for cell in cells(shown[1].a))


@pytest.mark.parametrize("zone", [-12, -3, 0, 8, 14])
def test_the_stamp_shows_the_time_of_its_zone(zone: int) -> None:
    overlay = stamp(TimeMark(0, zone))
    for moment in (datetime(2024, 2, 28, 23, 59, 58, tzinfo=UTC), datetime(2026, 12, 31, 16, 0, 0, tzinfo=UTC)):
        assert read(overlay, ms(moment)) == (moment + timedelta(hours=zone)).strftime("%Y-%m-%d %H:%M:%S")


def test_the_stamp_changes_with_the_second_and_only_then() -> None:
    overlay = stamp(TimeMark(0, 0))
    start = ms(KNOWN)
    assert read(overlay, start - 1).endswith("07:28:58")
    assert read(overlay, start).endswith("07:28:59")
    at_once = overlay.planes(start)
    later = overlay.planes(start + 999)
    assert at_once is not None
    assert later is not None
    assert at_once[1] is later[1]
    assert read(overlay, start + 1000).endswith("07:29:00")


@pytest.mark.parametrize("canvas", CANVASES[:4])
def test_seven_places(canvas: tuple[int, int]) -> None:
    width, height = canvas
    across, down = {}, {}
    for pos in range(7):
        rect, planes = painted(TimeMark(pos), canvas)
        left, top, right, bottom = bounds(planes.a)
        across[pos] = (rect.x + left, width - rect.x - right)
        down[pos] = (rect.y + top, height - rect.y - bottom)
        assert right - left < width
        assert 0.6 * min(height / 30, width / 14) <= bottom - top <= 1.4 * height / 30
    near = height // 30 + 4
    for pos in (TOP_LEFT, BOTTOM_LEFT):
        assert 0 < across[pos][0] <= near
    for pos in (TOP_RIGHT, BOTTOM_RIGHT):
        assert 0 < across[pos][1] <= near
    for pos in (TOP, BOTTOM, CENTRE):
        assert abs(across[pos][0] - across[pos][1]) <= 4
    for pos in (TOP_LEFT, TOP_RIGHT, TOP):
        assert 0 < down[pos][0] <= near
    for pos in (BOTTOM_LEFT, BOTTOM_RIGHT, BOTTOM):
        assert 0 < down[pos][1] <= near
    assert abs(down[CENTRE][0] - down[CENTRE][1]) <= 4


def test_the_stamp_is_white_with_a_black_outline() -> None:
    _, planes = painted(TimeMark(0), (1280, 720))
    solid = planes.y[planes.a == 255]
    assert solid.min() == 16
    assert solid.max() == 235
    # Nothing white stands at an edge: around each letter there is outline.
    assert planes.y[planes.a < 128].max() <= 60
    assert (planes.u == 128).all()


@given(st.integers(1, 960), st.integers(1, 540), st.integers(0, 6))
def test_the_stamp_stays_on_any_canvas(width: int, height: int, pos: int) -> None:
    painted(TimeMark(pos), (2 * width, 2 * height))
