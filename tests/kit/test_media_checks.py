"""The judge is judged: what it says of media whose truth is known."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from rokuga.publish import Clip, generate, look_of
from tests.kit.media_checks import Playlist, not_in_order, slices_of, sync, watch

SECONDS = 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return generate(look_of("alice", width=320, height=180, seconds=SECONDS), tmp_path_factory.mktemp("cache"))


def write(path: Path, clip: Clip, audio_late: float = 0.0, cuts: int = 1, drop: tuple[int, ...] = ()) -> None:
    """The clip as MPEG-TS segments and their playlist; sound as AAC, ``audio_late`` seconds late; pictures in ``drop`` left out."""
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "mono"
    frames = [frame for unit in clip.audio for frame in decoder.decode(av.Packet(unit.data))]
    resampler = av.AudioResampler("fltp", "mono", 48_000, 1024)
    with av.open(str(path), "w", format="hls", options={"hls_time": str(SECONDS / cuts), "hls_list_size": "0"}) as out:
        video = out.add_stream("h264", 15)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        video.time_base = Fraction(1, 90_000)
        sound = out.add_stream("aac", 48_000, layout="mono")
        assert isinstance(sound, av.AudioStream)
        packets = []
        for unit in clip.video:
            packet = av.Packet(unit.data)
            packet.stream, packet.pts, packet.dts, packet.time_base = video, unit.pts + 900_000, unit.pts + 900_000, Fraction(1, 90_000)
            packet.is_keyframe = unit.key
            if unit.pts // 6000 not in drop:
                packets.append(packet)
        at = 480_000 + round(audio_late * 48_000)
        for frame in frames:
            frame.pts, frame.time_base = at, Fraction(1, 48_000)
            at += frame.samples
            for piece in resampler.resample(frame):
                packets += sound.encode(piece)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * (p.time_base or 0)):
            out.mux(packet)


@pytest.mark.parametrize("late", [0.0, 0.12])
def test_flash_and_beep_tell_how_far_sound_and_picture_are_apart(tmp_path: Path, clip: Clip, late: float) -> None:
    write(tmp_path / "a.m3u8", clip, late, cuts=2)
    seen = watch(tmp_path / "a.m3u8")
    assert seen.problems == []
    assert seen.video is not None
    assert seen.audio is not None
    mean, deviation, pairs = sync(seen.video.marks, seen.audio.marks)
    assert pairs == SECONDS
    assert abs(mean + late) < 0.003
    assert deviation < 0.003
    assert abs(seen.video.seconds - SECONDS) < 0.01
    assert abs(seen.audio.seconds - SECONDS) < 0.05
    assert seen.video.sizes == [(320, 180)]
    assert not_in_order(slices_of(clip.video), seen.video.slices) == ""


def test_a_missing_picture_is_named(tmp_path: Path, clip: Clip) -> None:
    write(tmp_path / "a.m3u8", clip, drop=(20,))
    seen = watch(tmp_path / "a.m3u8")
    assert seen.video is not None
    assert "slice 20" in not_in_order(slices_of(clip.video), seen.video.slices)


def test_a_damaged_segment_is_a_problem(tmp_path: Path, clip: Clip) -> None:
    write(tmp_path / "a.m3u8", clip)
    (segment,) = tmp_path.glob("*.ts")
    data = bytearray(segment.read_bytes())
    data[188 * 50 : 188 * 60] = data[188 * 61 : 188 * 71]
    segment.write_bytes(data)
    assert watch(tmp_path / "a.m3u8").problems


def test_a_missing_segment_is_a_problem(tmp_path: Path, clip: Clip) -> None:
    write(tmp_path / "a.m3u8", clip, cuts=3)
    sorted(tmp_path.glob("*.ts"))[1].unlink()
    assert watch(tmp_path / "a.m3u8").problems


def test_slices_are_compared_in_order() -> None:
    sent = [bytes([number]) for number in range(10)]
    assert not_in_order(sent, sent[3:7]) == ""
    assert "number 6" in not_in_order(sent, [*sent[3:5], sent[9]])
    assert "never" in not_in_order(sent, [*sent[3:5], b"x"])
    assert "only" in not_in_order(sent, [*sent[8:], b"x"])
    assert not_in_order(sent, [])


def test_a_playlist_is_taken_apart() -> None:
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.5,\na.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.25,\nb.ts\n#EXT-X-ENDLIST\n"
    parsed = Playlist(text)
    assert [(entry.name, entry.seconds) for entry in parsed.entries] == [("a.ts", 9.5), ("b.ts", 1.25)]
    assert "EXT-X-DISCONTINUITY" in parsed.entries[1].tags
    assert parsed.closed
    assert parsed.seconds == 10.75
    assert parsed.tag("EXT-X-TARGETDURATION") == "10"
