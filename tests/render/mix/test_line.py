"""What the fold of a mixed recording decides, on records made by hand: no codec runs here."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from rokuga.journal.reader import Position
from rokuga.journal.records import End, Frame, Params, RoomEvent, TrackClosed, TrackOpened
from rokuga.render.fold import Fold
from rokuga.render.line import Line
from rokuga.render.mix.line import MixLine
from rokuga.render.mix.marks import TextMark
from rokuga.render.mix.plan import MixPlan, Voice, files_of
from rokuga.render.mix.scene import MixVideo, Scene
from rokuga.render.plan import HEAD_START_90K, LineKey, Plan, Ref
from tests.render.material import PARAMS, SECOND
from tests.render.test_fold import HEADER, Room

MIXED: dict[str, Any] = {
    "record_mode": 2,
    "transcode": {"VideoParams": {"Width": 640, "Height": 360, "Fps": 10, "BitRate": 500000, "Gop": 10}},
}
FPS = 10


class MixRoom(Room):
    """People with numbers: ``come``, ``video`` and ``audio`` of their tracks 2n + 1 and 2n + 2, ``go``."""

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        super().__init__({**MIXED, **(params or {})})

    def plans(self, end: float) -> list[tuple[float, Plan]]:
        self.add(end, End(0, "deleted"))
        return super().plans(end)

    def come(self, at: float, number: int, kinds: Sequence[str] = ("video", "audio")) -> "MixRoom":
        user = f"user{number}"
        self.add(at, RoomEvent("joined", user, number))
        if "video" in kinds:
            self.add(at, TrackOpened(2 * number + 1, user, "main", "video", "h264", 90_000))
        if "audio" in kinds:
            self.add(at, TrackOpened(2 * number + 2, user, "main", "audio", "opus", 48_000, 2))
        return self

    def sends(self, number: int, begin: float, end: float, kinds: Sequence[str] = ("video", "audio")) -> "MixRoom":
        if "video" in kinds:
            self.video(2 * number + 1, begin, end, range(int(end - begin) + 1))
        if "audio" in kinds:
            self.audio(2 * number + 2, begin, end)
        return self

    def go(self, at: float, number: int) -> "MixRoom":
        for track in (2 * number + 1, 2 * number + 2):
            self.add(at, TrackClosed(track, "left"))
        self.add(at, RoomEvent("left", f"user{number}", number))
        return self

    def modify(self, at: float, version: int, layout: dict[str, Any]) -> "MixRoom":
        self.add(at, Params(version, {**PARAMS, **MIXED, "layout": layout}))
        return self


def mixed(room: Room, end: float) -> list[MixPlan]:
    plans = [plan for _, plan in room.plans(end)]
    assert all(isinstance(p, MixPlan) for p in plans)
    return [p for p in plans if isinstance(p, MixPlan)]


def seen(plans: Sequence[MixPlan], second: float) -> list[bool]:
    """Of each tile in a second since the recording's beginning: whether it shows a source."""
    scene = scene_at(plans, second)
    return [tile.source is not None for tile in scene.tiles]


def scene_at(plans: Sequence[MixPlan], second: float) -> Scene:
    pts = HEAD_START_90K + round(second * 90_000)
    video = next(p.video for p in plans if p.video and p.head.pts <= pts < p.head.end_pts)
    assert isinstance(video, MixVideo)
    number = sum(p <= pts for p in video.pts) - 1
    return [s for s in video.scenes if s.first <= number][-1]


def test_segments_are_whole_pictures_and_sound_runs_through() -> None:
    plans = mixed(MixRoom().come(0, 0).sends(0, 0, 40), 40)
    assert [p.head.key for p in plans] == [LineKey("", "mix", "audio_video")] * len(plans)
    assert [len(p.video.pts) for p in plans if p.video] == [60, 100, 100, 100, 40]
    pts = [t for p in plans if p.video for t in p.video.pts]
    assert {b - a for a, b in pairwise(pts)} == {90_000 // FPS}
    blocks = [t for p in plans if p.audio for t in p.audio.pts]
    assert {b - a for a, b in pairwise(blocks)} == {1920}
    assert [p.head.end_pts for p in plans[:-1]] == [p.head.pts for p in plans[1:]]
    for plan in plans[1:]:
        assert plan.video is not None
        assert plan.audio is not None
        # A segment's sound begins with the frame that contains the cut.
        assert plan.audio.pts[0] <= plan.head.pts < plan.audio.pts[0] + 1920


def test_it_begins_with_the_first_media_and_ends_with_the_last_when_the_room_is_empty() -> None:
    plans = mixed(MixRoom().come(3, 0).sends(0, 4, 30).go(30, 0), 90)
    assert abs(plans[0].head.pts - HEAD_START_90K - 4 * 90_000) < 2_000
    assert abs(plans[-1].head.end_pts - HEAD_START_90K - 30 * 90_000) < 90_000 // FPS + 2_000


def test_an_empty_room_goes_on_with_background_when_somebody_comes_back() -> None:
    room = MixRoom().come(0, 0).sends(0, 0, 20).go(20, 0).come(60, 1).sends(1, 60, 80).go(80, 1)
    plans = mixed(room, 120)
    assert seen(plans, 10) == [True]
    assert scene_at(plans, 40).tiles == ()
    assert seen(plans, 70) == [True]
    pts = [t for p in plans if p.video for t in p.video.pts]
    assert {b - a for a, b in pairwise(pts)} == {90_000 // FPS}


def test_a_silent_anchor_keeps_it_going() -> None:
    plans = mixed(MixRoom().come(0, 0).sends(0, 0, 10), 60)
    assert abs(plans[-1].head.end_pts - HEAD_START_90K - 60 * 90_000) <= 90_000


def test_who_comes_and_goes_is_laid_out_at_that_picture() -> None:
    room = MixRoom().come(0, 0).sends(0, 0, 40).come(12.3, 1).sends(1, 12.5, 25).go(25.5, 1)
    plans = mixed(room, 40)
    assert seen(plans, 12.25) == [True]
    assert seen(plans, 12.45) == [True, True]
    assert seen(plans, 25.35) == [True, True]
    assert seen(plans, 25.65) == [True]
    changes = [p.video.pts[s.first] for p in plans if p.video for s in p.video.scenes if s.first]
    assert [round((t - HEAD_START_90K) / 90_000, 1) for t in changes] == [12.3, 25.5]


def test_a_camera_that_stops_is_black_or_stays() -> None:
    for fill, black in ((0, False), (1, True)):
        room = MixRoom({"fill_type": fill}).come(0, 0).sends(0, 0, 40, ("audio",)).sends(0, 0, 10, ("video",))
        plans = mixed(room, 40)
        assert [t.black for t in scene_at(plans, 11).tiles] == [False]
        assert [t.black for t in scene_at(plans, 13).tiles] == [black]


def test_watermarks_are_those_of_the_scene_however_often_cameras_stop() -> None:
    def layout(*chars: str) -> dict[str, Any]:
        text = {"Top": 0, "Left": 0, "Width": 100, "Height": 20}
        return {"MixLayoutMode": 3, "WaterMarkList": [{"WaterMarkType": 1, "WaterMarkChar": {**text, "Chars": c}} for c in chars]}

    room = MixRoom({"fill_type": 1, "layout": layout("a")}).come(0, 0).sends(0, 0, 40, ("audio",)).sends(0, 0, 10, ("video",))
    room.sends(0, 14, 40, ("video",)).modify(13.2, 2, layout("b", "c"))
    plans = mixed(room, 40)
    second = plans[1]
    assert second.video is not None
    texts = [[mark.text for mark in marks if isinstance(mark, TextMark)] for marks in second.marks]
    times = [round((second.video.pts[scene.first] - HEAD_START_90K) / 90_000, 1) for scene in second.video.scenes]
    assert list(zip(times, texts, strict=True)) == [(6.0, ["a"]), (12.4, ["a"]), (13.3, ["b", "c"]), (14.0, ["b", "c"])]


def test_modify_is_seen_from_its_record_on() -> None:
    places = [{"Left": 0, "Top": 0, "Width": 100, "Height": 100, "UserId": "user0"}]
    room = MixRoom().come(0, 0).sends(0, 0, 30).modify(15.2, 2, {"MixLayoutMode": 4, "MixLayoutList": places, "BackGroundColor": "#ff0000"})
    plans = mixed(room, 30)
    before, after = scene_at(plans, 15.15), scene_at(plans, 15.35)
    assert (before.tiles[0].rect.width, before.background) == (640, (0, 0, 0))
    assert (after.tiles[0].rect.width, after.background) == (100, (255, 0, 0))


def test_pictures_reach_back_to_the_keyframe_before_a_segment() -> None:
    room = MixRoom().come(0, 0)
    room.video(1, 0, 40, [0, 7.5, 18.2])
    plans = mixed(room, 40)
    for plan in plans:
        assert plan.video is not None
        (source,) = plan.video.sources
        assert source[0].ref.keyframe
        assert source[0].ref.time <= plan.head.pts + 3_000
        assert all(not p.ref.keyframe or p.ref.time > plan.head.pts for p in source[1:])


@pytest.mark.parametrize("stream_type", [1, 2])
def test_sound_or_picture_alone(stream_type: int) -> None:
    plans = mixed(MixRoom({"stream_type": stream_type}).come(0, 0).sends(0, 0, 30), 30)
    assert {p.head.key.track_type for p in plans} == {("audio", "video")[stream_type - 1]}
    assert all((p.video is None) == (stream_type == 1) and (p.audio is None) == (stream_type == 2) for p in plans)


def started_again(bob_is_back: bool) -> MixRoom:
    """Two, whose capture dies without a word at 10.5 s; its successor tells who is there, under new numbers. At 20 s one is left, at
    40 s nobody.
    """
    room = MixRoom().come(0, 0).come(0, 1).sends(0, 0, 10).sends(1, 0, 10)
    room.add(10.5, RoomEvent("restarted")).add(10.5, Params(1, {**PARAMS, **MIXED}))
    for user, end in ((0, 40), (1, 20))[: 1 + bob_is_back]:
        picture, voice = 11 + 2 * user, 12 + 2 * user
        room.add(10.6, RoomEvent("joined", f"user{user}", user))
        room.add(10.7, TrackOpened(picture, f"user{user}", "main", "video", "h264", 90_000))
        room.add(10.7, TrackOpened(voice, f"user{user}", "main", "audio", "opus", 48_000, 2))
        room.video(picture, 10.8, end, range(30), rtp=100).audio(voice, 10.8, end, rtp=100)
        room.add(end, TrackClosed(picture, "left")).add(end, TrackClosed(voice, "left")).add(end, RoomEvent("left", f"user{user}", user))
    return room


def lively() -> MixRoom:
    room = (
        MixRoom({"fill_type": 1}).come(0, 0).sends(0, 0, 26).come(5.3, 1).sends(1, 5.5, 18).go(18.2, 1).modify(16, 2, {"MixLayoutMode": 1})
    )
    room.go(26, 0).come(34, 2).sends(2, 34, 45)
    return room


@pytest.mark.live
@pytest.mark.parametrize("room", [lively(), started_again(True)], ids=["lively", "started again"])
def test_resumed_at_any_record_it_decides_the_same(room: MixRoom) -> None:
    entries = room.entries(45)
    whole = Fold(HEADER, room.peek)
    plans = [plan for entry in entries for plan in whole.feed(entry)]
    for stop in range(20, len(entries), 211):
        first = Fold(HEADER, room.peek)
        made = [plan for entry in entries[:stop] for plan in first.feed(entry)]
        state = json.loads(json.dumps(first.state(entries[stop].position)))
        second = Fold(HEADER, room.peek, state)
        for entry in entries:
            if entry.position >= second.start:
                made += second.feed(entry)
        assert made == plans, stop


def test_frames_settled_track_by_track_are_where_they_would_be_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    room = MixRoom().come(0, 0).sends(0, 0, 40).come(5.3, 1).sends(1, 5.5, 30).go(30.2, 1).come(33, 2).sends(2, 33.1, 40)
    random_ = random.Random(3)
    for number, (at, record) in enumerate(room.records):
        if isinstance(record, Frame):
            # What was late may be followed by what was not, and publishers' clocks are wrong.
            late = random_.randrange(500_000_000 if random_.random() < 0.05 else 5_000_000)
            drift = round(record.rtp_time * (record.track - 3) * 1e-4)
            arrival = record.first_arrival_ns + late
            moved = replace(record, rtp_time=record.rtp_time + drift, first_arrival_ns=arrival, last_arrival_ns=arrival)
            room.records[number] = (at + late / SECOND, moved)
    room.add(41, End(0, "deleted"))
    entries = room.entries(41)
    together = Fold(HEADER, room.peek)
    plans = [plan for entry in entries for plan in together.feed(entry)]
    monkeypatch.setattr(MixLine, "advance", Line.advance)
    single = Fold(HEADER, room.peek)
    assert plans == [plan for entry in entries for plan in single.feed(entry)]
    assert len(plans) > 3


def test_the_files_that_a_mix_is_made_of() -> None:
    def voices(*files: int) -> tuple[Voice, ...]:
        return tuple(Voice(Ref(Position(file, 77), 3, 0, 960), 960 * number, 960) for number, file in enumerate(files))

    assert files_of(voices(1, 1, 2, 5, 5), voices(), voices(4)) == {1, 2, 4, 5}


def test_a_camera_whose_keyframe_has_not_come_is_no_picture_and_stops_nobody() -> None:
    room = MixRoom({"fill_type": 1}).come(0, 0).sends(0, 0, 30).come(3, 1)
    room.video(3, 3, 30, ())
    plans = mixed(room, 30)
    assert seen(plans, 20) == [True, True]
    sources = next(p.video.sources for p in plans if p.video and p.head.pts > HEAD_START_90K + 15 * 90_000)
    assert [bool(source) for source in sources] == [True, False]


@pytest.mark.parametrize("bob_is_back", [True, False])
def test_a_capture_that_was_started_again_leaves_no_ghosts(bob_is_back: bool) -> None:
    room = started_again(bob_is_back)
    plans = mixed(room, 90)
    assert seen(plans, 5) == [True, True]
    assert seen(plans, 15) == [True] * (1 + bob_is_back)
    assert seen(plans, 25) == [True]
    assert abs(plans[-1].head.end_pts - HEAD_START_90K - 40 * 90_000) < 90_000, "what is empty at the end is not recorded"


def test_where_a_mix_goes_on_does_not_change_with_what_comes_later() -> None:
    """Three who go in another order than their names', and then nothing is decided any more."""
    room = MixRoom().come(0, 2).sends(2, 0, 33).come(1, 1).sends(1, 1, 33).come(2, 0).sends(0, 2, 33)
    for number, gone in ((2, 31), (1, 32), (0, 33)):
        room.go(gone, number)
    for place, (at, record) in enumerate(room.records):
        if isinstance(record, RoomEvent):
            # The last by name came first.
            room.records[place] = (at, replace(record, order=2 - record.order))
    entries = room.entries(64)
    fold = Fold(HEADER, room.peek)
    states: list[tuple[int, str]] = []
    for entry in entries:
        fold.feed(entry)
        state = fold.state(entry.after)
        states.append((state["lines"][0]["position"][1] if state["lines"] else 0, json.dumps(state["lines"])))
    for (position, before), (following, after) in pairwise(states):
        assert before == after or position != following


def test_without_sound_no_sound_is_kept() -> None:
    """As when a journal that has some is composed without."""
    room = MixRoom({"stream_type": 2}).come(0, 0).sends(0, 0, 30)
    fold = Fold(HEADER, room.peek)
    for entry in room.entries(30):
        fold.feed(entry)
    (line,) = fold.state(Position(1, 10**6))["lines"]
    assert line["state"]["voices"] == []
