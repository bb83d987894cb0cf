"""Sound and picture in one file (AvMerge 1): both in every segment, sound without a hole, pictures as FillType says."""

import itertools
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from rokuga.hls import playlist
from rokuga.journal.records import End, Frame, TrackClosed
from rokuga.render.plan import HEAD_START_90K, MergedPlan, Plan
from rokuga.storage.spool import Segment
from tests.render.material import EPOCH, FPS, SECOND, JournalMaker, Published, coded, h264, opus, picture
from tests.render.test_codecs import beeps, difference
from tests.render.test_fold import IDR, SLICE, Room, opened
from tests.render.test_media import Rendered, heard, rendered

pytestmark = pytest.mark.live

MERGED = {"av_merge": 1}


def of(plans: list[tuple[float, Plan]]) -> list[MergedPlan]:
    assert all(isinstance(plan, MergedPlan) for _, plan in plans)
    return [plan for _, plan in plans if isinstance(plan, MergedPlan)]


def merged(plans: list[tuple[float, Plan]]) -> list[tuple[float, float, bool, int, int]]:
    """Begin and end in seconds since the epoch, whether a discontinuity is before, how many frames and made-up pictures."""
    result = []
    for plan in of(plans):
        head = plan.head
        times = [round((t - HEAD_START_90K) / 90_000, 2) for t in (head.pts, head.end_pts)]
        result.append((times[0], times[1], head.discontinuity, len(plan.video.frames), len(plan.video.fills)))
    return result


def check_sound(plans: list[tuple[float, Plan]]) -> None:
    """No hole, no overlap: but for discontinuities each AAC frame follows the one before after 21.3 ms."""
    times: list[int] = []
    for plan in of(plans):
        if plan.head.discontinuity:
            times = []
        times += plan.audio.pts
        assert all(abs(b - a - 1920) <= 20 for a, b in itertools.pairwise(times))


def test_segments_begin_with_keyframes_and_the_frame_of_sound_that_contains_them() -> None:
    room = Room(MERGED).add(1, opened(1, "audio")).add(1, opened(2, "video"))
    room.audio(1, 1, 31).video(2, 1.5, 31, keys=range(0, 30, 2)).add(31, opened(3, "video", "bob"))
    plans = [p for p in room.plans(60) if p[1].head.key.user_id == "alice"]
    assert merged(plans) == [
        (0.99, 7.5, False, 60, 0),
        (7.5, 17.5, False, 100, 0),
        (17.5, 27.5, False, 100, 0),
        (27.5, 30.99, False, 35, 0),
    ]
    assert {p.head.key.track_type for _, p in plans} == {"audio_video"}
    check_sound(plans)
    for plan in of(plans)[1:]:
        assert 0 < plan.head.pts - plan.audio.pts[0] <= 1920
    assert plans[0][0] <= 13, "6 s and what is waited for"


def test_a_first_keyframe_that_took_longer_than_the_sound_behind_it_is_not_lost() -> None:
    """Sound that came after its first packet may be in the journal before it: the session begins with that."""
    room = Room({"av_merge": 1}).add(0.5, opened(1, "audio")).add(0.5, opened(2, "video")).audio(1, 1.05, 20)
    for number in range(190):
        arrival = EPOCH + round((1 + number / 10) * SECOND)
        key = number % 100 == 0
        room.add(1 + max(number / 10, 0.3), Frame(2, number * 9_000, arrival, arrival, key, IDR if key else SLICE))
    plans = room.add(21, End(0, "deleted")).plans(25)
    assert sum(len(plan.video.frames) for plan in of(plans)) == 190
    first = of(plans)[0].video
    assert first.frames[0].keyframe
    assert first.frames[0].time == first.head.pts
    check_sound(plans)


def test_a_screen_that_stops_and_goes_on_alone_is_whole_in_both_sessions() -> None:
    room = Room({"av_merge": 1}).add(0.5, opened(1, "video")).video(1, 1, 8, keys=(0, 3, 6)).video(1, 20, 28, keys=(0,), rtp=19)
    plans = of(room.add(29, TrackClosed(1, "left")).plans(40))
    assert next(plan.head.discontinuity for plan in plans if plan.head.pts >= HEAD_START_90K + 20 * 90_000)
    assert sum(len(plan.video.frames) for plan in plans) == 70 + 80


@pytest.mark.parametrize("fill_type", [0, 1])
def test_a_camera_that_stops(fill_type: int) -> None:
    room = Room({**MERGED, "fill_type": fill_type}).add(1, opened(1, "audio")).add(1, opened(2, "video"))
    room.audio(1, 1, 61).video(2, 1, 15, keys=range(0, 14, 2)).video(2, 40, 61, keys=range(1, 21, 2), rtp=39)
    plans = room.plans(80)
    check_sound(plans)
    assert merged(plans) == [
        (0.99, 7, False, 60, 0),
        (7, 17.4, False, 80, 0),
        (17.4, 27.4, False, 0, 1),
        (27.4, 37.4, False, 0, 1),
        (37.4, 41, False, 0, 1),
        (41, 51, False, 100, 0),
        (51, 60.99, False, 100, 0),
    ]


def test_a_microphone_that_stops_or_is_not_there_is_silent() -> None:
    room = Room(MERGED).add(1, opened(1, "video")).video(1, 1, 41, keys=range(0, 40, 2))
    room.add(10, opened(2, "audio")).audio(2, 10, 15).audio(2, 25, 35, rtp=700)
    plans = room.plans(60)
    check_sound(plans)
    assert merged(plans) == [
        (1, 7, False, 60, 0),
        (7, 17, False, 100, 0),
        (17, 27, False, 100, 0),
        (27, 37, False, 100, 0),
        (37, 40.93, False, 40, 0),
    ]
    assert [len(p.audio.packets) for p in of(plans)] == [0, 250, pytest.approx(103, abs=3), pytest.approx(410, abs=20), 0]


def test_sound_alone_has_a_black_picture_and_long_silence_ends_it() -> None:
    room = Room(MERGED).add(1, opened(1, "audio")).audio(1, 1, 13).audio(1, 40, 52, rtp=39)
    plans = room.plans(80)
    assert merged(plans) == [
        (0.99, 6.99, False, 0, 1),
        (6.99, 12.99, False, 0, 1),
        (39.99, 49.99, True, 0, 1),
        (49.99, 51.99, False, 0, 1),
    ]
    assert of(plans)[0].video.fills[0].frames == ()


def test_a_user_who_returns_and_one_who_changes_the_codec() -> None:
    room = Room(MERGED).add(1, opened(1, "audio")).add(1, opened(2, "video", codec="vp8"))
    room.audio(1, 1, 21).video(2, 1, 9, keys=(0, 4)).add(9.5, opened(3, "video")).video(3, 10, 21, keys=(0, 5))
    for track in (1, 3):
        room.add(21.1, TrackClosed(track, "left"))
    room.add(30, opened(4, "audio")).add(30, opened(5, "video")).audio(4, 30, 36).video(5, 30, 36, keys=(0,))
    plans = room.plans(50)
    check_sound(plans)
    assert merged(plans) == [
        (0.99, 10, False, 80, 0),
        (10, 20.99, False, 110, 0),
        (29.99, 35.99, True, 60, 0),
    ]
    assert [p.video.frames[0].codec for p in of(plans)] == ["vp8", "h264", "h264"]


def test_of_two_layers_pictures_that_fall_together_the_later_is_kept() -> None:
    room = Room(MERGED).add(1, opened(1, "video")).video(1, 1, 5, keys=(0,)).video(1, 5, 8, keys=(0,), rtp=4)
    at = EPOCH + 5 * SECOND - 98_000_000
    room.add(4.902, Frame(1, round(3.902 * 90_000), at, at, True, IDR, switched=True))
    (plan,) = of(room.plans(20))
    numbers = [frame.time for frame in plan.video.frames]
    assert len(numbers) == 70
    assert min(b - a for a, b in itertools.pairwise(numbers)) > 8_000


@dataclass
class Content:
    pictures: list[tuple[float, VideoFrame]]
    sound_begin: float
    sound_end: float


def content(folder: Path, segment: Segment) -> Content:
    """A segment decoded alone; times in seconds since the epoch."""
    pictures: list[tuple[float, VideoFrame]] = []
    ends: list[float] = []
    with av.open(str(folder / segment.name)) as container:
        assert [s.type for s in container.streams] == ["video", "audio"]
        for frame in container.decode():
            assert frame.pts is not None
            assert frame.time_base is not None
            time = float(frame.pts * frame.time_base - Fraction(HEAD_START_90K, 90_000))
            if isinstance(frame, VideoFrame):
                pictures.append((time, frame))
            elif isinstance(frame, AudioFrame):
                ends += [time] if not ends else []
                ends.append(time + frame.samples / 48_000)
    return Content(pictures, ends[0], ends[-1])


@pytest.fixture(scope="module", params=["h264", "vp8"])
def call(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """40 s of sound, the camera from 2 s to 12 s and again from 30 s on."""
    return make(tmp_path_factory.mktemp("call"), request.param, 0)


def make(folder: Path, codec: str, fill_type: int) -> Rendered:
    maker = JournalMaker(folder / "journal", params={**MERGED, "fill_type": fill_type})
    sound, camera = maker.track(SECOND, "alice", "audio"), maker.track(SECOND, "alice", "video", codec=codec)
    units = h264(192, 108, 10) if codec == "h264" else coded("vp8", 192, 108, 10)
    audio = maker.audio(sound, SECOND, 40, opus(40), lost=frozenset({720, 721}))
    maker.video(camera, 2 * SECOND, 10, units)
    video = maker.video(camera, 30 * SECOND, 11, units, rtp=90_000 * 29)
    maker.write(45 * SECOND)
    return rendered(folder, maker, video, audio)


def test_both_streams_are_in_every_segment_and_sound_is_whole(call: Rendered) -> None:
    segments = call.of("audio_video")
    assert [round(s.duration) for s in segments] == [7, 10, 10, 2, 10, 1]
    assert not any(s.discontinuity for s in segments)
    assert {(s.width, s.height, s.channels, s.sample_rate) for s in segments} == {(192, 108, 2, 48_000)}
    assert segments[0].name.split("_main_")[1].startswith("audiovideo_")
    parts = [content(call.folder, s) for s in segments]
    for one, following in itertools.pairwise(parts):
        assert abs(one.sound_end - following.sound_begin) < 0.001
    for segment, part in zip(segments, parts, strict=True):
        begin = segment.pts / 90_000 - 10
        assert part.sound_begin <= begin + 0.022
        assert part.pictures[0][1].key_frame
    onsets = beeps(heard(call.folder, segments), parts[0].sound_begin)
    assert len(onsets) == 40
    assert all(abs(onset - (1 + number) + 0.0075) < 0.005 for number, onset in enumerate(onsets)), onsets


def test_a_stopped_camera_shows_its_last_picture(call: Rendered) -> None:
    parts = [content(call.folder, s) for s in call.of("audio_video")]
    assert [len(p.pictures) for p in parts] == [90, 60, 10, 2, 150, 15], "a second is one picture"
    for part in parts[2:4]:
        assert difference(part.pictures[0][1], picture(192, 108, 149)) < 12
        assert difference(part.pictures[-1][1], picture(192, 108, 149)) < 12
    assert abs(parts[4].pictures[0][0] - 30) < 0.01
    text = (call.folder / call.of("audio_video")[0].playlist).read_text()
    assert "#EXT-X-TRTC-STREAM-TYPE:1\n" in text
    assert "#EXT-X-TRTC-AUDIO-METADATA:Channel:2 SampleRate:48000 SampleFormat:1 Codec:86018\n" in text
    assert "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:192 HEIGHT:108 Codec:27\n" in text
    assert text == playlist.render(call.of("audio_video"), ended=True)


def test_or_black(tmp_path: Path) -> None:
    done = make(tmp_path, "vp8", 1)
    parts = [content(done.folder, s) for s in done.of("audio_video")]
    assert [len(p.pictures) for p in parts] == [90, 64, 10, 2, 150, 15]
    for part in parts[1:4]:
        frame = part.pictures[-1][1]
        assert (frame.width, frame.height) == (192, 108)
        assert max(bytes(frame.planes[0])[:192]) <= 17
    assert abs(parts[1].pictures[60][0] - (12 - 1 / FPS + 2.5)) < 0.01


def test_read_as_a_playlist_there_is_no_fault(call: Rendered) -> None:
    times: dict[str, list[float]] = {"video": [], "audio": []}
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as said, av.open(str(call.folder / call.of("audio_video")[0].playlist)) as container:
            for packet in container.demux():
                if packet.size:
                    assert not packet.is_corrupt
                    assert packet.dts is not None
                    assert packet.time_base is not None
                    times[packet.stream.type].append(float(packet.dts * packet.time_base))
                    packet.decode()
    finally:
        av.logging.set_level(None)
    assert not said
    for kind in times.values():
        assert all(b > a for a, b in itertools.pairwise(kind))
    assert max(b - a for a, b in itertools.pairwise(times["audio"])) < 0.025


def test_with_one_of_the_two_there_is_nothing_to_merge(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "journal", params={**MERGED, "stream_type": 1})
    audio = maker.audio(maker.track(SECOND, "alice", "audio"), SECOND, 8, opus(8))
    maker.write(10 * SECOND)
    assert {s.track_type for lists in rendered(tmp_path, maker, Published("video"), audio).lists.values() for s in lists} == {"audio"}
