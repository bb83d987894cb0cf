"""Journals made of real H.264 and real Opus, written directly and always the same."""

import functools
import math
import random
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from rokuga.journal.records import End, FileHeader, Frame, Loss, Params, Record, Tick, TrackClosed, TrackOpened, encode
from tests.kit.scheduling import ordinary_scheduling

SECOND = 1_000_000_000
EPOCH = 1_000 * SECOND
UTC = 1_800_000_000 * SECOND
FPS = 15
OPUS_SAMPLES = 960
PARAMS: dict[str, Any] = {
    "sdk_app_id": 1400000001,
    "room_id": "demo room",
    "room_id_type": 0,
    "user_id": "recorder",
    "segment_seconds": 10,
}


@functools.cache
def h264(width: int, height: int, seconds: int, gop: int = 2 * FPS, annexb_sets: bool = True) -> tuple[tuple[bytes, bool], ...]:
    """Access units with start codes, and whether each is an IDR. Without ``annexb_sets`` only the first IDR carries SPS and PPS."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.thread_count = 1
    repeat = "1" if annexb_sets else "0"
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": f"keyint={gop}:scenecut=0:repeat-headers={repeat}:annexb=1",
    }
    if not annexb_sets:
        encoder.flags |= 0x400000  # AV_CODEC_FLAG_GLOBAL_HEADER
    units: list[tuple[bytes, bool]] = []
    for number in range(seconds * FPS):
        units += [(bytes(p), p.is_keyframe) for p in encoder.encode(picture(width, height, number))]
    assert len(units) == seconds * FPS
    if not annexb_sets:
        units[0] = (bytes(encoder.extradata or b"") + units[0][0], True)
    return tuple(units)


def picture(width: int, height: int, number: int) -> VideoFrame:
    """A diagonal pattern that moves with ``number``."""
    frame = VideoFrame(width, height, "yuv420p")
    rows = bytes((x + number * 3) & 0xFF for x in range(2048))
    for index, plane in enumerate(frame.planes):
        line = rows[: plane.line_size] if index == 0 else bytes([128]) * plane.line_size
        plane.update((line * (plane.buffer_size // plane.line_size + 1))[: plane.buffer_size])
    frame.pts, frame.time_base = number, Fraction(1, FPS)
    return frame


@functools.cache
@ordinary_scheduling()
def coded(codec: Literal["vp8", "vp9", "av1"], width: int, height: int, seconds: int, gop: int = 2 * FPS) -> tuple[tuple[bytes, bool], ...]:
    """The frames that these codecs' depacketizers make of a live publisher's stream, and whether each is a keyframe."""
    encoder = av.CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}[codec], "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.thread_count = 1
    encoder.bit_rate = 300_000
    encoder.gop_size = gop
    live = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}
    encoder.options = {"preset": "12", "svtav1-params": "pred-struct=1:rc=2:lp=1"} if codec == "av1" else live
    packets = [packet for number in range(seconds * FPS) for packet in encoder.encode(picture(width, height, number))]
    packets += encoder.encode(None)
    # An AV1 publisher sends no temporal delimiters (RTP payload format for AV1 §5).
    units = tuple((bytes(p).removeprefix(b"\x12\x00") if codec == "av1" else bytes(p), p.is_keyframe) for p in packets)
    assert len(units) == seconds * FPS
    return units


@functools.cache
def beeping_pcm(codec: Literal["pcmu", "pcma", "g722"], seconds: int) -> tuple[bytes, ...]:
    """Packets of 20 ms: a beep of 100 ms each second."""
    name, rate = {"pcmu": ("pcm_mulaw", 8000), "pcma": ("pcm_alaw", 8000), "g722": ("g722", 16000)}[codec]
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    second = array("h", (int(12000 * math.sin(2 * math.pi * 1000 * i / rate)) if i < rate // 10 else 0 for i in range(rate)))
    packets: list[bytes] = []
    for number in range(seconds * 50):
        begin = number % 50 * rate // 50
        frame = AudioFrame("s16", "mono", rate // 50)
        frame.sample_rate, frame.pts, frame.time_base = rate, number * rate // 50, Fraction(1, rate)
        frame.planes[0].update(second[begin : begin + rate // 50].tobytes())
        packets += [bytes(p) for p in encoder.encode(frame)]
    return tuple(packets)


@functools.cache
def opus(seconds: int, beep_every: float = 1.0, tone: float = 1000.0, channels: int = 2, bit_rate: int = 48_000) -> tuple[bytes, ...]:
    """Packets of 20 ms: a beep of 100 ms at each multiple of ``beep_every`` seconds, else near silence."""
    layout = "stereo" if channels == 2 else "mono"
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 48000, layout, "s16", bit_rate
    encoder.options = {"application": "lowdelay", "frame_duration": "20"}
    packets: list[bytes] = []
    noise = random.Random(1)
    period = array("h")
    for index in range(round(beep_every * 48000)):
        value = noise.randrange(-20, 21)
        if index < 4800:
            value += int(12000 * math.sin(2 * math.pi * tone * index / 48000))
        period.extend((value,) * channels)
    size = 2 * channels
    sound = (period.tobytes() * (seconds * 48000 * size // (len(period) * 2) + 1))[: seconds * 48000 * size]
    for number in range(seconds * 50):
        samples = sound[number * OPUS_SAMPLES * size : (number + 1) * OPUS_SAMPLES * size]
        frame = AudioFrame("s16", layout, OPUS_SAMPLES)
        frame.sample_rate, frame.pts, frame.time_base = 48000, number * OPUS_SAMPLES, Fraction(1, 48000)
        frame.planes[0].update(samples)
        packets += [bytes(p) for p in encoder.encode(frame)]
    return tuple(packets)


@dataclass
class Published:
    """What a track really sent, to compare with: (true time since the epoch in ns, access unit) of what was not lost."""

    kind: Literal["audio", "video"]
    frames: list[tuple[int, bytes]] = field(default_factory=list)


class JournalMaker:
    """Collects records with their append times and writes them as files, a new one every minute.

    Times are nanoseconds since the epoch. Every frame is appended up to 30 ms after its first packet arrived, arrivals have jitter.
    """

    def __init__(
        self, folder: Path, seed: int = 1, params: dict[str, Any] | None = None, task_id: str = "task-1", generation: int = 0
    ) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.task_id, self.generation = task_id, generation
        self.records: list[tuple[int, Record]] = [(0, Params(1, {**PARAMS, **(params or {})}))]
        self._next = 1

    def add(self, at_ns: int, record: Record) -> None:
        self.records.append((at_ns, record))

    def track(
        self, at_ns: int, user_id: str, kind: Literal["audio", "video"], media_id: Literal["main", "aux"] = "main", codec: str = ""
    ) -> int:
        number = self._next
        self._next += 1
        codec = codec or ("opus" if kind == "audio" else "h264")
        rate, channels = {"video": (90000, 0), "audio": (48000, 2) if codec == "opus" else (8000, 1)}[kind]
        self.add(at_ns, TrackOpened(number, user_id, media_id, kind, codec, rate, channels))
        return number

    def close(self, at_ns: int, track: int, cause: str = "left") -> None:
        self.add(at_ns, TrackClosed(track, cause))

    def _frame(self, track: int, at_ns: int, rtp_time: int, data: bytes, keyframe: bool, orientation: int = 0) -> None:
        first = at_ns + self.random.randrange(3_000_000)
        last = first + self.random.randrange(10_000_000)
        self.add(last, Frame(track, rtp_time, EPOCH + first, EPOCH + last, keyframe, data, orientation=orientation))

    def video(
        self,
        track: int,
        begin_ns: int,
        seconds: float,
        units: tuple[tuple[bytes, bool], ...],
        rtp: int = 90_000,
        lost: frozenset[int] = frozenset(),
        orientations: tuple[int, ...] = (0,),
    ) -> Published:
        """Publish access units over and over; those whose number is in ``lost`` never come. Ten pictures have the same orientation."""
        published = Published("video")
        for number in range(round(seconds * FPS)):
            at = begin_ns + number * SECOND // FPS
            data, key = units[number % len(units)]
            rtp_time = rtp + number * 90_000 // FPS
            if number in lost:
                self.add(at + SECOND, Loss(track, number, number, rtp_time, "network", 3))
                continue
            self._frame(track, at, rtp_time, data, key, orientations[number // 10 % len(orientations)])
            published.frames.append((at, data))
        return published

    def audio(
        self,
        track: int,
        begin_ns: int,
        seconds: float,
        packets: tuple[bytes, ...],
        rtp: int = 48_000,
        lost: frozenset[int] = frozenset(),
        rate: int = 48_000,
    ) -> Published:
        published = Published("audio")
        for number in range(round(seconds * 50)):
            at = begin_ns + number * 20_000_000
            data = packets[number % len(packets)]
            if number in lost:
                continue
            self._frame(track, at, rtp + number * rate // 50, data, False)
            published.frames.append((at, data))
        return published

    def write(self, end_ns: int, leave_code: int | None = 0, file_seconds: int = 60) -> None:
        """Write the files, with a tick every second up to ``end_ns`` and (unless ``leave_code`` is None) the end record."""
        everything = [*self.records, *((s * SECOND, Tick()) for s in range(1, end_ns // SECOND + 1))]
        everything.sort(key=lambda r: r[0])
        if leave_code is not None:
            everything.append((max(end_ns, everything[-1][0]), End(leave_code, "deleted")))
        self.folder.mkdir(parents=True, exist_ok=True)
        parts: dict[int, bytearray] = {}
        for at, record in everything:
            number = at // (file_seconds * SECOND) + 1
            if number not in parts:
                now = (number - 1) * file_seconds * SECOND
                header = FileHeader(self.task_id, self.generation, number, EPOCH + now, UTC + now, EPOCH, UTC)
                parts[number] = bytearray(header.encode())
            parts[number] += encode(record, EPOCH + at)
        for number, data in parts.items():
            (self.folder / f"{number:06d}.rj").write_bytes(data)
