"""Generated media: flash and beep at each full second, H.264 as browsers send it, seamless rounds; files as clips."""

import array
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import pytest
from av.video.frame import PictureType

from rokuga.publish.clip import AUDIO_CLOCK, VIDEO_CLOCK, Clip, PublishError, Unit, load, nal_units, save
from rokuga.publish.file import load_file
from rokuga.publish.media import generate, look_of

pytestmark = pytest.mark.live

SECONDS = 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return generate(look_of("alice", width=320, height=180, seconds=SECONDS), tmp_path_factory.mktemp("cache"))


def samples(units: list[Unit]) -> "array.array[int]":
    codec = av.CodecContext.create("libopus", "r")
    codec.sample_rate, codec.layout = AUDIO_CLOCK, "mono"
    out = array.array("h")
    for unit in units:
        for frame in codec.decode(av.Packet(unit.data)):
            out.frombytes(bytes(frame.planes[0])[: frame.samples * 2])
    return out


def test_the_picture_is_white_at_each_full_second_and_nowhere_else(clip: Clip) -> None:
    codec = av.CodecContext.create("h264", "r")
    codec.thread_count = 1
    white = []
    for unit in clip.video:
        packet = av.Packet(unit.data)
        packet.pts = unit.pts
        for frame in codec.decode(packet):
            rows = bytes(frame.planes[0])
            if min(rows[row * frame.planes[0].line_size + 7] for row in range(frame.height)) > 200:
                white.append(frame.pts)
    assert white == [second * VIDEO_CLOCK for second in range(SECONDS)]


def test_the_beep_begins_on_the_sample_of_each_full_second_also_where_rounds_meet(clip: Clip) -> None:
    sound = samples(list(islice(clip.rounds("audio"), 2 * len(clip.audio))))
    for second in range(1, 2 * SECONDS):
        around = sound[second * AUDIO_CLOCK - 4800 : second * AUDIO_CLOCK + 4800]
        onset = next(at for at, value in enumerate(around) if abs(value) > 6000) - 4800
        assert abs(onset) <= 48, f"beep {second}: {onset} samples"


def test_each_idr_brings_its_parameter_sets_and_rounds_follow_without_a_seam(clip: Clip) -> None:
    units = list(islice(clip.rounds("video"), 2 * len(clip.video)))
    assert [unit.pts for unit in units] == [number * VIDEO_CLOCK // 15 for number in range(len(units))]
    for unit in units:
        kinds = [nal[0] & 31 for nal in nal_units(unit.data)]
        assert ({7, 8, 5} <= set(kinds)) if unit.key else kinds == [1]
    assert [unit.pts for unit in units if unit.key] == [number * 2 * VIDEO_CLOCK for number in range(SECONDS)]


def test_the_bitrate_is_the_asked_one(tmp_path: Path) -> None:
    clip = generate(look_of("alice", seconds=SECONDS), tmp_path)
    rate = sum(len(unit.data) for unit in clip.video) * 8 / SECONDS
    assert 0.7 < rate / 800_000 < 1.3


def test_a_clip_is_made_once(tmp_path: Path) -> None:
    look = look_of("bob", width=160, height=96, seconds=2)
    made = generate(look, tmp_path)
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    assert generate(look, tmp_path) == made
    assert file.stat().st_mtime_ns == before


def test_a_saved_clip_comes_back(tmp_path: Path) -> None:
    clip = Clip(1.5, (Unit(0, b"a"), Unit(6000, b"", key=False)), (Unit(-5, b"xyz"),))
    save(tmp_path / "c", clip)
    assert load(tmp_path / "c") == clip


def write(path: Path, clip: Clip, audio: str, b_frames: int = 0) -> None:
    """A file with the clip's own H.264 (or, with B-frames, another) and sound."""
    with av.open(str(path), "w") as out:
        x264 = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": f"bframes={b_frames}:b-adapt=0"}
        x264 = {"preset": "ultrafast", "x264-params": f"bframes={b_frames}:b-adapt=0:rc-lookahead=10"}
        video = out.add_stream("libx264", 15, options=x264)
        assert isinstance(video, av.VideoStream)
        video.codec_context.max_b_frames = b_frames
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        sound = out.add_stream(audio, AUDIO_CLOCK)
        assert isinstance(sound, av.AudioStream)
        decoder = av.CodecContext.create("h264", "r")
        for unit in clip.video:
            for frame in decoder.decode(av.Packet(unit.data)):
                frame.pict_type = PictureType.NONE
                frame.pts, frame.time_base = unit.pts // 6000, Fraction(1, 15)
                out.mux(video.encode(frame))
        out.mux(video.encode(None))
        frames = sound.frame_size or 960
        data = samples(list(clip.audio))
        for at in range(0, len(data) - frames + 1, frames):
            audio_frame = av.AudioFrame("s16", "mono", frames)
            audio_frame.planes[0].update(data[at : at + frames].tobytes())
            audio_frame.sample_rate, audio_frame.pts, audio_frame.time_base = AUDIO_CLOCK, at, Fraction(1, AUDIO_CLOCK)
            out.mux(sound.encode(audio_frame))
        out.mux(sound.encode(None))


@pytest.mark.parametrize(("name", "audio"), [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.ts", "aac")])
def test_a_file_becomes_a_clip(tmp_path: Path, clip: Clip, name: str, audio: str) -> None:
    write(tmp_path / name, clip, audio)
    loaded = load_file(tmp_path / name)
    assert len(loaded.video) == len(clip.video)
    assert loaded.video[0].pts == 0
    assert loaded.video[0].key
    assert {7, 8, 5} <= {nal[0] & 31 for nal in nal_units(loaded.video[0].data)}
    assert abs(loaded.seconds - SECONDS) < 0.1
    sound = samples(list(loaded.audio))
    onset = next(at for at in range(AUDIO_CLOCK - 4800, len(sound)) if abs(sound[at]) > 6000)
    assert abs(onset + loaded.audio[0].pts - AUDIO_CLOCK) < AUDIO_CLOCK * 0.03


def test_what_cannot_be_published_is_named(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "text").write_text("no media " * 50)
    with pytest.raises(PublishError, match="text"):
        load_file(tmp_path / "text")
    with pytest.raises(PublishError, match="nothing"):
        load_file(tmp_path / "nothing")
    write(tmp_path / "b.mp4", clip, "aac", b_frames=2)
    with pytest.raises(PublishError, match="B-frames"):
        load_file(tmp_path / "b.mp4")
