"""MixTranscodeParams and StreamType, from a request's JSON to what the finished file is."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from rokuga.render.mix.canvas import views
from rokuga.storage import spool
from rokuga.storage.spool import Segment
from tests.kit.media_checks import playlist
from tests.render.mix.film import BLUE, RED, coded, near
from tests.render.mix.finished import SIZE, Call, video
from tests.render.mix.voices import opus_packets

pytestmark = pytest.mark.live

STEM = "1400000001_ZGVtbyByb29t"


def call(folder: Path, transcode: dict[str, Any] | None = None, record: dict[str, Any] | None = None, seconds: float = 3) -> Call:
    made = Call(folder, {"RenderMode": 0}, transcode, record)
    made.user(0, seconds, "alice", 0, RED, 400)
    made.user(0, seconds, "bob", 1, BLUE, 700)
    return made


def streams(index: Path) -> dict[str, Any]:
    with av.open(str(index.parent / playlist(index).entries[0].name)) as container:
        return {stream.type: stream.codec_context for stream in container.streams}


def keyframes(index: Path) -> list[int]:
    """Numbers of the pictures that are keyframes."""
    with av.open(str(index)) as container:
        return [n for n, packet in enumerate(p for p in container.demux(video=0) if p.size) if packet.is_keyframe]


def bits(index: Path, kind: str) -> float:
    """A second, without what MPEG-TS and ADTS (7 bytes a frame) add."""
    total, seconds = 0, 0.0
    for entry in playlist(index).entries:
        with av.open(str(index.parent / entry.name)) as container:
            stream = next(s for s in container.streams if s.type == kind)
            total += sum(packet.size - (7 if kind == "audio" else 0) for packet in container.demux(stream) if packet.size)
        seconds += entry.seconds
    return total * 8 / seconds


def test_the_defaults_are_trtcs(tmp_path: Path) -> None:
    """360 x 640, 15 pictures a second, a keyframe every 10 s; 48 kHz stereo."""
    made = Call(tmp_path, None, {}, segment_seconds=24)
    made.user(0, 17, "alice", 0, RED, 400)
    seen = made.finished(18)
    found = streams(seen.index)
    assert (found["video"].width, found["video"].height, found["video"].name) == (360, 640, "h264")
    assert (found["audio"].sample_rate, found["audio"].channels, found["audio"].name) == (48_000, 2, "aac")
    assert keyframes(seen.index)[:3] == [0, 90, 240], "the first segment has 6 s"
    times = [t for t, _ in seen.pictures]
    assert max(abs(b - a - 1 / 15) for a, b in pairwise(times)) < 1e-4
    assert abs(len(times) - 17 * 15) <= 2
    assert near(seen.at(10), 180, 320, RED)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("number", "rate"), [(1, 48_000), (2, 44_100), (3, 16_000)])
def test_each_rate_in_mono_and_stereo(number: int, rate: int, channels: int, tmp_path: Path) -> None:
    audio = {"SampleRate": number, "Channel": channels, "BitRate": 64_000}
    made = Call(tmp_path, {}, {"VideoParams": video(), "AudioParams": audio}, segment_seconds=2)
    made.joins(0, "alice", 0)
    track = made.track(0, "alice", "audio")
    t = np.arange(5 * 48_000) / 48_000
    made.audio(track, 0, 5, tuple(opus_packets(0.2 * np.sin(2 * np.pi * 400 * t[:, None] * np.array([[1, 1.75]])), 128_000)))
    seen = made.finished(5)
    found = streams(seen.index)["audio"]
    assert (found.sample_rate, found.channels, seen.rate) == (rate, channels, rate)
    # Sound runs through over all segments, and has its pitch and its sides.
    assert len(playlist(seen.index).entries) == 3
    assert len(seen.sound) / rate == pytest.approx(5, abs=0.15)
    levels = [[seen.level(tone, 1, 4.5, channel) for tone in (400, 700)] for channel in range(channels)]
    assert np.allclose(levels, [[0.2, 0], [0, 0.2]] if channels == 2 else [[0.1, 0.1]], atol=0.015)


@pytest.mark.parametrize(("stream_type", "kind"), [(0, "audio_video"), (1, "audio"), (2, "video")])
def test_sound_or_picture_alone(stream_type: int, kind: str, tmp_path: Path) -> None:
    made = call(tmp_path, record={"StreamType": stream_type})
    seen = made.finished(3)
    assert set(streams(seen.index)) == set(kind.split("_"))
    assert seen.index.name == f"{STEM}.m3u8"
    segments = [entry for _, entry in spool.read_manifest(made.into.spool) if isinstance(entry, Segment)]
    # What events and Describe are made of.
    assert {(s.playlist, s.user_id, s.track_type) for s in segments} == {(f"{STEM}.m3u8", "", kind)}
    # Sound alone begins half a packet of 20 ms before the picture of the same moment.
    begin = datetime(2027, 1, 15, 8, tzinfo=UTC) - (timedelta(milliseconds=10) if stream_type == 1 else timedelta(0))
    assert [s.name for s in segments] == [f"{STEM}_{begin:%Y%m%d%H%M%S}{begin.microsecond // 1000:03d}.ts"]
    assert segments[0].begin_ms == begin.timestamp() * 1000
    assert (segments[0].width, segments[0].channels) == (SIZE[0] if stream_type != 1 else 0, 2 if stream_type != 2 else 0)
    if stream_type != 1:
        assert near(seen.at(2), 40, 50, RED, 8)
        assert near(seen.at(2), 120, 50, BLUE, 8)
    if stream_type != 2:
        assert min(seen.level(tone, 1, 2.5) for tone in (400, 700)) > 0.1


@pytest.mark.parametrize("fps", [1, 60])
def test_few_and_many_pictures_a_second(fps: int, tmp_path: Path) -> None:
    seen = call(tmp_path, {"VideoParams": video(fps=fps)}, seconds=8).finished(9)
    times = [t for t, _ in seen.pictures]
    assert max(abs(b - a - 1 / fps) for a, b in pairwise(times)) < 2e-5, "90 kHz"
    assert abs(len(times) - 8 * fps) <= max(1, fps // 20)
    assert playlist(seen.index).entries[0].seconds == 6
    assert all(near(picture, 40, 60, RED, 8) and near(picture, 120, 60, BLUE, 8) for picture in seen.between(1, 7))


@pytest.mark.parametrize("bit_rate", [150_000, 1_500_000])
def test_pictures_have_the_bit_rate_that_was_asked_for(bit_rate: int, tmp_path: Path) -> None:
    """Of a camera that would take more."""
    random = np.random.default_rng(1)

    def noise(frame: VideoFrame, _: int) -> None:
        for plane in views(frame):
            coarse = random.integers(0, 256, (plane.shape[0] // 5 + 1, plane.shape[1] // 5 + 1), np.uint8)
            plane[...] = coarse.repeat(5, 0).repeat(5, 1)[: plane.shape[0], : plane.shape[1]]

    made = Call(tmp_path, {"RenderMode": 0}, {"VideoParams": video(320, 180, 15, bit_rate)})
    made.joins(0, "alice", 0)
    made.video(made.track(0, "alice", "video"), 0, 12, coded(320, 180, 60, noise))
    assert bits(made.finished(12).index, "video") == pytest.approx(bit_rate, rel=0.1)


@pytest.mark.parametrize(("number", "channels", "bit_rate"), [(1, 2, 128_000), (1, 1, 32_000), (2, 2, 64_000), (3, 1, 32_000)])
def test_sound_has_the_bit_rate_that_was_asked_for(number: int, channels: int, bit_rate: int, tmp_path: Path) -> None:
    audio = {"SampleRate": number, "Channel": channels, "BitRate": bit_rate}
    made = Call(tmp_path, None, {"AudioParams": audio}, {"StreamType": 1})
    made.joins(0, "alice", 0)
    wave = 0.2 * np.random.default_rng(1).standard_normal((4 * 48_000, 2))
    made.audio(made.track(0, "alice", "audio"), 0, 8, tuple(opus_packets(wave, 256_000)))
    assert bits(made.finished(8).index, "audio") == pytest.approx(bit_rate, rel=0.1)
