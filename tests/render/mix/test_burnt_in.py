"""Watermarks from a request's JSON to the finished file: 25 of all kinds, and clocks that show the second that the playlist tells."""

from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from PIL import Image

from rokuga.render.mix.canvas import Overlay, views
from rokuga.render.mix.colour import Rgb, yuv
from rokuga.render.mix.marks import ImageMark, Mark, TextMark, TimeMark, marks_of
from rokuga.render.mix.raster import MarkPainter
from tests.kit.media_checks import playlist
from tests.kit.stills import file_of
from tests.render.mix.film import BLUE, GREEN, RED, YELLOW, Seen
from tests.render.mix.finished import Call, Finished, video

pytestmark = pytest.mark.live

WIDTH, HEIGHT, FPS = 640, 360, 5
BACK: Rgb = (110, 110, 110)
URL = "https://h/logo{}.png"
ZONES = (8, -12, 14, 0, 9, -3, 5)
IMAGES: tuple[Rgb, ...] = (RED, GREEN, BLUE, YELLOW, (20, 20, 20), (240, 240, 240), (0, 160, 160), (240, 120, 0), (90, 0, 90))
TEXTS = ("録画中", "录制", "녹화", "rec 4", "ＲＥＣ", "カナ", "直線", "12:34", "ありがとう")
NEAR = 1.0
"""mean difference in luma that coding may leave"""


def stamps() -> list[dict[str, Any]]:
    return [{"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": pos, "TimeZone": zone}} for pos, zone in enumerate(ZONES)]


def texts() -> list[dict[str, Any]]:
    return [
        {
            "WaterMarkType": 1,
            "WaterMarkChar": {
                "Top": 250 + number % 2 * 40,
                "Left": 10 + number * 68,
                "Width": 64,
                "Height": 30,
                "Chars": text,
                "FontSize": 20 if len(text) < 4 else 12,
                "FontColor": ("#ffffff", "0x101010")[number % 2],
                **({"BackGroundColor": "#1e3cc8", "Font": "SourceHanSans"} if number == 4 else {}),
            },
        }
        for number, text in enumerate(TEXTS)
    ]


def images() -> list[dict[str, Any]]:
    """The right half of each lets half of what is behind through."""
    place = {"Top": 60, "Width": 50, "Height": 40}
    return [
        {"WaterMarkType": 0, "WaterMarkImage": {**place, "Left": 10 + number * 68, "WaterMarkUrl": URL.format(number)}}
        for number in range(len(IMAGES))
    ]


def layout() -> dict[str, Any]:
    places = [{"Left": 300, "Top": 140, "Width": 40, "Height": 20}]
    marks = [mark for of in zip([*stamps(), {}, {}], texts(), images(), strict=True) for mark in of if mark]
    assert len(marks) == 25
    return {"MixLayoutMode": 4, "MixLayoutList": places, "BackGroundColor": "#6e6e6e", "WaterMarkList": marks}


@pytest.fixture(scope="module")
def burnt(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """4.5 s from 0.3 s on, in segments of 2 s: no picture is at a full second."""
    transcode = {"VideoParams": video(WIDTH, HEIGHT, FPS, 4_000_000)}
    names = {URL.format(number): f"{number}.png" for number in range(len(IMAGES))}
    made = Call(tmp_path_factory.mktemp("burnt"), layout(), transcode, images=names, segment_seconds=2)
    for number, colour in enumerate(IMAGES):
        picture = Image.new("RGBA", (40, 20), (*colour, 255))
        picture.paste((*colour, 128), (20, 0, 40, 20))
        made.image(f"{number}.png", file_of(picture, "png"))
    made.user(0.3, 4.8, "alice", 0, RED)
    return made.finished(5)


def painted(finished: Finished) -> list[tuple[Mark, Overlay]]:
    """The marks as the painter makes them, from the request."""
    stills = {f"{n}.png": Image.open(finished.index.parent.parent / "images" / f"{n}.png") for n in range(len(IMAGES))}
    marks = marks_of(layout(), {URL.format(number): f"{number}.png" for number in range(len(IMAGES))})
    return list(zip(marks, MarkPainter(WIDTH, HEIGHT, stills.get).overlays(marks), strict=True))


def difference(seen: Seen, overlay: Overlay, utc_ms: int) -> float:
    """Between what is seen and what this mark shows at that time, where it shows anything."""
    shown = overlay.planes(utc_ms)
    assert shown is not None
    rect, planes = shown
    there = seen[0][rect.y : rect.y + rect.height, rect.x : rect.x + rect.width].astype(float)
    opacity = planes.a / 255
    wanted = planes.y * opacity + yuv(BACK)[0] * (1 - opacity)
    return float(np.abs(there - wanted)[planes.a > 0].mean())


def told(index: Path) -> list[tuple[int, Seen]]:
    """The pictures, and when each was (UTC, ms) as the playlist's EXT-X-PROGRAM-DATE-TIME tells."""
    found = []
    for entry in playlist(index).entries:
        begin = datetime.fromisoformat(entry.tags["EXT-X-PROGRAM-DATE-TIME"]).timestamp()
        with av.open(str(index.parent / entry.name)) as container:
            frames = [frame for frame in container.decode(video=0) if isinstance(frame, VideoFrame)]
        for frame in frames:
            y, u, v = views(frame)
            assert frame.time is not None
            assert frames[0].time is not None
            found.append((round((begin + frame.time - frames[0].time) * 1000), (y.copy(), u.copy(), v.copy())))
    return found


def test_all_25_marks_are_in_each_picture(burnt: Finished) -> None:
    marks = painted(burnt)
    assert len(marks) == 25
    pictures = told(burnt.index)
    assert len(pictures) >= 4 * FPS
    plain: Seen = (np.full((HEIGHT, WIDTH), yuv(BACK)[0], np.uint8), *(np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8),) * 2)
    for mark, overlay in marks:
        if not isinstance(mark, ImageMark):
            assert difference(plain, overlay, pictures[0][0]) > 30 * NEAR, mark
        assert [utc for utc, seen in pictures if difference(seen, overlay, utc) > NEAR] == [], mark
    # Colours: of the opaque half, and of that which lets half of the grey through.
    for number, colour in enumerate(IMAGES):
        for across, wanted in ((12, yuv(colour)), (38, yuv(half(colour)))):
            x, y = 10 + number * 68 + across, 80
            for _, seen in pictures[1:]:
                found = int(seen[0][y, x]), int(seen[1][y // 2, x // 2]), int(seen[2][y // 2, x // 2])
                assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 4, (number, found, wanted)


def half(colour: Rgb) -> Rgb:
    red, green, blue = ((value + grey) // 2 for value, grey in zip(colour, BACK, strict=True))
    return red, green, blue


def test_a_text_is_that_text(burnt: Finished) -> None:
    """What another mark says looks different there."""
    marks = [(mark, overlay) for mark, overlay in painted(burnt) if isinstance(mark, TextMark)]
    utc, seen = told(burnt.index)[-1]
    for number, (mark, overlay) in enumerate(marks):
        other = layout()["WaterMarkList"]
        wrong = next(entry for entry in other if entry.get("WaterMarkChar", {}).get("Chars") == mark.text)
        wrong["WaterMarkChar"]["Chars"] = TEXTS[number - 1]
        (changed,) = MarkPainter(WIDTH, HEIGHT, lambda _: None).overlays(marks_of({"WaterMarkList": [wrong]}, {}))
        assert difference(seen, overlay, utc) < NEAR < difference(seen, changed, utc) / 2, mark


def test_clocks_show_the_second_of_the_picture(burnt: Finished) -> None:
    pictures = told(burnt.index)
    seconds = {utc // 1000 for utc, _ in pictures}
    assert len(seconds) == 5
    for mark, overlay in painted(burnt):
        if not isinstance(mark, TimeMark):
            continue
        for utc, seen in pictures:
            begin = utc // 1000 * 1000
            there, *others = (difference(seen, overlay, begin + shift * 1000) for shift in (0, -1, 1))
            assert there < NEAR < min(others) / 2, (mark, utc, there, others)
