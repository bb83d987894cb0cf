"""Who is where, read back from finished files: 1 to 25 users in distinct colours with a moving mark, in each of the four layouts."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from rokuga.folders import Generation
from rokuga.hls import playlist
from rokuga.journal.records import RoomEvent
from rokuga.render import main as render
from rokuga.render.mix.canvas import views
from rokuga.render.mix.colour import Rgb, yuv
from rokuga.storage import spool
from rokuga.storage.spool import Segment
from tests.render.material import FPS, SECOND, JournalMaker
from tests.render.mix.film import COLUMNS, film

pytestmark = pytest.mark.live

COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 18, 25)
"""users in the room, each for a second"""
MOST = COUNTS[-1]
WIDTH, HEIGHT = 800, 450
RATE = 5
"""pictures a second of the mix; users send 15"""
PTS_BEGIN = 10
"""seconds at which a recording's presentation times begin"""
BACKGROUND: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)
GRID, FLOATING, SCREEN, CUSTOM = 3, 1, 2, 4
Box = tuple[float, float, float, float]
"""left, top, width, height in parts of the canvas"""


def colours() -> list[Rgb]:
    """As far from one another, from the background and from the mark as can be, and none so bright that the mark is not seen on it."""
    steps = range(0, 256, 51)
    seen = {c: yuv(c) for c in ((r, g, b) for r in steps for g in steps for b in steps)}
    nearest = {c: min(distance(seen[c], seen[other]) for other in (BACKGROUND, WHITE)) for c in seen if seen[c][0] <= 170}
    chosen: list[Rgb] = []
    while len(chosen) < MOST:
        chosen.append(max(nearest, key=lambda c: nearest[c]))
        nearest = {c: min(near, distance(seen[c], seen[chosen[-1]])) for c, near in nearest.items()}
    return chosen


def distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


PEOPLE = colours()


def grid(count: int) -> list[Box]:
    """Equal cells: 1, 2, 2x2, 3x3, 4x4, 5x5."""
    columns = next(n for n in (1, 2, 3, 4, 5) if count <= n * n) if count != 2 else 2
    rows = 1 if count <= 2 else columns
    return [(n % columns / columns, n // columns / rows, 1 / columns, 1 / rows) for n in range(count)]


def floating(count: int) -> list[Box]:
    """The first fills everything; rows of 4 from the bottom left of 0.235 at distances of 0.012, or of 5 of 0.188 at 0.010."""
    columns, size, gap = (4, 0.235, 0.012) if count <= 17 else (5, 0.188, 0.010)
    small = [(gap + n % columns * (size + gap), 1 - (n // columns + 1) * (size + gap), size, size) for n in range(count - 1)]
    return [(0.0, 0.0, 1.0, 1.0), *small]


def screen(count: int) -> list[Box]:
    """The first at the left, columns of 4, 6, 8 or 16 at the right; above 17 a row at the bottom."""
    if count <= 9:
        rows = 4 if count <= 5 else 6 if count <= 7 else 8
        width = 1 / (rows + 1)
        return [(0.0, 0.0, 1 - width, 1.0), *((1 - width, n / rows, width, 1 / rows) for n in range(count - 1))]
    big = (0.0, 0.0, 0.8, 1.0 if count <= 17 else 7 / 8)
    columns = [(0.8 + n // 8 / 10, n % 8 / 8, 0.1, 1 / 8) for n in range(min(count - 1, 16))]
    return [big, *columns, *((n / 10, 7 / 8, 0.1, 1 / 8) for n in range(count - 17))]


PIXELS = [(n * 7 % 25 % 5 * 160 + 8, n * 7 % 25 // 5 * 90 + 8) for n in range(MOST)]
"""where the custom layout has its 25 places; each is 128 x 64"""
OWN = {n: f"user{n:02}" for n in range(MOST) if n % 3}
"""whose place is their own; the others take those who have none, in the order in which they came"""
CUSTOM_LIST = [
    {"Left": left, "Top": top, "Width": 128, "Height": 64, "RenderMode": 0, "UserId": OWN.get(n, "")}
    for n, (left, top) in enumerate(PIXELS)
]


def custom(count: int) -> list[Box]:
    """The places of the list, one after the other."""
    return [(left / WIDTH, top / HEIGHT, 128 / WIDTH, 64 / HEIGHT) for left, top in PIXELS[:count]]


LAYOUTS: dict[int, tuple[Any, dict[str, Any]]] = {
    GRID: (grid, {}),
    FLOATING: (floating, {"MaxResolutionUserId": "user00"}),
    SCREEN: (screen, {"MaxResolutionUserId": "user00"}),
    CUSTOM: (custom, {"MixLayoutList": CUSTOM_LIST}),
}


def record(folder: Path, mode: int) -> Path:
    """The finished index of a call to which they come one after the other."""
    video = {"Width": WIDTH, "Height": HEIGHT, "Fps": RATE, "BitRate": 2_000_000, "Gop": 10}
    layout = {"MixLayoutMode": mode, "RenderMode": 0, "BackGroundColor": "#000000", **LAYOUTS[mode][1]}
    maker = JournalMaker(folder / "journal", params={"record_mode": 2, "transcode": {"VideoParams": video}, "layout": layout})
    for number in range(MOST):
        came = arrival(number)
        maker.add(came * SECOND, RoomEvent("joined", f"user{number:02}", number))
        track = maker.track(came * SECOND, f"user{number:02}", "video")
        maker.video(track, came * SECOND, len(COUNTS) - came, film(PEOPLE[number], 4 * COLUMNS, 160, 90, 2 * COLUMNS))
        maker.close(len(COUNTS) * SECOND, track)
    maker.write(len(COUNTS) * SECOND + SECOND)
    asyncio.run(render.run(Generation(folder)))
    found = [entry for _, entry in spool.read_manifest(folder / "spool") if isinstance(entry, Segment)]
    index = folder / "spool" / "index.m3u8"
    index.write_text(playlist.render(found, ended=True))
    return index


def arrival(number: int) -> int:
    """The second in which a user comes."""
    return next(second for second, count in enumerate(COUNTS) if number < count)


def frames(index: Path) -> Iterator[tuple[float, VideoFrame]]:
    with av.open(str(index)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            yield frame.time - PTS_BEGIN, frame


def seen_at(frame: VideoFrame, x: float, y: float) -> int | None:
    """Whose colour that point has; None: the background's."""
    planes = views(frame)
    across, down = int(x * WIDTH), int(y * HEIGHT)
    found = int(planes[0][down, across]), int(planes[1][down // 2, across // 2]), int(planes[2][down // 2, across // 2])
    best = min(range(-1, MOST), key=lambda n: distance(found, yuv(PEOPLE[n] if n >= 0 else BACKGROUND)))
    return best if best >= 0 else None


def mark(frame: VideoFrame, box: Box) -> int:
    """In which of its columns the brightest is."""
    left, top, width, height = box
    row = views(frame)[0][int((top + height / 8) * HEIGHT)]
    return int(np.argmax([row[int((left + (c + 0.5) * width / COLUMNS) * WIDTH)] for c in range(COLUMNS)]))


def spot(mode: int, count: int, number: int, box: Box) -> tuple[float, float]:
    """A point of the box in which nothing but this user can be seen."""
    left, top, width, height = box
    if mode == FLOATING and number == 0:
        return (0.253 if count <= 17 else 0.203), 0.5  # between two of the columns that stand on it
    return left + width / 2, top + height * 0.7


@pytest.mark.parametrize("mode", LAYOUTS)
def test_everybody_is_in_their_place_and_moves(mode: int, tmp_path: Path) -> None:
    index = record(tmp_path, mode)
    judged = 0
    wrong = []
    for time, frame in frames(index):
        second = int(time)
        if second >= len(COUNTS) or not 0.2 < time % 1 < 0.9:
            continue
        count = COUNTS[second]
        boxes: list[Box] = LAYOUTS[mode][0](count)
        assert len(boxes) == count
        for number, box in enumerate(boxes):
            found = seen_at(frame, *spot(mode, count, number, box))
            if found != number:
                wrong.append(f"{time:.2f} s, {count} users: place {number} shows {found}")
            if mode != FLOATING or number:
                age = int((time - arrival(number)) * FPS + 0.01)
                # An output picture shows what is nearest to its time, 1.5 pictures of the user's at most.
                if (age - mark(frame, box)) % COLUMNS not in (0, 1, COLUMNS - 1, COLUMNS - 2):
                    wrong.append(f"{time:.2f} s, {count} users: {number} shows its picture {mark(frame, box)}, not {age % COLUMNS}")
            judged += 1
        later: list[Box] = LAYOUTS[mode][0](MOST)
        if mode == CUSTOM:
            wrong += [f"{time:.2f} s: an empty place" for box in later[count:] if seen_at(frame, *spot(mode, count, 1, box)) is not None]
    assert wrong == []
    assert judged > sum(COUNTS) * RATE * 0.6
