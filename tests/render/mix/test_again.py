"""A segment's bytes depend on its plan alone: a mixer that made the segments before gives those of one that has just been started."""

import random
from dataclasses import replace

import pytest

from rokuga.render.mix.layout import CROP, FIT, Layout, Rect, Shown, arrange
from rokuga.render.mix.scene import MixVideo, Picture, Scene, Tile
from rokuga.render.mix.video import VideoMixer
from tests.render.material import coded as moving
from tests.render.material import h264
from tests.render.mix.film import Journal, NoImages, plan

pytestmark = pytest.mark.live

SEGMENTS = [(0, 17), (17, 30), (30, 31), (31, 52), (52, 60)]
GRID = [cell.rect for cell in arrange(640, 360, [Shown(str(n), "main") for n in range(4)], Layout())]


def made(mixer: VideoMixer, segment: MixVideo) -> bytes:
    return b"".join(data for data, _, _ in mixer.segment(segment))


def room(journal: Journal, damage: int = 0) -> list[list[Picture]]:
    """Four cameras of different keyframe intervals, one of which never sends a second one. ``damage``: seed of what was broken."""
    units = [h264(320, 180, 4, 15), h264(160, 90, 4, 7), h264(320, 180, 4, 1000), moving("vp8", 160, 90, 4, 20)]
    tracks = [journal.track(u, begin=-900 * n, codec="vp8" if n == 3 else "h264") for n, u in enumerate(units)]
    rng = random.Random(damage)
    for track in tracks if damage else ():
        for picture in rng.sample(track, 12):
            data = bytearray(journal.data[picture.ref.position])
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            journal.data[picture.ref.position] = bytes(data[: rng.choice([len(data), len(data) // 2, 0])])
        del track[rng.randrange(1, 10) :: rng.randrange(5, 20)]
    return tracks


def segments(tracks: list[list[Picture]]) -> list[MixVideo]:
    """Scenes change in and between them, and who is shown; sources have no fixed numbers."""
    plans = []
    for number, (first, end) in enumerate(SEGMENTS):
        order = [(n + number) % 4 for n in range(4)]
        places = {track: Tile(GRID[track], order.index(track), CROP) for track in order}
        front = Tile(Rect(100, 60, 300, 200), order.index(1), FIT, alpha=60)
        scenes = [Scene(0, tuple(places[t] for t in range(4) if t != 2 or number != 1))]
        if end - first > 10:
            scenes.append(Scene(6, (places[2], places[0], front), background=(10, 100, 60)))
            scenes.append(Scene(8, (*places.values(), front)))
        plans.append(plan([tracks[n] for n in order], scenes, (first, end)))
    return plans


@pytest.mark.parametrize("damage", range(4))
def test_a_fresh_mixer_makes_the_same_bytes_as_one_that_went_through_all(damage: int) -> None:
    journal = Journal()
    plans = segments(room(journal, damage))
    live = VideoMixer(journal.payload, NoImages())
    for segment in plans:
        assert made(VideoMixer(journal.payload, NoImages()), segment) == made(live, segment)


def test_segments_in_any_order_and_twice() -> None:
    journal = Journal()
    plans = segments(room(journal))
    fresh = [made(VideoMixer(journal.payload, NoImages()), segment) for segment in plans]
    live = VideoMixer(journal.payload, NoImages())
    assert [made(live, plans[n]) for n in (1, 1, 4, 0, 2, 3, 0)] == [fresh[n] for n in (1, 1, 4, 0, 2, 3, 0)]


def test_a_segment_that_is_given_up_in_the_middle_leaves_nothing_behind() -> None:
    journal = Journal()
    plans = segments(room(journal))
    live = VideoMixer(journal.payload, NoImages())
    made(live, plans[0])
    given_up = live.segment(plans[3])
    next(given_up)
    del given_up
    assert made(live, plans[1]) == made(VideoMixer(journal.payload, NoImages()), plans[1])


def test_decoders_go_on_where_the_segment_before_ended() -> None:
    """A camera without a second keyframe: nothing is decoded twice."""
    journal = Journal()
    track = journal.track(h264(320, 180, 4, 1000))
    live = VideoMixer(journal.payload, NoImages())
    for first, end in SEGMENTS:
        made(live, plan([track], [Scene(0, (Tile(GRID[0], 0, CROP),))], (first, end)))
    assert journal.read == [picture.ref.position for picture in track]


def test_a_decoder_is_not_used_where_the_plan_has_other_pictures() -> None:
    """One that the segment before still had is missing: that matters to what is shown."""
    journal = Journal()
    track = journal.track(h264(320, 180, 4, 1000))
    tiles = Scene(0, (Tile(GRID[0], 0, CROP),))
    first, second = (plan([track], [tiles], frames) for frames in ((0, 20), (20, 40)))
    gap = replace(second, sources=(second.sources[0][:9] + second.sources[0][10:],))
    live, fresh = VideoMixer(journal.payload, NoImages()), VideoMixer(journal.payload, NoImages())
    made(live, first)
    assert made(live, gap) == made(fresh, gap)
