"""What render writes, read again with FFmpeg: as a playlist from end to end, and segment by segment."""

import asyncio
import itertools
import math
from array import array
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
from av.audio.frame import AudioFrame

from rokuga.folders import Generation
from rokuga.hls import playlist
from rokuga.journal.records import Loss
from rokuga.render.h264 import nal_units
from rokuga.render.main import run
from rokuga.render.plan import HEAD_START_90K
from rokuga.storage import spool
from rokuga.storage.spool import Segment
from tests.render.material import FPS, SECOND, JournalMaker, Published, h264, opus

pytestmark = pytest.mark.live

WRAP = 2**33
BEFORE_WRAP = WRAP - 20 * 90_000 - HEAD_START_90K
LOOKAHEAD_NS = 2_500_000
"""Delay of libopus' encoder for low delay, which RTP does not tell (RFC 7845 §4.2 calls it pre-skip)."""
HALF_PACKET_NS = 10_000_000


@dataclass
class Rendered:
    folder: Path
    lists: dict[str, list[Segment]]
    video: Published
    audio: Published

    def of(self, track_type: str) -> list[Segment]:
        return next(s for s in self.lists.values() if s[0].track_type == track_type)


def rendered(folder: Path, maker: JournalMaker, video: Published, audio: Published) -> Rendered:
    generation = Generation(folder)
    asyncio.run(run(generation))
    lists: dict[str, list[Segment]] = {}
    for _, entry in spool.read_manifest(generation.spool):
        if isinstance(entry, Segment):
            lists.setdefault(entry.playlist, []).append(entry)
    for name, segments in lists.items():
        (generation.spool / name).write_text(playlist.render(segments, ended=True))
    return Rendered(generation.spool, lists, video, audio)


@pytest.fixture(scope="module", params=[0, BEFORE_WRAP], ids=["plain", "across the wrap"])
def call(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """36 s of one user, the camera 3 s after the microphone; a few packets lost."""
    folder = tmp_path_factory.mktemp("call")
    maker = JournalMaker(folder / "journal", params={"pts_base_90k": request.param})
    sound, picture = maker.track(SECOND, "alice", "audio"), maker.track(SECOND, "alice", "video")
    audio = maker.audio(sound, SECOND, 36, opus(36), lost=frozenset({420, 421, 910}))
    video = maker.video(picture, 4 * SECOND, 33, h264(320, 180, 10), lost=frozenset({100}))
    maker.add(12 * SECOND, Loss(picture, 1, 1, -1, "network"))
    maker.write(40 * SECOND)
    return rendered(folder, maker, video, audio)


@pytest.mark.parametrize("track_type", ["audio", "video"])
def test_the_playlist_reads_without_a_fault(call: Rendered, track_type: str) -> None:
    segments = call.of(track_type)
    assert len(segments) >= 4
    assert not any(s.discontinuity for s in segments)
    duration = 36 if track_type == "audio" else 33
    assert abs(sum(s.duration for s in segments) - duration) <= 0.1
    times: list[float] = []
    decoded = 0.0
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as said, av.open(str(call.folder / segments[0].playlist)) as container:
            stream = container.streams[0]
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                assert not packet.is_corrupt
                assert packet.dts is not None
                assert packet.time_base is not None
                times.append(float(packet.dts * packet.time_base))
                for frame in packet.decode():
                    decoded += frame.samples / 48_000 if isinstance(frame, AudioFrame) else 1 / FPS
    finally:
        av.logging.set_level(None)
    assert not said
    assert all(b > a for a, b in itertools.pairwise(times))
    assert abs(times[-1] - times[0] - duration) <= 0.1
    assert abs(decoded - duration) <= 0.2


@pytest.mark.parametrize("track_type", ["audio", "video"])
def test_extinf_is_true_to_a_millisecond(call: Rendered, track_type: str) -> None:
    segments = call.of(track_type)
    begins: list[int] = []
    for segment in segments:
        with av.open(str(call.folder / segment.name)) as container:
            packets = [p for p in container.demux() if p.size]
        first = packets[0].pts
        assert first is not None
        assert (first - segment.pts) % WRAP == 0
        begins.append(segment.pts)
    for segment, (begin, end) in zip(segments, itertools.pairwise(begins), strict=False):
        assert abs(segment.duration - (end - begin) / 90_000) <= 0.001
    assert [s.begin_ms for s in segments] == [
        1_800_000_000_000 + (s.pts - segments[0].pts + first_offset(call, segments[0])) // 90 for s in segments
    ]


def first_offset(call: Rendered, segment: Segment) -> int:
    """The PTS of a playlist's first segment without the base."""
    text = (call.folder / segment.playlist).read_text()
    assert f"#EXT-X-TRTC-START-REC-TIME:{segment.begin_ms}\n" in text
    base = BEFORE_WRAP if segment.pts > BEFORE_WRAP else 0
    return segment.pts - base - HEAD_START_90K


def test_every_nal_unit_is_as_it_was_published(call: Rendered) -> None:
    found: list[bytes] = []
    for segment in call.of("video"):
        with av.open(str(call.folder / segment.name)) as container:
            stream = container.streams.video[0]
            for number, packet in enumerate(p for p in container.demux(stream) if p.size):
                assert packet.is_keyframe or number
                found += nal_units(bytes(packet))
    published = [unit for _, data in call.video.frames for unit in nal_units(data)]
    assert [u for u in found if u[0] & 31 != 9] == [u for u in published if u[0] & 31 != 9]


def test_pictures_are_where_they_were_published(call: Rendered) -> None:
    offset = first_offset(call, call.of("video")[0]) - call.of("video")[0].pts
    times: list[int] = []
    for segment in call.of("video"):
        with av.open(str(call.folder / segment.name)) as container:
            raw = [p.pts for p in container.demux() if p.size and p.pts is not None]
        times += [segment.pts + (t - raw[0]) + offset for t in raw]
    assert len(times) == len(call.video.frames)
    for time, (true_ns, _) in zip(times, call.video.frames, strict=True):
        assert abs(time / 90 - true_ns / 1e6) < 5


def heard(folder: Path, segments: list[Segment]) -> "array[float]":
    """The left channel of a playlist, decoded from end to end, -1 to 1."""
    samples = array("f")
    with av.open(str(folder / segments[0].playlist)) as container:
        for frame in container.decode(audio=0):
            samples.frombytes(bytes(frame.planes[0])[: frame.samples * 4])
    return samples


def rms(samples: "array[float]") -> float:
    return math.sqrt(sum(s * s for s in samples) / len(samples))


def test_beeps_are_where_they_were_published(call: Rendered) -> None:
    """One each second for 36 s, over the segment borders, to 5 ms of its true time (with the constants that are known)."""
    segments = call.of("audio")
    samples = heard(call.folder, segments)
    zero = first_offset(call, segments[0]) / 90_000
    onsets: list[float] = []
    loud = False
    for at in range(0, len(samples) - 48, 48):
        level = rms(samples[at : at + 48])
        if level > 0.05 and not loud:
            onsets.append(zero + at / 48_000)
        loud = level > (0.02 if loud else 0.05)
    constant = (LOOKAHEAD_NS - HALF_PACKET_NS) / 1e9
    errors = [onset - (1 + number) - constant for number, onset in enumerate(onsets)]
    assert len(onsets) == 36
    assert max(map(abs, errors)) <= 0.005, errors


def test_seams_are_inaudible(tmp_path: Path) -> None:
    """A lasting tone: where segments meet, it is as one encoder makes it."""
    made: list[tuple[list[Segment], array[float]]] = []
    for seconds in (4, 60):
        folder = tmp_path / str(seconds)
        maker = JournalMaker(folder / "journal", params={"segment_seconds": seconds})
        audio = maker.audio(maker.track(SECOND, "alice", "audio"), SECOND, 15, opus(15, beep_every=0.1))
        maker.write(20 * SECOND)
        done = rendered(folder, maker, Published("video"), audio)
        made.append((done.of("audio"), heard(done.folder, done.of("audio"))))
    (cut, sound), (_, reference) = made
    assert [s.index for s in cut] == [0, 1, 2, 3]
    assert len(sound) == len(reference)
    seams = [round((s.pts - cut[0].pts) * 48_000 / 90_000) for s in cut[1:]]
    for seam in seams:
        for at in range(seam - 4096, seam + 4096, 1024):
            difference = array("f", (a - b for a, b in zip(sound[at : at + 1024], reference[at : at + 1024], strict=True)))
            assert rms(difference) < 0.01 * rms(reference[at : at + 1024]), (seam, at - seam)
