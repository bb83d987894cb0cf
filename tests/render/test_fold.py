"""What the lines decide, on records made by hand: no codec runs here."""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from rokuga.errors import JournalError
from rokuga.journal.reader import Arrived, Entry, Position, Run
from rokuga.journal.records import End, FileHeader, Frame, Params, Record, RoomEvent, Tick, TrackClosed, TrackOpened
from rokuga.render.audio import opus_samples
from rokuga.render.fold import Fold
from rokuga.render.plan import HEAD_START_90K, AudioPlan, LineKey, Past, Plan, VideoPlan
from tests.render.material import EPOCH, PARAMS, SECOND, UTC, h264

HEADER = FileHeader("task-1", 0, 1, EPOCH, UTC, EPOCH, UTC)
IDR = h264(320, 180, 1)[0][0]
BARE_IDR = b"\x00\x00\x00\x01\x65\x88\x80"
SLICE = b"\x00\x00\x00\x01\x41\x9a\x00"
OPUS = b"\xfc\x00\x00"


class Room:
    """Feeds a fold; ``at`` are seconds since the epoch. Every record is at its number's position."""

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        self.data: dict[Position, bytes] = {}
        self.records: list[tuple[float, Record]] = [(0, Params(1, {**PARAMS, **(params or {})}))]

    def add(self, at: float, record: Record) -> "Room":
        self.records.append((at, record))
        return self

    def video(
        self, track: int, begin: float, end: float, keys: Iterable[float] = (), idr: bytes = IDR, rtp: float = 0, fps: int = 10
    ) -> "Room":
        """``keys``: seconds after ``begin`` of the IDRs. The phone is turned every 1.7 s at 10 pictures a second."""
        numbers = {round(k * fps) for k in keys}
        for number in range(round((end - begin) * fps)):
            at = begin + number / fps
            data = idr if number in numbers else SLICE
            arrival = EPOCH + round(at * SECOND)
            time, turn = round((rtp + number / fps) * 90_000), number // 17 & 7
            self.add(at, Frame(track, time, arrival, arrival, number in numbers, data, orientation=turn))
        return self

    def audio(self, track: int, begin: float, end: float, rtp: float = 0, lost: Iterable[int] = ()) -> "Room":
        gone = set(lost)
        for number in range(round((end - begin) * 50)):
            at = begin + number / 50
            arrival = EPOCH + round(at * SECOND)
            if number not in gone:
                self.add(at, Frame(track, round((rtp + number / 50) * 48_000), arrival, arrival, False, OPUS))
        return self

    def entries(self, end: float) -> list[Entry | Run]:
        self.records += [(second, Tick()) for second in range(1, int(end) + 1)]
        self.records.sort(key=lambda r: r[0])
        made: list[Entry | Run] = []
        for number, (at, record) in enumerate(self.records, 1):
            position, after, now = Position(1, number), Position(1, number + 1), EPOCH + round(at * SECOND)
            if isinstance(record, Frame):
                self.data[position] = record.data
                made.append(Run(position, after, now, [arrived(position, record)]))
            else:
                made.append(Entry(position, after, now, record))
        return made

    def peek(self, position: Position, size: int) -> bytes:
        return self.data[position][:size]

    def plans(self, end: float) -> list[tuple[float, Plan]]:
        """Each plan with the time (seconds) of the record that completed it."""
        fold = Fold(HEADER, self.peek)
        return [((e.monotonic_ns - EPOCH) / SECOND, plan) for e in self.entries(end) for plan in fold.feed(e)]


def arrived(position: Position, frame: Frame) -> Arrived:
    head, size = frame.data[:2], len(frame.data)
    return Arrived(
        position, frame.track, size, head, frame.rtp_time, frame.first_arrival_ns, frame.keyframe, frame.switched, frame.orientation
    )


def opened(track: int, kind: str, user_id: str = "alice", codec: str = "") -> TrackOpened:
    if kind == "video":
        return TrackOpened(track, user_id, "main", "video", codec or "h264", 90_000)
    return TrackOpened(track, user_id, "main", "audio", codec or "opus", 48_000, 2)


def spans(plans: list[tuple[float, Plan]]) -> list[tuple[float, float, bool]]:
    """Begin and end in seconds since the epoch, and whether a discontinuity is before."""
    return [
        (round((p.head.pts - HEAD_START_90K) / 90_000, 2), round((p.head.end_pts - HEAD_START_90K) / 90_000, 2), p.head.discontinuity)
        for _, p in plans
    ]


def test_segments_begin_with_idrs_and_the_first_is_short() -> None:
    room = Room().add(1, opened(1, "video")).video(1, 1, 41, keys=(0.5, 2, 4, 6, 8, 10, 12, 14, 16, 18, 25, 27, 29))
    plans = room.plans(50)
    assert spans(plans) == [(1.5, 7, False), (7, 17, False), (17, 28, False), (28, 41, False)]
    assert [p.head.index for _, p in plans] == [0, 1, 2, 3]
    first = plans[0][1]
    assert isinstance(first, VideoPlan)
    assert (first.width, first.height, len(first.frames)) == (320, 180, 55)
    assert plans[0][0] == pytest.approx(10, abs=0.11), "an IDR at 7 s, whose time is settled 3 s later"
    assert plans[-1][0] == 49, "nobody closed the track: 5 s of silence and what capture may hold back"


def test_first_cut_with_short_segments() -> None:
    room = Room({"segment_seconds": 4}).add(1, opened(1, "video")).video(1, 1, 20, keys=range(20))
    assert spans(room.plans(30)) == [(1, 5, False), (5, 9, False), (9, 13, False), (13, 17, False), (17, 20, False)]


def test_a_publisher_without_idrs_is_cut_all_the_same() -> None:
    room = Room().add(1, opened(1, "video")).video(1, 1, 150, keys=(0,))
    assert spans(room.plans(160)) == [(1, 61, False), (61, 121, False), (121, 150, False)]


def test_a_camera_that_stops_for_more_than_5_s_leaves_a_discontinuity() -> None:
    room = Room().add(1, opened(1, "video")).video(1, 1, 10, keys=(0, 5)).video(1, 14, 18, keys=(), rtp=13)
    room.video(1, 24, 30, keys=(1,), rtp=23).add(31, TrackClosed(1, "left"))
    assert spans(room.plans(40)) == [(1, 18, False), (25, 30, True)]


def test_frames_before_parameter_sets_are_known_are_dropped_and_later_ones_get_them() -> None:
    room = Room().add(1, opened(1, "video")).video(1, 1, 3, keys=(0, 1), idr=BARE_IDR).video(1, 3, 5, keys=(0,), rtp=2)
    room.video(1, 5, 20, keys=(4, 8), idr=BARE_IDR, rtp=4).add(21, TrackClosed(1, "left"))
    plans = room.plans(25)
    assert spans(plans) == [(3, 9, False), (9, 20, False)]
    assert isinstance(plans[0][1], VideoPlan)
    assert isinstance(plans[1][1], VideoPlan)
    assert plans[0][1].parameter_sets == ()
    assert [u[0] & 31 for u in plans[1][1].parameter_sets] == [7, 8]


def test_a_track_that_replaces_another_goes_on_behind_a_discontinuity() -> None:
    room = Room().add(1, opened(1, "video")).video(1, 1, 5, keys=(0,)).add(5.5, opened(2, "video")).video(2, 6, 9, keys=(0,), rtp=700)
    room.video(1, 6.05, 7.05, keys=(0,), rtp=6).add(8, TrackClosed(1, "replaced")).add(10, End(0, "deleted"))
    plans = room.plans(9)
    assert spans(plans) == [(1, 5, False), (6, 9, True)]
    assert len({p.head.key for _, p in plans}) == 1


def test_audio_is_cut_at_frames_that_hold_the_instant() -> None:
    room = Room().add(1, opened(1, "audio")).audio(1, 1, 30).add(31, End(0, "deleted"))
    plans = room.plans(30)
    kept = [p for _, p in plans if isinstance(p, AudioPlan)]
    assert [(p.first, p.first + len(p.pts)) for p in kept] == [(-1, 281), (281, 749), (749, 1217), (1217, 1360)]
    assert kept[0].pts[1] - HEAD_START_90K == 90_000 - 900, "half a packet earlier than it arrived"
    for one, following in itertools.pairwise(kept):
        assert one.head.end_pts == following.head.pts == following.pts[0]
    # The cut instant is within the frame with which the next segment begins.
    assert kept[0].origin + 281 * 1024 <= kept[0].origin + 6 * 48_000 < kept[0].origin + 282 * 1024


def test_of_two_pictures_that_a_simulcast_switch_puts_together_the_later_is_kept() -> None:
    room = Room().add(1, opened(1, "video")).video(1, 1, 4, keys=(0,))
    for at, gap in ((4, 0.002), (5, 0.05)):
        # The last picture of one layer, and the first of the next one.
        room.video(1, at, at + 0.9)
        last = (at + 0.8) * 90_000
        arrival = EPOCH + round((at + 0.8 + gap) * SECOND)
        room.add(at + 0.8 + gap, Frame(1, round(last + gap * 90_000), arrival, arrival, True, IDR, switched=True))
    room.add(7, End(0, "deleted"))
    (_, plan), *_ = room.plans(7)
    assert isinstance(plan, VideoPlan)
    times = [frame.time for frame in plan.frames]
    assert all(after - before >= 450 for before, after in itertools.pairwise(times))
    assert sum(frame.keyframe for frame in plan.frames) == 3
    assert len(times) == 30 + 9 + 9 + 2 - 1


def test_audio_holes_up_to_a_second_are_filled_and_longer_ones_told() -> None:
    room = (
        Room().add(1, opened(1, "audio")).audio(1, 1, 10, lost=range(100, 149)).audio(1, 11.5, 13, rtp=10.5).add(14, TrackClosed(1, "left"))
    )
    plans = room.plans(14)
    assert [s[2] for s in spans(plans)] == [False, False, True]
    assert spans(plans)[1][1] == pytest.approx(9.99, abs=0.03)
    assert spans(plans)[2][0] == pytest.approx(11.47, abs=0.02)


def test_rtp_time_that_jumps_begins_a_new_run() -> None:
    room = Room().add(1, opened(1, "audio")).audio(1, 1, 5).audio(1, 5, 9, rtp=50_000).add(10, End(0, "deleted"))
    plans = room.plans(9)
    (_, end, _), (begin, _, told) = spans(plans)
    assert told
    assert end == pytest.approx(5, abs=0.03)
    assert begin == pytest.approx(5, abs=0.03)
    assert plans[1][1].head.pts >= plans[0][1].head.end_pts, "runs do not overlap"


def test_unknown_codecs_are_left_out_and_tracks_need_parameters() -> None:
    assert Room().add(1, opened(1, "video", codec="h265")).video(1, 1, 20, keys=(0,)).plans(30) == []
    room = Room().add(1, opened(1, "video"))
    del room.records[0]
    with pytest.raises(JournalError):
        room.plans(3)


@pytest.mark.live
@pytest.mark.parametrize("merged", [0, 1])
def test_state_at_any_record_is_enough_to_go_on(merged: int) -> None:
    """Resumed at records all over a call, and soon after resumed again, the fold makes the segments still to come, and no others."""
    room = Room({"segment_seconds": 2, "av_merge": merged, "fill_type": 1}).add(0.5, opened(1, "video")).add(0.6, opened(2, "audio"))
    room.video(1, 1, 7, keys=(0, 2, 4)).audio(2, 1, 8).video(1, 14, 16, keys=(0.5,), rtp=13).audio(2, 10, 11, rtp=9)
    room.add(8.5, TrackClosed(2, "left")).add(9, opened(3, "audio")).audio(3, 9.2, 12).add(12, opened(4, "audio", "bob")).audio(4, 12, 16)
    room.video(1, 20, 40, keys=range(0, 20, 3), rtp=19).audio(4, 17, 30, rtp=5)
    # One long segment, during which others come to their ends.
    room.add(22, opened(5, "video", "carol", "vp9")).video(5, 22, 45, keys=(0,))
    room.add(23, opened(6, "video", "dave")).video(6, 24, 26, keys=(0,)).video(6, 33, 35, keys=(0,), rtp=9)
    entries = room.entries(50)
    fold = Fold(HEADER, room.peek)
    states: list[str] = []
    made: list[list[Plan]] = []
    for entry in entries:
        made.append(fold.feed(entry))
        states.append(json.dumps(fold.state(entry.after)))
    assert sum(map(len, made)) > 15
    # Merged lines keep what came in the seconds that they wait.
    assert max(map(len, states)) < (60_000 if merged else 20_000)
    for number in range(0, len(entries), 29):
        wanted = [p for plans in made[number + 1 :] for p in plans]
        got: list[Plan] = []
        resumed = Fold(HEADER, room.peek, json.loads(states[number]))
        # Often before the first process' end: some lines have not come to their own beginning yet.
        again = resumed.start.offset + number % 83
        for entry in entries:
            if entry.position >= resumed.start:
                got += resumed.feed(entry)
            if entry.position.offset == again:
                resumed = Fold(HEADER, room.peek, json.loads(json.dumps(resumed.state(entry.after))))
                # As they are read from a file, where frames of lines that go on here and of others that go on later stand together.
                for item in together(e for e in entries[:again] if e.position >= resumed.start):
                    got += resumed.feed(item)
        assert by_line(got) == by_line(wanted), number


def together(entries: Iterable[Entry | Run]) -> Iterator[Entry | Run]:
    """Runs that follow each other as one."""
    for runs, items in itertools.groupby(entries, lambda e: isinstance(e, Run)):
        several = list(items)
        if runs:
            frames = [frame for run in several if isinstance(run, Run) for frame in run.frames]
            yield Run(several[0].position, several[-1].after, max(run.monotonic_ns for run in several), frames)
        else:
            yield from several


def test_users_who_left_long_ago_are_in_no_state_and_go_on_where_they_stopped() -> None:
    room = Room()
    for number in range(1, 121):
        begin = 2 * number
        room.add(begin, opened(number, "audio", f"user-{number}")).audio(number, begin, begin + 2).add(
            begin + 2, TrackClosed(number, "left")
        )
    room.add(310, opened(121, "audio", "user-3")).audio(121, 310, 325).add(325, TrackClosed(121, "left"))
    entries = room.entries(400)
    fold = Fold(HEADER, room.peek)
    past: dict[LineKey, Past] = {}
    lines: list[int] = []
    made: list[tuple[LineKey, Plan]] = []
    resumed: list[Fold] = []
    for entry in entries:
        plans = fold.feed(entry)
        made += [(plan.head.key, plan) for plan in plans]
        past.update((plan.head.key, Past.of(plan)) for plan in plans)
        ticks = isinstance(entry, Entry) and isinstance(entry.record, Tick)
        lines.append(len(fold.state(entry.after)["lines"]) if ticks else 0)
        if ticks and entry.monotonic_ns - EPOCH in (305 * SECOND, 318 * SECOND):
            resumed.append(Fold(HEADER, room.peek, json.loads(json.dumps(fold.state(entry.after))), dict(past)))
            assert resumed[-1].made == len(made)
    assert max(lines) <= (60 + 2 + 4) / 2 + 1
    assert lines[-1] == 0
    back = [plan for key, plan in made if key.user_id == "user-3"]
    assert [(p.head.index, p.head.discontinuity) for p in back] == [(0, False), (1, True), (2, False)]
    for other in resumed:
        again = [plan for entry in entries if entry.position >= other.start for plan in other.feed(entry)]
        assert again == [plan for _, plan in made[len(made) - len(again) :]]
        assert other.made == len(made)


def test_a_keyframe_that_was_repaired_begins_no_other_times_after_a_resume() -> None:
    """It came after the frames behind it, which must not be settled sooner because it is known already."""
    room = Room().add(0.5, opened(1, "video"))
    for number in range(200):
        late = 0.6 if number == 60 else 0
        early = 0.0005 if number >= 93 else 0
        arrival = EPOCH + round((1 + number / 10 + late - early) * SECOND)
        key = number % 60 == 0
        at = max(1 + number / 10, 7.61) if 60 <= number < 67 else 1 + number / 10
        room.add(at, Frame(1, number * 9_000, arrival, arrival, key, IDR if key else SLICE))
    entries = room.add(22, End(0, "deleted")).entries(22)
    fold = Fold(HEADER, room.peek)
    made: list[Plan] = []
    state = ""
    for entry in entries:
        plans = fold.feed(entry)
        if plans and not made:
            state = json.dumps(fold.state(entry.after))
        made += plans
    resumed = Fold(HEADER, room.peek, json.loads(state))
    again = [p for e in entries if e.position >= resumed.start for p in resumed.feed(e)]
    assert len(again) > 1
    assert again == made[1:]


def by_line(plans: list[Plan]) -> dict[Any, list[Plan]]:
    lines: dict[Any, list[Plan]] = {}
    for plan in plans:
        lines.setdefault(plan.head.key, []).append(plan)
    return lines


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\xfc", 960),
        (b"\x78\x00", 960),
        (b"\x68\x00", 960),
        (b"\x18", 2880),
        (b"\x19", 5760),
        (b"\xe0", 120),
        (b"\xe3\x04", 480),
        (b"\x0b\x0c", 0),
        (b"\xff\xff", 0),
        (b"\xff", 0),
        (b"", 0),
    ],
)
def test_opus_durations(packet: bytes, samples: int) -> None:
    assert opus_samples(packet) == samples


def test_only_a_tick_says_that_all_that_came_before_it_is_here() -> None:
    """Capture stood still for eight seconds; somebody who joins is told of before the sockets are read."""
    room = Room().add(0, TrackOpened(1, "alice", "main", "audio", "opus", 48_000, 2)).audio(1, 0, 40)
    room.add(28.05, RoomEvent("joined", "bob", 1))
    room.records = [(28.1 if isinstance(record, Frame) and 20 <= at < 28.1 else at, record) for at, record in room.records]
    fold = Fold(HEADER, room.peek)
    stalled = [
        e for e in room.entries(50) if not (isinstance(e, Entry) and e.record == Tick() and 20 < (e.monotonic_ns - EPOCH) / SECOND < 28.1)
    ]
    plans = [plan for entry in stalled for plan in fold.feed(entry)]
    assert len(plans) > 3
    assert not any(plan.head.discontinuity for plan in plans)
    assert abs(plans[-1].head.end_pts - HEAD_START_90K - 40 * 90_000) < 9_000
    assert all(before.head.end_pts == after.head.pts for before, after in itertools.pairwise(plans))


def test_who_was_there_before_capture_was_started_again_is_past_if_nobody_tells_of_them() -> None:
    room = Room().add(0, TrackOpened(1, "alice", "main", "audio", "opus", 48_000, 2)).audio(1, 0, 10)
    room.add(0, TrackOpened(2, "bob", "main", "audio", "opus", 48_000, 2)).audio(2, 0, 10)
    room.add(12, RoomEvent("restarted")).add(12.1, TrackOpened(3, "alice", "main", "audio", "opus", 48_000, 2)).audio(3, 12.2, 150)
    fold = Fold(HEADER, room.peek)
    for entry in room.entries(150):
        fold.feed(entry)
    assert [key.user_id for key in fold.progress()] == ["alice"]
