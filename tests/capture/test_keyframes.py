"""When a keyframe is asked for."""

import itertools
from collections.abc import Iterator

from rokuga.capture.keyframes import SECOND, KeyframeAsker

TICK = SECOND // 50
FRAME = SECOND // 10


def drive(
    asker: KeyframeAsker, seconds: float, answers_after: float | None, natural: float | None = None, start: float = 0
) -> Iterator[tuple[float, str]]:
    """Media at 10 frames a second; (second, reason) of each request. ``natural``: a keyframe every so often, asked or not."""
    answer_at: int | None = None
    begin = round(start * SECOND)
    for now in range(begin, begin + round(seconds * SECOND), TICK):
        if (now - begin) % FRAME == 0:
            key = answer_at is not None and now >= answer_at
            key = key or (natural is not None and (now - begin) % round(natural * SECOND) == 0)
            if key:
                answer_at = None
            asker.media(key, now)
        reason = asker.due(now)
        if reason is not None:
            if answers_after is not None and answer_at is None:
                answer_at = now + round(answers_after * SECOND)
            yield round(now / SECOND, 1), reason


def test_a_browser_is_asked_at_the_start_and_before_each_cut() -> None:
    asked = list(drive(KeyframeAsker(10), 40, answers_after=0.1))
    assert asked[0] == (0.0, "start")
    assert [reason for _, reason in asked[1:]] == ["segment"] * 4
    times = [at for at, _ in asked]
    assert 5.8 <= times[1] <= 6.1  # the first segment may be cut at 6 s
    assert all(9.7 <= after - before <= 10.2 for before, after in itertools.pairwise(times[1:]))


def test_who_sends_keyframes_by_itself_is_asked_once_a_segment_at_most() -> None:
    asked = list(drive(KeyframeAsker(10), 60, None, natural=2))
    assert {reason for _, reason in asked} == {"segment"}
    assert len(asked) <= 6


def test_who_cannot_answer_is_asked_less_and_less_and_never_more_than_once_a_second() -> None:
    asked = [at for at, _ in drive(KeyframeAsker(10), 300, None)]
    gaps = [round(b - a, 1) for a, b in itertools.pairwise(asked)]
    assert min(gaps) >= 1.0
    assert max(gaps) >= 29
    assert len(asked) < 30


def test_who_answers_again_is_asked_in_time_again() -> None:
    asker = KeyframeAsker(10)
    list(drive(asker, 60, None))
    again = [at for at, _ in drive(asker, 90, 0.1, start=60)]
    assert 2 <= sum(at > 100 for at in again) <= 5
    assert all(9 <= b - a <= 10.5 for a, b in zip(again[-4:], again[-3:], strict=False))


def test_a_loss_is_asked_for_at_once_and_once() -> None:
    asker = KeyframeAsker(10)
    asker.media(True, 0)
    assert asker.due(0) is None
    asker.lost()
    assert asker.due(TICK) == "loss"
    assert asker.due(2 * TICK) is None
    asker.media(True, 5 * TICK)
    assert asker.due(2 * SECOND) is None


def test_a_keyframe_behind_the_loss_makes_the_request_needless() -> None:
    asker = KeyframeAsker(10)
    asker.media(True, 0)
    asker.lost()
    asker.media(True, 0)
    assert asker.due(TICK) is None


def test_a_camera_that_comes_back_without_keyframe_is_asked() -> None:
    asker = KeyframeAsker(10)
    asker.media(True, 0)
    asker.media(False, SECOND // 2)
    assert asker.due(SECOND // 2) is None
    asker.media(False, 4 * SECOND)
    assert asker.due(4 * SECOND) == "resume"


def test_nobody_is_asked_while_nothing_comes() -> None:
    asker = KeyframeAsker(10)
    asker.media(True, 0)
    assert [asker.due(now) for now in range(2 * SECOND, 100 * SECOND, SECOND)] == [None] * 98


def test_long_segments_have_a_keyframe_every_30_s() -> None:
    asked = list(drive(KeyframeAsker(60), 120, answers_after=0.1))
    keyframes = [at for at, _ in asked]
    assert {reason for _, reason in asked} == {"start", "segment", "interval"}
    assert all(after - before <= 30.5 for before, after in itertools.pairwise(keyframes))
