"""Each field of MixLayoutParams from a request's JSON to what is seen in the finished file."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rokuga.render.mix.colour import Rgb, yuv
from tests.kit.stills import file_of, png
from tests.render.mix.film import BLUE, GREEN, PURPLE, RED, YELLOW, Seen
from tests.render.mix.finished import SIZE, Call

pytestmark = pytest.mark.live

WIDTH, HEIGHT = SIZE
BLACK: Rgb = (0, 0, 0)
URL = "https://h/{}.png"
IMAGES = {"sea": BLUE, "face": YELLOW, "own": PURPLE}
"""each in its colour and as wide as it is high"""
Points = dict[tuple[int, int], Rgb]
"""what is to be seen where"""


def everywhere(colour: Rgb) -> Points:
    return {(x, y): colour for x in (20, 80, 140) for y in (30, 60, 80)}


def place(left: int, top: int, width: int, height: int, **more: Any) -> dict[str, Any]:
    return {"Left": left, "Top": top, "Width": width, "Height": height, "RenderMode": 0, **more}


def custom(*places: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"MixLayoutMode": 4, "MixLayoutList": list(places), **more}


def blended(front: Rgb, back: Rgb, alpha: int) -> Rgb:
    """TRTC's Alpha: 0 is opaque."""
    red, green, blue = (round(f * (1 - alpha / 255) + b * alpha / 255) for f, b in zip(front, back, strict=True))
    return red, green, blue


def wrong(seen: Seen, points: Points) -> list[str]:
    found = []
    for (x, y), colour in points.items():
        there = tuple(int(plane[y >> half, x >> half]) for plane, half in zip(seen, (0, 1, 1), strict=True))
        if any(abs(a - b) > 8 for a, b in zip(there, yuv(colour), strict=True)):
            found.append(f"{there} at {x}, {y} is not {colour}")
    return found


WHOLE = place(0, 0, WIDTH, HEIGHT)
LEFT_TOP, BEHIND = place(0, 0, 80, 44), place(40, 20, 120, 70)
IN_BOTH, ONLY_FIRST, ONLY_SECOND = (60, 41), (20, 36), (140, 60)
OUTSIDE = (20, 80)

CASES: dict[str, tuple[dict[str, Any], Points]] = {
    # alice is red with a green screen, bob blue; carol only speaks, dave's camera has sent nothing yet.
    "Alpha 0": (custom(WHOLE | {"UserId": "alice"}, LEFT_TOP | {"UserId": "bob", "Alpha": 0}), {ONLY_FIRST: BLUE, ONLY_SECOND: RED}),
    "Alpha 102": (
        custom(WHOLE | {"UserId": "alice"}, LEFT_TOP | {"UserId": "bob", "Alpha": 102}),
        {ONLY_FIRST: blended(BLUE, RED, 102), ONLY_SECOND: RED},
    ),
    "Alpha 255": (custom(WHOLE | {"UserId": "alice"}, LEFT_TOP | {"UserId": "bob", "Alpha": 255}), {ONLY_FIRST: RED, ONLY_SECOND: RED}),
    "ImageLayer of equals": (
        custom(LEFT_TOP | {"UserId": "alice"}, BEHIND | {"UserId": "bob"}),
        {ONLY_FIRST: RED, IN_BOTH: BLUE, ONLY_SECOND: BLUE, OUTSIDE: BLACK},
    ),
    "ImageLayer": (
        custom(LEFT_TOP | {"UserId": "alice", "ImageLayer": 2}, BEHIND | {"UserId": "bob", "ImageLayer": 1}),
        {ONLY_FIRST: RED, IN_BOTH: RED, ONLY_SECOND: BLUE, OUTSIDE: BLACK},
    ),
    "UserId empty": (
        custom(LEFT_TOP, BEHIND | {"UserId": "alice"}),
        {ONLY_FIRST: BLUE, IN_BOTH: RED, ONLY_SECOND: RED, OUTSIDE: BLACK},
    ),
    "MediaId of a place": (
        custom(LEFT_TOP | {"UserId": "alice", "MediaId": 1}, BEHIND | {"UserId": "alice", "MediaId": 0}),
        {ONLY_FIRST: GREEN, IN_BOTH: RED, ONLY_SECOND: RED, OUTSIDE: BLACK},
    ),
    "MediaId of the big one": (
        {"MixLayoutMode": 1, "RenderMode": 0, "MaxResolutionUserId": "alice", "MediaId": 1},
        {(80, 30): GREEN, (12, 80): RED, (50, 80): BLUE},
    ),
    "MaxResolutionUserId": ({"MixLayoutMode": 1, "RenderMode": 0, "MaxResolutionUserId": "bob"}, {(80, 30): BLUE, (12, 80): RED}),
    "BackGroundColor": (custom(LEFT_TOP | {"UserId": "bob"}, BackGroundColor="#961e96"), {ONLY_FIRST: BLUE, OUTSIDE: PURPLE}),
    # Five pictures, so four fifths are one's and a fifth, in four rows, the others'.
    "MaxResolutionUserAlign 0": (
        {"MixLayoutMode": 2, "RenderMode": 0, "MaxResolutionUserId": "bob", "MaxResolutionUserAlign": 0},
        {(40, 60): BLUE, (100, 60): BLUE, (144, 16): RED, (144, 38): GREEN, (144, 80): BLACK},
    ),
    "MaxResolutionUserAlign 1": (
        {"MixLayoutMode": 2, "RenderMode": 0, "MaxResolutionUserId": "bob", "MaxResolutionUserAlign": 1},
        {(60, 60): BLUE, (140, 60): BLUE, (16, 16): RED, (16, 38): GREEN, (16, 80): BLACK},
    ),
    # Five with carol are three columns; without her four are two.
    "PureAudioDisableLayout false": (
        {"RenderMode": 0},
        {(26, 16): RED, (80, 16): GREEN, (140, 16): BLUE, (26, 50): BLACK, (80, 50): BLACK},
    ),
    "PureAudioDisableLayout true": (
        {"RenderMode": 0, "PureAudioDisableLayout": True},
        {(60, 30): RED, (140, 30): GREEN, (60, 80): BLUE, (140, 80): BLACK},
    ),
    "PlaceHolderMode 0": (
        custom(
            LEFT_TOP | {"UserId": "carol", "SubBackgroundImage": URL.format("own")},
            place(80, 44, 80, 46, UserId="nobody"),
            PlaceHolderMode=0,
            DefaultSubBackgroundImage=URL.format("face"),
        ),
        everywhere(BLACK),
    ),
    "SubBackgroundImage": (
        custom(
            place(0, 0, 80, 44, UserId="carol", SubBackgroundImage=URL.format("own")),
            place(80, 0, 80, 44, UserId="nobody", SubBackgroundImage=URL.format("own")),
            place(0, 44, 80, 46, UserId="dave", SubBackgroundImage=URL.format("own")),
            place(80, 44, 80, 46, UserId="alice", SubBackgroundImage=URL.format("own")),
            PlaceHolderMode=1,
            DefaultSubBackgroundImage=URL.format("face"),
        ),
        {(20, 30): PURPLE, (140, 30): PURPLE, (20, 80): PURPLE, (140, 80): RED},
    ),
    "DefaultSubBackgroundImage": (
        custom(
            place(0, 0, 80, 44, UserId="carol"),
            place(80, 0, 80, 44, UserId="nobody"),
            place(0, 44, 80, 46, UserId="dave", SubBackgroundImage=URL.format("own")),
            PlaceHolderMode=1,
            DefaultSubBackgroundImage=URL.format("face"),
        ),
        {(20, 30): YELLOW, (140, 30): YELLOW, (20, 80): PURPLE, (140, 80): BLACK},
    ),
    "placeholders in a grid": (
        {"RenderMode": 0, "PlaceHolderMode": 1, "DefaultSubBackgroundImage": URL.format("face"), "BackgroundImageUrl": URL.format("sea")},
        {(26, 16): RED, (80, 16): GREEN, (140, 16): BLUE, (26, 50): YELLOW, (80, 50): YELLOW, (140, 50): BLUE, (80, 80): BLUE},
    ),
    "BackgroundImageUrl": (
        custom(LEFT_TOP | {"UserId": "alice"}, BackgroundImageUrl=URL.format("face")),
        {ONLY_FIRST: RED, OUTSIDE: YELLOW},
    ),
    "an image that could not be had": (
        custom(LEFT_TOP | {"UserId": "alice"}, BackgroundImageUrl=URL.format("gone"), BackGroundColor="#961e96"),
        {ONLY_FIRST: RED, OUTSIDE: PURPLE},
    ),
}


def call(folder: Path, layout: dict[str, Any]) -> Call:
    made = Call(folder, layout, images={URL.format(name): f"{name}.png" for name in (*IMAGES, "stripes")})
    for name, colour in IMAGES.items():
        made.image(f"{name}.png", png((40, 40), colour))
    made.joins(0, "alice", 0)
    made.sees(0, 1, "alice", RED)
    made.sees(0, 1, "alice", GREEN, "aux")
    made.user(0, 1, "bob", 1, BLUE)
    made.user(0, 1, "carol", 2, tone=400)
    made.joins(0, "dave", 3)
    made.track(0, "dave", "video")
    return made


@pytest.mark.parametrize("case", CASES)
def test_a_field_is_seen(case: str, tmp_path: Path) -> None:
    layout, points = CASES[case]
    assert wrong(call(tmp_path, layout).finished(1.2).at(0.6), points) == []


@pytest.mark.parametrize(
    ("mode", "points"),
    [
        # A picture half as wide as it is high on one of 16:9: left half red, right half yellow, and purple is the background.
        (0, {(30, 60): RED, (70, 60): RED, (90, 60): YELLOW, (140, 60): YELLOW}),
        (1, {(6, 40): RED, (70, 50): RED, (90, 50): YELLOW, (154, 40): YELLOW}),
        (2, {(30, 60): PURPLE, (66, 60): RED, (94, 60): YELLOW, (130, 60): PURPLE}),
        # A fifth of the height may be cut, so that it is a quarter larger.
        (3, {(48, 60): PURPLE, (58, 60): RED, (102, 60): YELLOW, (112, 60): PURPLE}),
    ],
)
def test_the_background_image_has_its_render_mode(mode: int, points: Points, tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 80), RED)
    picture.paste(YELLOW, (20, 0, 40, 80))
    layout = custom(BackgroundImageUrl=URL.format("stripes"), BackgroundImageRenderMode=mode, BackGroundColor="#961e96")
    made = call(tmp_path, layout)
    made.image("stripes.png", file_of(picture, "png"))
    assert wrong(made.finished(1.2).at(0.6), points) == []


def test_an_image_first_named_by_a_modify_is_seen_when_it_is_there(tmp_path: Path) -> None:
    """The layout holds from the answer on, the image from when the node has fetched it."""
    made = call(tmp_path, {"RenderMode": 0})
    made.sees(1, 4, "alice", RED)
    layout = custom(LEFT_TOP | {"UserId": "alice"}, BackgroundImageUrl=URL.format("face"), BackGroundColor="#961e96")
    made.modify(1.5, layout)
    made.modify(2.5, layout, {URL.format("face"): "face.png"})
    seen = made.finished(4)
    times = {colour: [t for t, picture in seen.pictures if not wrong(picture, {OUTSIDE: colour})] for colour in (PURPLE, YELLOW)}
    assert abs(times[PURPLE][0] - 1.5) < 0.07
    assert abs(times[YELLOW][0] - 2.5) < 0.07
    assert times[PURPLE][-1] < times[YELLOW][0]
    assert times[YELLOW][-1] > 3.8
    assert not wrong(seen.at(3), {ONLY_FIRST: RED})
