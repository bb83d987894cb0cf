"""Which pictures of a stream a mix still needs."""

from rokuga.journal.reader import Position
from rokuga.render.mix.reel import MOST, STOPPED_90K, Reel
from rokuga.render.mix.scene import Picture
from rokuga.render.plan import Ref


def picture(pts: int, key: bool = False) -> Picture:
    return Picture(Ref(Position(1, pts), 10, pts, keyframe=key, codec="h264"))


def reel(*keys: int, count: int = 10) -> Reel:
    """Pictures at 0, 6000, …; those with these numbers are keyframes."""
    made = Reel()
    for number in range(count):
        made.add(picture(number * 6000, number in keys))
    return made


def times(pictures: tuple[Picture, ...]) -> list[int]:
    return [p.ref.time // 6000 for p in pictures]


def test_nothing_is_kept_before_the_first_keyframe() -> None:
    made = Reel()
    assert not made.add(picture(0))
    assert made.add(picture(6000, key=True))
    assert made.add(picture(12000))
    assert (len(made.pictures), made.last_pts) == (2, 12000)


def test_a_segment_begins_to_decode_at_the_keyframe_before_it() -> None:
    assert times(reel(0, 4, 7).between(5 * 6000, 8 * 6000)) == [4, 5, 6, 7]
    assert times(reel(0, 4, 7).between(4 * 6000, 6 * 6000)) == [4, 5]
    assert times(reel(3).between(0, 5 * 6000)) == [3, 4], "begun in its middle"


def test_what_is_shown_no_more_is_forgotten_up_to_its_keyframe() -> None:
    made = reel(0, 4, 7)
    made.forget(6 * 6000)
    assert times(tuple(made.pictures)) == [4, 5, 6, 7, 8, 9]
    assert Reel.load(made.save()) == made


def test_a_publisher_without_keyframes_is_bounded() -> None:
    made = reel(0, count=MOST + 50)
    made.forget((MOST + 40) * 6000)
    assert made.pictures == []
    made = reel(0, MOST + 45, count=MOST + 50)
    made.forget((MOST + 40) * 6000)
    assert len(made.pictures) == 5, "the next keyframe has come already"
    assert made.pictures[0].ref.keyframe
    made = reel(0, 100, count=MOST + 50)
    made.forget((MOST + 40) * 6000)
    assert len(made.pictures) == MOST - 50
    assert made.pictures[0].ref.keyframe


def test_a_pause_is_a_stop_from_2500_ms_on() -> None:
    made = Reel()
    for pts in (0, 6000, 6000 + 2 * STOPPED_90K, 6000 + 3 * STOPPED_90K):
        made.add(picture(pts, key=True))
    assert list(made.stops(0, 4 * STOPPED_90K)) == [(6000 + STOPPED_90K, 6000 + 2 * STOPPED_90K)]
    # One that began before the segment, and one that goes on behind it.
    begin = 6000 + STOPPED_90K + 90
    assert list(made.stops(begin, begin + 100)) == [(begin, begin + 100)]
    assert list(made.stops(7 * STOPPED_90K, 8 * STOPPED_90K)) == [(7 * STOPPED_90K, 8 * STOPPED_90K)]
    assert list(Reel().stops(0, 100)) == []
