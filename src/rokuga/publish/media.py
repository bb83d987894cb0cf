"""Generated media: a picture with a running clock, and a tone. At each full second the picture flashes white and a beep begins.

Flash and beep lie at the same media instant (0, 1, 2 … seconds), so that a recording can be judged for lip sync. The Opus
encoder's look-ahead is taken out: a decoder that drops nothing gives the beep's first sample exactly at the full second.
"""

import hashlib
import json
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw, ImageFont

from rokuga.publish.clip import AUDIO_CLOCK, OPUS_SAMPLES, VIDEO_CLOCK, Clip, Unit, load, save

BEEP_HZ = 1000
BEEP_SECONDS = 0.08
BEEP_LEVEL = 0.6
TONE_LEVEL = 0.04
OPUS_LOOKAHEAD = 312
"""Samples by which libopus' decoder output is late (RFC 7845 calls it pre-skip; RTP has no such field)."""
_FORMAT = 3
"""Part of the cache's key: count up when the generated media change."""


@dataclass(frozen=True)
class Look:
    """What is generated. ``bitrate`` in bit/s, ``gop`` in seconds (an IDR frame starts each), ``tone`` in Hz (0: silence
    between the beeps), ``colour`` as #rrggbb (empty: chosen from the name)."""

    name: str = "rokuga"
    width: int = 640
    height: int = 360
    fps: int = 15
    bitrate: int = 800_000
    gop: int = 2
    tone: int = 0
    colour: str = ""
    seconds: int = 60
    flash: bool = True


def look_of(name: str, **options: Any) -> Look:
    """A look with colour and tone of its own for each name."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    red, green, blue = (40 + (number >> shift) % 130 for shift in (0, 8, 16))
    return Look(name=name, tone=200 + number % 50 * 10, colour=f"#{red:02x}{green:02x}{blue:02x}", **options)


def generate(look: Look, cache: Path) -> Clip:
    """The clip of that look, from the folder ``cache`` if it was made before. Blocks for some seconds the first time."""
    key = hashlib.sha256(json.dumps([_FORMAT, asdict(look)]).encode()).hexdigest()[:24]
    path = cache / f"{key}.clip"
    try:
        return load(path)
    except FileNotFoundError:
        cache.mkdir(parents=True, exist_ok=True)
    clip = Clip(float(look.seconds), tuple(_video(look)), tuple(_audio(look)))
    save(path, clip)
    return clip


def _pictures(look: Look) -> Iterator[av.VideoFrame]:
    """The clock runs, a bar moves with the second, and a strip of noise takes the bits that a camera's picture would."""
    width, height = look.width, look.height
    colour = Image.new("RGB", (1, 1), look.colour or "#305080").convert("YCbCr").getpixel((0, 0))
    assert isinstance(colour, tuple)
    luma, chroma = colour[0], bytes([colour[1]]) * (width * height // 4) + bytes([colour[2]]) * (width * height // 4)
    big, small = (ImageFont.load_default(size=height * share // 100) for share in (36, 11))
    base = Image.new("L", (width, height), luma)
    ImageDraw.Draw(base).text((width // 2, height // 8), look.name, 235, small, anchor="mm")
    noise = random.Random(look.name)
    strip = (width // 16 * 16, max(16, height // 6 // 16 * 16))
    for number in range(look.seconds * look.fps):
        second, part = divmod(number, look.fps)
        frame = av.VideoFrame(width, height, "yuv420p")
        if part == 0 and look.flash:
            _fill(frame, bytes([235]) * (width * height), bytes([128]) * (width * height // 2))
        else:
            if part == (1 if look.flash else 0):
                base.paste(luma, (0, height // 5, width, height * 2 // 3))
                text = f"{second // 60:02d}:{second % 60:02d}"
                ImageDraw.Draw(base).text((width // 2, height * 9 // 20), text, 235, big, anchor="mm")
            picture = base.copy()
            picture.paste(235, (0, height * 2 // 3, width * part // look.fps, height * 2 // 3 + 8))
            cells = Image.frombytes("L", (strip[0] // 8, strip[1] // 8), noise.randbytes(strip[0] * strip[1] // 64))
            picture.paste(cells.resize(strip, Image.Resampling.BILINEAR), (0, height - strip[1]))
            _fill(frame, picture.tobytes(), chroma)
        frame.pts = number
        frame.time_base = Fraction(1, look.fps)
        yield frame


def _fill(frame: av.VideoFrame, luma: bytes, chroma: bytes) -> None:
    """Planes as tight rows into a frame whose lines may be padded."""
    half = len(chroma) // 2
    for plane, data in zip(frame.planes, (luma, chroma[:half], chroma[half:]), strict=True):
        if plane.line_size != plane.width:
            rows = (data[at : at + plane.width] for at in range(0, len(data), plane.width))
            data = b"".join(row.ljust(plane.line_size, b"\0") for row in rows)
        plane.update(data)


def _video(look: Look) -> Iterator[Unit]:
    """Constrained baseline without B-frames or look-ahead; SPS and PPS stand in front of every IDR."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = look.width, look.height, "yuv420p"
    codec.framerate, codec.time_base = Fraction(look.fps), Fraction(1, look.fps)
    codec.bit_rate, codec.gop_size, codec.thread_count = look.bitrate, look.gop * look.fps, 1
    size = f"vbv-maxrate={look.bitrate // 1000}:vbv-bufsize={look.bitrate // 1000}"
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": f"{size}:scenecut=0:keyint={look.gop * look.fps}:min-keyint={look.gop * look.fps}:threads=1:sliced-threads=0",
    }
    tick = VIDEO_CLOCK // look.fps
    for frame in _pictures(look):
        for packet in codec.encode(frame):
            assert packet.pts is not None
            yield Unit(packet.pts * tick, bytes(packet), packet.is_keyframe)


def _second(look: Look) -> bytes:
    """One second of sound, s16 mono; every second is the same, because tones have whole numbers of periods in it."""
    beep = int(BEEP_SECONDS * AUDIO_CLOCK)
    turn = 2 * math.pi / AUDIO_CLOCK
    samples = []
    for number in range(AUDIO_CLOCK):
        value = TONE_LEVEL * math.sin(turn * look.tone * number)
        if number < beep and look.flash:
            value += BEEP_LEVEL * math.cos(turn * BEEP_HZ * number)
        samples.append(round(value * 32767))
    return struct.pack(f"<{AUDIO_CLOCK}h", *samples)


def _audio(look: Look) -> Iterator[Unit]:
    """20 ms packets. The encoder hears the last second first, so that the round's start sounds as if it were its middle."""
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = AUDIO_CLOCK, "mono", "s16"
    codec.time_base, codec.bit_rate = Fraction(1, AUDIO_CLOCK), 48_000
    codec.options = {"application": "audio", "frame_duration": "20"}
    codec.open()
    second = _second(look)
    lead = AUDIO_CLOCK // OPUS_SAMPLES
    sound = second[OPUS_LOOKAHEAD * 2 :] + second[: OPUS_LOOKAHEAD * 2]
    packets = lead * (look.seconds + 1)
    made = 0
    for number in range(packets + 1):
        at = number % lead * OPUS_SAMPLES * 2
        frame = av.AudioFrame("s16", "mono", OPUS_SAMPLES)
        frame.planes[0].update(sound[at : at + OPUS_SAMPLES * 2])
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_CLOCK, number * OPUS_SAMPLES, Fraction(1, AUDIO_CLOCK)
        for packet in codec.encode(frame):
            if lead <= made < packets:
                yield Unit((made - lead) * OPUS_SAMPLES, bytes(packet))
            made += 1
