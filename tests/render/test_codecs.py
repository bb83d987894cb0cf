"""Everything but H.264 and Opus in stereo: what is published comes out as H.264 and AAC, at its time."""

import itertools
from array import array
from pathlib import Path
from typing import Literal

import av
import pytest
from av.video.frame import VideoFrame

from rokuga.hls import playlist
from rokuga.storage.spool import Segment
from tests.render.material import FPS, SECOND, JournalMaker, Published, beeping_pcm, coded, h264, opus, picture
from tests.render.test_media import Rendered, heard, rendered, rms

pytestmark = pytest.mark.live

WIDTH, HEIGHT = 192, 108
Coded = Literal["vp8", "vp9", "av1"]


def shown(folder: Path, segment: Segment) -> list[VideoFrame]:
    """A segment's pictures, decoded alone; each is at its PTS (90 kHz)."""
    with av.open(str(folder / segment.name)) as container:
        frames = list(container.decode(video=0))
    assert frames
    return frames


def difference(one: VideoFrame, other: VideoFrame) -> float:
    """Mean difference of brightness per pixel, of every 16th line."""
    a, b = one.planes[0], other.planes[0]
    x, y = bytes(a), bytes(b)
    total = sum(
        abs(p - q)
        for row in range(0, one.height, 16)
        for p, q in zip(
            x[row * a.line_size : row * a.line_size + one.width], y[row * b.line_size : row * b.line_size + one.width], strict=True
        )
    )
    return total / one.width / len(range(0, one.height, 16))


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1"])
def test_video_is_transcoded_picture_by_picture(tmp_path: Path, codec: Coded) -> None:
    maker = JournalMaker(tmp_path / "journal", params={"segment_seconds": 4})
    published = maker.video(maker.track(SECOND, "alice", "video", codec=codec), SECOND, 10, coded(codec, WIDTH, HEIGHT, 10))
    maker.write(15 * SECOND)
    segments = rendered(tmp_path, maker, published, Published("audio")).of("video")
    assert [round(s.duration) for s in segments] == [4, 4, 2]
    assert {(s.width, s.height) for s in segments} == {(WIDTH, HEIGHT)}
    times: list[float] = []
    for segment in segments:
        frames = shown(tmp_path / "spool", segment)
        assert frames[0].key_frame
        for frame in frames:
            assert frame.pts is not None
            assert difference(frame, picture(WIDTH, HEIGHT, len(times))) < 12
            times.append(segment.begin_ms + (frame.pts - segment.pts) / 90)
    assert len(times) == 10 * FPS
    for time, (true_ns, _) in zip(times, published.frames, strict=True):
        assert abs(time - 1_800_000_000_000 - true_ns / 1e6) < 5


def test_a_lost_picture_costs_no_more_than_the_pictures_up_to_the_next_keyframe(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "journal")
    video = maker.track(SECOND, "alice", "video", codec="vp8")
    published = maker.video(video, SECOND, 8, coded("vp8", WIDTH, HEIGHT, 10), lost=frozenset({40, 41}))
    maker.write(12 * SECOND)
    segments = rendered(tmp_path, maker, published, Published("audio")).of("video")
    frames = [frame for segment in segments for frame in shown(tmp_path / "spool", segment)]
    assert len(frames) >= 8 * FPS - (60 - 40)
    assert difference(frames[-1], picture(WIDTH, HEIGHT, 8 * FPS - 1)) < 12


def test_of_spatial_layers_the_last_is_shown(tmp_path: Path) -> None:
    layers = coded("vp9", 96, 54, 3, gop=1), coded("vp9", WIDTH, HEIGHT, 3, gop=1)
    marker = bytes([0b11001001])
    units = tuple(
        (low + high + marker + len(low).to_bytes(2, "little") + len(high).to_bytes(2, "little") + marker, True)
        for (low, _), (high, _) in zip(*layers, strict=True)
    )
    maker = JournalMaker(tmp_path / "journal")
    maker.video(maker.track(SECOND, "alice", "video", codec="vp9"), SECOND, 3, units)
    maker.write(10 * SECOND)
    (segment,) = rendered(tmp_path, maker, Published("video"), Published("audio")).of("video")
    assert [(f.width, f.height) for f in shown(tmp_path / "spool", segment)] == [(WIDTH, HEIGHT)] * 3 * FPS


def test_what_cannot_be_decoded_is_black(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "journal")
    maker.video(maker.track(SECOND, "alice", "video", codec="vp9"), SECOND, 3, ((b"\xff\xfe\xfd", True), (b"\x00", False)))
    maker.write(10 * SECOND)
    (segment,) = rendered(tmp_path, maker, Published("video"), Published("audio")).of("video")
    assert (segment.width, segment.height) == (640, 360)
    assert [bytes(f.planes[0])[:640] for f in shown(tmp_path / "spool", segment)] == [bytes([16]) * 640] * 3


def test_a_new_size_is_a_new_size(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "journal")
    video = maker.track(SECOND, "alice", "video", codec="vp8")
    maker.video(video, SECOND, 4, coded("vp8", WIDTH, HEIGHT, 10))
    maker.video(video, 5 * SECOND, 8, coded("vp8", 321, 181, 8), rtp=5 * 90_000)
    maker.write(16 * SECOND)
    done = rendered(tmp_path, maker, Published("video"), Published("audio"))
    first, second = done.of("video")
    sizes = [(f.width, f.height) for f in shown(tmp_path / "spool", first)]
    assert sizes == [(WIDTH, HEIGHT)] * 60 + [(320, 180)] * 30
    assert (second.width, second.height) == (320, 180), "H.264 pictures have even sizes"
    assert "VIDEO-METADATA:WIDTH:320 HEIGHT:180" in playlist.render([first, second], ended=True)


def test_without_keyframes_a_segment_is_decoded_from_the_last_one(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "journal")
    maker.video(maker.track(SECOND, "alice", "video", codec="vp8"), SECOND, 66, coded("vp8", WIDTH, HEIGHT, 66, gop=10_000))
    maker.write(70 * SECOND)
    segments = rendered(tmp_path, maker, Published("video"), Published("audio")).of("video")
    assert [round(s.duration) for s in segments] == [60, 6]
    frames = shown(tmp_path / "spool", segments[1])
    assert frames[0].key_frame
    first = 66 * FPS - len(frames)
    assert first in (60 * FPS, 60 * FPS + 1)
    assert difference(frames[0], picture(WIDTH, HEIGHT, first)) < 12


def test_a_user_who_returns_with_another_codec_continues_the_playlist(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "journal")
    video, audio = maker.track(SECOND, "alice", "video", codec="vp8"), maker.track(SECOND, "alice", "audio", codec="pcma")
    maker.video(video, SECOND, 8, coded("vp8", WIDTH, HEIGHT, 10))
    maker.audio(audio, SECOND, 8, beeping_pcm("pcma", 8), rate=8_000)
    for track in video, audio:
        maker.close(10 * SECOND, track)
    maker.video(maker.track(12 * SECOND, "alice", "video"), 12 * SECOND, 8, h264(320, 180, 10))
    maker.audio(maker.track(12 * SECOND, "alice", "audio"), 12 * SECOND, 8, opus(8))
    maker.write(25 * SECOND)
    done = rendered(tmp_path, maker, Published("video"), Published("audio"))
    for kind in "video", "audio":
        segments = done.of(kind)
        assert [s.index for s in segments] == list(range(len(segments)))
        assert [s.begin_ms // 1000 % 100 for s in segments if s.discontinuity] in ([12], [11])
    with av.open(str(done.folder / done.of("video")[0].playlist)) as container:
        assert len(list(container.decode(video=0))) == 16 * FPS


def beeps(samples: "array[float]", zero: float) -> list[float]:
    """When they begin, in seconds."""
    onsets: list[float] = []
    loud = False
    for at in range(0, len(samples) - 48, 48):
        level = rms(samples[at : at + 48])
        if level > 0.05 and not loud:
            onsets.append(zero + at / 48_000)
        loud = level > (0.02 if loud else 0.05)
    return onsets


def listen(done: Rendered) -> list[float]:
    segments = done.of("audio")
    return beeps(heard(done.folder, segments), (segments[0].begin_ms - 1_800_000_000_000) / 1000)


@pytest.mark.parametrize("codec", ["pcmu", "pcma", "g722"])
def test_telephone_codecs(tmp_path: Path, codec: Literal["pcmu", "pcma", "g722"]) -> None:
    maker = JournalMaker(tmp_path / "journal")
    audio = maker.track(SECOND, "alice", "audio", codec=codec)
    maker.audio(audio, SECOND, 21, beeping_pcm(codec, 21), rtp=8_000, rate=8_000, lost=frozenset({410, 411, 720}))
    maker.write(25 * SECOND)
    done = rendered(tmp_path, maker, Published("video"), Published("audio"))
    assert [(s.channels, s.discontinuity) for s in done.of("audio")] == [(1, False)] * 3
    onsets = listen(done)
    assert len(onsets) == 21
    # Half a packet is taken off, the resampler adds 2 ms.
    errors = [onset - (1 + number) + 0.008 for number, onset in enumerate(onsets)]
    assert max(map(abs, errors)) < 0.006, errors


def test_a_voice_in_mono_stays_mono_until_it_is_stereo(tmp_path: Path) -> None:
    maker = JournalMaker(tmp_path / "journal")
    audio = maker.track(SECOND, "alice", "audio")
    # An encoder that begins in the middle of a stream is itself not heard well at once: the joints are between beeps.
    mono, stereo = opus(20, channels=1), opus(20)
    maker.audio(audio, SECOND, 14.4, mono)
    maker.audio(audio, 15 * SECOND + 400_000_000, 4, stereo[20:] + stereo[:20], rtp=round(15.4 * 48_000))
    maker.audio(audio, 19 * SECOND + 400_000_000, 16.6, mono[20:] + mono[:20], rtp=round(19.4 * 48_000))
    maker.write(40 * SECOND)
    done = rendered(tmp_path, maker, Published("video"), Published("audio"))
    assert [(s.channels, s.discontinuity) for s in done.of("audio")] == [(1, False), (2, True), (2, False), (2, False)]
    for one, following in itertools.pairwise(done.of("audio")):
        assert abs(one.pts + one.duration * 90_000 - following.pts) < 1
    onsets = listen(done)
    assert len(onsets) == 35
    errors = [onset - (1 + number) + 0.0075 for number, onset in enumerate(onsets)]
    assert max(map(abs, errors)) < 0.006, errors
