"""What happens in a room, seen and heard in the finished file: at the very picture, and of nobody else."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame

from rokuga.journal.records import Frame, Loss
from rokuga.render.mix import tiles
from rokuga.render.mix.canvas import views
from rokuga.render.mix.colour import Rgb, yuv
from rokuga.render.mix.layout import Rect
from tests.render.material import EPOCH, FPS, SECOND, opus
from tests.render.mix.film import BLUE, COLOURS, GREEN, PURPLE, RED, Seen, count, film, near
from tests.render.mix.finished import SIZE, Call, Finished

pytestmark = pytest.mark.live

BLACK: Rgb = (0, 0, 0)
CORNERS = ((40, 30), (120, 30), (40, 70), (120, 70))
"""a point of each quarter, below the mark of whatever fills the quarter, a half or all of the canvas"""
Quarters = tuple[Rgb, Rgb, Rgb, Rgb]
HALVES: Quarters = (RED, BLUE, RED, BLUE)
ONE_EMPTY: Quarters = (RED, BLACK, RED, BLACK)
ALONE: Quarters = (RED, RED, RED, RED)
OFF, ON, SENDS = 2.13, 3.37, 3.7
"""when a track is closed, when one is opened, and when its first picture comes"""


def quarters(seen: Seen) -> tuple[Rgb | None, ...]:
    return tuple(next((c for c in (*COLOURS, BLACK) if near(seen, x, y, c, 8)), None) for x, y in CORNERS)


def room(folder: Path, **layout: Any) -> Call:
    """alice and bob with sound, alice with her camera."""
    made = Call(folder, {"RenderMode": 0, **layout})
    made.user(0, 5, "alice", 0, RED, 400)
    made.joins(0, "bob", 1)
    made.hears(0, 5, "bob", 700)
    return made


def opens(made: Call, begin: float, sends: float, end: float, colour: Rgb, media: Any = "main") -> None:
    """A track of bob's that sends its first picture some time after it was opened."""
    track = made.track(round(begin * SECOND), "bob", "video", media)
    made.video(track, round(sends * SECOND), end - sends, film(colour, 64, *SIZE))
    made.close(round(end * SECOND), track, "unpublished")


def judge(seen: Finished, expected: Iterable[tuple[float, float, Quarters]]) -> list[str]:
    """Each picture against what must be seen from when to when, in seconds of the journal."""
    wrong = []
    for begin, end, wanted in expected:
        pictures = [(t, s) for t, s in seen.pictures if begin <= t < end]
        assert pictures, (begin, end)
        wrong += [f"{t:.3f}: {quarters(s)}, not {wanted}" for t, s in pictures if quarters(s) != wanted]
    return wrong


SLACK = 0.1
"""of when a picture comes; when the layout changes there is none"""


@pytest.mark.parametrize(("hidden", "without"), [(False, ONE_EMPTY), (True, ALONE)])
def test_a_camera_that_is_unpublished_and_comes_back(hidden: bool, without: Quarters, tmp_path: Path) -> None:
    """Its user goes on speaking: the place stays, unless PureAudioDisableLayout."""
    made = room(tmp_path, PureAudioDisableLayout=hidden)
    opens(made, 0, 0, OFF, BLUE)
    opens(made, ON, SENDS, 5, BLUE)
    changes = [(0.2, OFF, HALVES), (OFF, ON, without), (ON, SENDS - SLACK, ONE_EMPTY), (SENDS + SLACK, 4.9, HALVES)]
    assert judge(made.finished(5), changes) == []


def test_a_camera_that_is_muted_keeps_its_place_and_its_last_picture(tmp_path: Path) -> None:
    """The track stays open, nothing comes on it."""
    made = room(tmp_path, PureAudioDisableLayout=True)
    made.sees(0, 5, "bob", BLUE, stops=OFF)
    seen = made.finished(5)
    assert judge(seen, [(0.2, 4.9, HALVES)]) == []
    assert len({count(s, Rect(80, 0, 80, 90)) for s in seen.between(OFF + SLACK, 4.9)}) == 1


def test_a_screen_has_a_place_of_its_own_while_it_is_shared(tmp_path: Path) -> None:
    """Behind its user's camera, from when its track is opened until that is closed."""
    made = room(tmp_path)
    opens(made, 0, 0, 5, BLUE)
    opens(made, OFF, OFF + 0.4, ON, GREEN, "aux")
    changes: list[tuple[float, float, Quarters]] = [
        (0.2, OFF, HALVES),
        (OFF, OFF + 0.4 - SLACK, (RED, BLUE, BLACK, BLACK)),
        (OFF + 0.4 + SLACK, ON, (RED, BLUE, GREEN, BLACK)),
        (ON, 4.9, HALVES),
    ]
    assert judge(made.finished(5), changes) == []


def test_who_publishes_nothing_has_no_place(tmp_path: Path) -> None:
    made = room(tmp_path)
    opens(made, 0, 0, OFF, BLUE)
    made.joins(0, "carol", 2)
    made.hears(ON, 4.5, "carol", 1000)
    third: Quarters = (RED, BLACK, BLACK, BLACK)
    assert judge(made.finished(5), [(0.2, OFF, HALVES), (OFF, ON, ONE_EMPTY), (ON, 4.5, third), (4.5, 4.9, ONE_EMPTY)]) == []


def test_who_is_not_drawn_is_heard(tmp_path: Path) -> None:
    """A custom layout has a place for one alone."""
    places = [{"Left": 0, "Top": 0, "Width": 80, "Height": 90, "RenderMode": 0, "UserId": "alice"}]
    made = room(tmp_path, MixLayoutMode=4, MixLayoutList=places)
    opens(made, 0, 0, 5, BLUE)
    seen = made.finished(5)
    assert judge(seen, [(0.2, 4.9, ONE_EMPTY)]) == []
    assert min(seen.level(tone, 1, 4) for tone in (400, 700)) > 0.1


# A bad network

WEAK, STRONG = Rect(0, 0, 80, 90), Rect(80, 0, 80, 90)


def two(folder: Path, trouble: bool) -> Finished:
    """bob's network is good. alice's loses a third from 2 to 4 s, keeps back what is sent from 5 to 6.2 s, and is gone from 7 to 8.5 s."""
    made = Call(folder, {"RenderMode": 0})
    made.user(0, 11, "bob", 1, BLUE, 700)
    made.joins(0, "alice", 0)
    tracks = made.track(0, "alice", "video"), made.track(0, "alice", "audio")
    units, packets = film(RED, 64, *SIZE), opus(4, beep_every=0.1, tone=400)
    for track, rate, clock, count_, data in (
        (tracks[0], FPS, 90_000, 11 * FPS, units),
        (tracks[1], 50, 48_000, 11 * 50, tuple((packet, False) for packet in packets)),
    ):
        for number in range(count_):
            at, rtp = number / rate, number * clock // rate
            lost = trouble and ((2 <= at < 4 and number % 3 == 0) or 7 <= at < 8.5)
            if lost:
                made.add(round((at + 1) * SECOND), Loss(track, number, number, rtp, "network", 3))
            else:
                arrives = round((6.18 + (at - 5) / 100 if trouble and 5 <= at < 6.2 else at) * SECOND)
                payload, key = data[number % len(data)]
                made.add(arrives, Frame(track, rtp, EPOCH + arrives, EPOCH + arrives, key, payload))
    for track in tracks:
        made.close(11 * SECOND, track)
    made.leaves(11, "alice")
    return made.finished(12)


def test_a_bad_network_neither_stops_nor_shifts_the_others(tmp_path: Path) -> None:
    good, bad = (two(tmp_path / str(trouble), trouble) for trouble in (False, True))
    assert [t for t, _ in good.pictures] == [t for t, _ in bad.pictures]
    marks = [[count(seen, STRONG) for seen in run.between(0.2, 10.9)] for run in (good, bad)]
    assert marks[0] == marks[1]
    # Each picture of bob's is seen for as long as the next, but for the jitter of its arrival.
    steps = [(after - before) % 8 for before, after in zip(marks[1], marks[1][1:], strict=False)]
    assert steps.count(1) > 0.9 * len(steps), steps
    assert max(steps) <= 2
    for begin in np.arange(1, 10, 0.2):
        # Neither weaker (the limiter lets through a little more while the other is silent) nor at another time.
        ratio = bad.tone(700, begin, begin + 0.2) / good.tone(700, begin, begin + 0.2)
        assert 0.97 < abs(ratio) < 1.25, begin
        assert abs(np.angle(ratio)) < 0.1, begin
    # alice is frozen while nothing comes, and afterwards where she would have been, in picture and sound.
    assert len({count(seen, WEAK) for seen in bad.between(7.2, 8.4)}) == 1
    for begin, end in ((0.5, 2), (6.3, 7), (10, 11)):
        assert [count(s, WEAK) for s in bad.between(begin, end)] == [count(s, WEAK) for s in good.between(begin, end)], begin
    assert bad.level(400, 7.2, 8.4) < 0.01
    assert bad.level(400, 9.5, 10.5) == pytest.approx(good.level(400, 9.5, 10.5), rel=0.03)
    # What was kept back came before the mix was decided there.
    assert [count(s, WEAK) for s in bad.between(5, 6.2)] == [count(s, WEAK) for s in good.between(5, 6.2)]


# Only the work that is needed


def test_a_picture_is_scaled_once_however_often_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 and of 15 pictures a second, in a mix that has 15."""
    scaled: list[Rgb] = []
    scale = tiles._scaled

    def counting(frame: VideoFrame, *of: Any) -> VideoFrame:
        u = int(views(frame)[1][-1, -1])
        scaled.append(min((RED, PURPLE), key=lambda colour: abs(u - yuv(colour)[1])))
        return scale(frame, *of)

    monkeypatch.setattr(tiles, "_scaled", counting)
    made = Call(tmp_path, {"RenderMode": 0})
    made.user(0, 5, "alice", 0, RED)
    made.joins(0, "bob", 1)
    slow = made.track(0, "bob", "video")
    for number, (data, key) in enumerate(film(PURPLE, 25, *SIZE, gop=5)):
        made._frame(slow, number * SECOND // 5, number * 18_000, data, key)
    made.close(5 * SECOND, slow)
    made.leaves(5, "bob")
    pictures = made.finished(6).pictures
    assert len(pictures) == 75
    assert (scaled.count(RED), scaled.count(PURPLE)) == (75, 25)
