"""A mix from its journal to finished segments: who is seen and heard in each second, and the same bytes when it is composed again."""

import asyncio
import gc
import hashlib
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from rokuga.api.recompose import changes
from rokuga.folders import Generation
from rokuga.hls import playlist
from rokuga.journal.records import Params, RoomEvent
from rokuga.render import main as render
from rokuga.render.compose import compose
from rokuga.storage import spool
from rokuga.storage.spool import Segment
from tests.render.material import FPS, PARAMS, SECOND, JournalMaker, opus

pytestmark = pytest.mark.live

WIDTH, HEIGHT = 320, 180
VIDEO = {"Width": WIDTH, "Height": HEIGHT, "Fps": 15, "BitRate": 400_000, "Gop": 10}
MIXED: dict[str, Any] = {"record_mode": 2, "transcode": {"VideoParams": VIDEO}}
LUMA = {"alice": 60, "bob": 120, "carol": 180, "dave": 220}
TONES = {"alice": 400.0, "bob": 700.0, "carol": 1100.0, "dave": 1600.0}
BACKGROUND = 16


@cache
def grey(luma: int, width: int = 192, height: int = 108, seconds: int = 4) -> tuple[tuple[bytes, bool], ...]:
    """H.264 of one colour with a mark that moves."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.thread_count = 1
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": f"keyint={2 * FPS}:scenecut=0"}
    units: list[tuple[bytes, bool]] = []
    for number in range(seconds * FPS):
        frame = VideoFrame(width, height, "yuv420p")
        for index, plane in enumerate(frame.planes):
            data = bytearray(bytes([128 if index else luma]) * plane.buffer_size)
            if index == 0:
                data[number * 2 : number * 2 + 8] = b"\xeb" * 8
            plane.update(bytes(data))
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        units += [(bytes(p), p.is_keyframe) for p in encoder.encode(frame)]
    return tuple(units)


def person(maker: JournalMaker, name: str, number: int, begin: int, end: int) -> None:
    """Somebody who comes at ``begin`` and leaves at ``end`` (seconds), with picture and sound all the time."""
    maker.add(begin * SECOND, RoomEvent("joined", name, number))
    video, audio = maker.track(begin * SECOND, name, "video"), maker.track(begin * SECOND, name, "audio")
    maker.video(video, begin * SECOND, end - begin, grey(LUMA[name]))
    maker.audio(audio, begin * SECOND, end - begin, opus(4, beep_every=0.1, tone=TONES[name]))
    for track in (video, audio):
        maker.close(end * SECOND, track)
    maker.add(end * SECOND, RoomEvent("left", name, number))


def call(folder: Path) -> None:
    """alice 0 to 40, bob 8 to 30, carol 14 to 34; from 20 on floating with carol big, from 25 on the grid again."""
    maker = JournalMaker(folder, params=MIXED)
    person(maker, "alice", 0, 0, 40)
    person(maker, "bob", 1, 8, 30)
    person(maker, "carol", 2, 14, 34)
    floating = {"MixLayoutMode": 1, "MaxResolutionUserId": "carol", "BackGroundColor": "#000000"}
    maker.add(20 * SECOND, Params(2, {**PARAMS, **MIXED, "layout": floating}))
    maker.add(25 * SECOND, Params(3, {**PARAMS, **MIXED}))
    maker.write(44 * SECOND, file_seconds=8)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    generation = Generation(tmp_path_factory.mktemp("mix"))
    call(generation.journal)
    asyncio.run(render.run(generation))
    return generation


def segments(folder: Path) -> list[Segment]:
    return [entry for _, entry in spool.read_manifest(folder) if isinstance(entry, Segment)]


def decoded(generation: Generation) -> tuple[list[tuple[float, Any]], list[tuple[float, Any]]]:
    """Pictures and sound with their times in seconds since the epoch, read as one stream."""
    text = playlist.render(segments(generation.spool), ended=True)
    index = generation.spool / "index.m3u8"
    index.write_text(text)
    pictures: list[tuple[float, Any]] = []
    sound: list[tuple[float, Any]] = []
    with av.open(str(index)) as container:
        for frame in container.decode():
            assert frame.time is not None
            (pictures if isinstance(frame, VideoFrame) else sound).append((frame.time - 10, frame))
    return pictures, sound


def luma(frame: VideoFrame, x: float, y: float) -> int:
    plane = frame.planes[0]
    return bytes(plane)[int(y * HEIGHT) * plane.line_size + int(x * WIDTH)]


def level(frames: list[Any], tone: float) -> float:
    """Of a tone in AAC frames; full scale is 1."""
    samples = np.concatenate([np.frombuffer(bytes(frame.planes[0]), np.float32)[: frame.samples] for frame in frames])
    turned = samples * np.exp(-2j * np.pi * tone / 48_000 * np.arange(len(samples)))
    return float(2 * abs(turned.sum()) / len(samples))


CELLS = [(0.4, 0.4), (0.9, 0.4), (0.4, 0.9), (0.9, 0.9)]
"""points of the grid of four"""


def test_the_collector_seldom_looks_at_all_the_frames_that_wait(recorded: Generation) -> None:
    assert segments(recorded.spool)
    assert gc.get_threshold()[0] >= 10_000


def test_each_second_shows_and_lets_hear_who_is_there(recorded: Generation) -> None:
    pictures, sound = decoded(recorded)
    times = [t for t, _ in pictures]
    assert abs(times[0]) < 0.1
    assert abs(times[-1] - 40) < 0.2
    assert all(abs(b - a - 1 / 15) < 0.002 for a, b in pairwise(times))

    def shown(second: float) -> VideoFrame:
        frame = [f for t, f in pictures if t <= second][-1]
        assert isinstance(frame, VideoFrame)
        return frame

    def close(found: int, wanted: int) -> bool:
        return abs(found - wanted) < 12

    for second in range(40):
        frame = shown(second + 0.5)
        here = [n for n, (begin, end) in {"alice": (0, 40), "bob": (8, 30), "carol": (14, 34)}.items() if begin <= second + 0.5 < end]
        if 20 <= second < 25:
            assert close(luma(frame, 0.9, 0.1), LUMA["carol"]), second
            assert close(luma(frame, 0.1, 0.9), LUMA["alice"]), second
            assert close(luma(frame, 0.35, 0.9), LUMA["bob"]), second
        elif len(here) == 1:
            assert close(luma(frame, 0.9, 0.9), LUMA[here[0]]), second
        elif len(here) == 2:
            assert [close(luma(frame, x, 0.5), LUMA[n]) for x, n in zip((0.4, 0.9), here, strict=True)] == [True, True], second
        else:
            wanted = [LUMA[n] for n in here] + [BACKGROUND]
            assert all(close(luma(frame, x, y), w) for (x, y), w in zip(CELLS, wanted, strict=True)), second
        heard = [f for t, f in sound if second + 0.3 <= t < second + 0.7]
        for name, tone in TONES.items():
            assert (level(heard, tone) > 0.02) == (name in here), (second, name)
    # At the very picture.
    for at, y, before, after in ((14.0, 0.9, LUMA["alice"], LUMA["carol"]), (20.0, 0.1, LUMA["bob"], LUMA["carol"])):
        x = 0.4 if at == 14 else 0.9
        changed = next(t for t, f in pictures if t > at - 1 and close(luma(f, x, y), after))
        assert close(luma(shown(at - 0.2), x, y), before), at
        assert abs(changed - at) < 0.2, (at, changed)


def test_each_segment_begins_with_a_keyframe_and_stands_alone(recorded: Generation) -> None:
    made = segments(recorded.spool)
    assert [s.duration for s in made[:-1]] == [6, 10, 10, 10]
    assert {(s.user_id, s.media_id, s.track_type, s.width, s.height) for s in made} == {("", "mix", "audio_video", WIDTH, HEIGHT)}
    assert all(s.name.startswith("1400000001_ZGVtbyByb29t_") for s in made)
    for segment in made:
        with av.open(str(recorded.spool / segment.name)) as container:
            frames = list(container.decode(video=0))
        assert frames[0].key_frame
        assert len(frames) == round(segment.duration * 15)


def digests(folder: Path, names: list[str]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_composed_again_it_is_the_same_and_with_another_layout_another(recorded: Generation, tmp_path: Path) -> None:
    names = [s.name for s in segments(recorded.spool)]
    (index,) = compose(recorded.journal, {}, tmp_path / "same")
    assert digests(index.parent, names) == digests(recorded.spool, names)
    asked = changes(b'{"MixLayoutParams": {"MixLayoutMode": 3, "BackGroundColor": "#ffffff"}}')
    (index,) = compose(recorded.journal, asked, tmp_path / "white")
    with av.open(str(index)) as container:
        frame = next(f for f in container.decode(video=0) if f.time and f.time > 10 + 16)
    assert luma(frame, 0.9, 0.9) > 225
