"""The same mix made by others, from files and as fast as they can: the ffmpeg command line, and a GStreamer pipeline.

Both decode, scale, put together and encode exactly what ours does: places and cuts are those of our own layout.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from rokuga.errors import RokugaError
from rokuga.publish.clip import AUDIO_CLOCK, Clip, Kind, clock_of
from rokuga.publish.media import Look
from rokuga.render.mix.fit import Fit, fit
from rokuga.render.mix.layout import CROP, Layout, Shown, arrange
from rokuga.render.mix.tiles import AREA_FROM

LOOK = Look()
"""what the clip's pictures measure"""
SEGMENT_SECONDS = 10


class ComposerError(RokugaError):
    """A contender failed, or is not installed."""


@dataclass(frozen=True)
class Mix:
    """What is to come out: a grid of so many users."""

    tiles: int
    width: int
    height: int
    fps: int = 15
    bit_rate: int = 1_500_000
    gop_seconds: int = 4
    audio_bit_rate: int = 64_000

    @property
    def name(self) -> str:
        return f"{self.tiles} ({self.width}x{self.height})"

    def places(self) -> list[Fit]:
        """Of each tile: its scaled size, and the part of it that is seen where."""
        shown = [Shown(str(number), "main") for number in range(self.tiles)]
        cells = arrange(self.width, self.height, shown, Layout(render_mode=CROP))
        return [fit(LOOK.width, LOOK.height, cell.rect, CROP) for cell in cells]

    def transcode(self) -> dict[str, dict[str, int]]:
        """MixTranscodeParams."""
        video = {"Width": self.width, "Height": self.height, "Fps": self.fps, "BitRate": self.bit_rate, "Gop": self.gop_seconds}
        return {"VideoParams": video, "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": self.audio_bit_rate}}


def write_inputs(sent: Clip, seconds: float, folder: Path) -> tuple[Path, Path]:
    """The clip for so long as an MPEG-TS of H.264 and an Ogg of Opus, in ``folder``."""
    video, audio = folder / "in.ts", folder / "in.ogg"
    with av.open(str(video), "w") as container:
        picture = container.add_stream("libx264", rate=LOOK.fps)
        picture.width, picture.height, picture.pix_fmt = LOOK.width, LOOK.height, "yuv420p"
        container.start_encoding()
        _write(container, picture, sent, "video", seconds)
    with av.open(str(audio), "w") as container:
        sound = container.add_stream("libopus", rate=AUDIO_CLOCK)
        container.start_encoding()
        _write(container, sound, sent, "audio", seconds)
    return video, audio


def _write(container: Any, stream: Any, sent: Clip, kind: Kind, seconds: float) -> None:
    clock = clock_of(kind)
    for unit in sent.rounds(kind):
        if unit.pts >= seconds * clock:
            break
        packet = av.Packet(unit.data)
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, unit.pts, unit.pts, Fraction(1, clock)
        packet.is_keyframe = unit.key
        container.mux(packet)


def ffmpeg(mix: Mix, video: Path, audio: Path, out: Path, paced: bool = False) -> list[str]:
    """HLS in ``out``. One thread wherever that can be said: ours has one, and it costs least. ``paced``: as fast as it is seen."""
    pace = ["-re"] if paced else []
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-filter_complex_threads", "1"]
    filters = []
    for number, place in enumerate(mix.places()):
        command += [*pace, "-threads", "1", "-i", str(video), *pace, "-threads", "1", "-i", str(audio)]
        rect = place.rect
        flags = "area" if AREA_FROM * place.width <= LOOK.width else "fast_bilinear"
        filters.append(
            f"[{2 * number}:v]scale={place.width}:{place.height}:flags={flags},"
            f"crop={rect.width}:{rect.height}:{place.left}:{place.top}[v{number}]"
        )
    limiter = "alimiter=limit=0.9:level=0"
    if mix.tiles > 1:
        tiles = range(mix.tiles)
        corners = "|".join(f"{place.rect.x}_{place.rect.y}" for place in mix.places())
        filters.append("".join(f"[v{n}]" for n in tiles) + f"xstack=inputs={mix.tiles}:layout={corners}:fill=black[v]")
        filters.append("".join(f"[{2 * n + 1}:a]" for n in tiles) + f"amix=inputs={mix.tiles}:normalize=0,{limiter}[a]")
    else:
        filters += ["[v0]null[v]", f"[1:a]{limiter}[a]"]
    command += ["-filter_complex", ";".join(filters), "-map", "[v]", "-map", "[a]"]
    return [*command, *coded(mix), "-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_list_size", "0", str(out / "mix.m3u8")]


def coded(mix: Mix) -> list[str]:
    """ffmpeg's options for what ours asks of the same encoders."""
    keyint, rate = mix.gop_seconds * mix.fps, mix.bit_rate // 1000
    x264 = f"keyint={keyint}:min-keyint={keyint}:scenecut=0:bframes=0:vbv-maxrate={rate}:vbv-bufsize={rate}:repeat-headers=1"
    video = ["-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-b:v", str(mix.bit_rate), "-x264-params", x264]
    return [*video, "-c:a", "aac", "-aac_coder", "fast", "-aac_tns", "0", "-threads", "1", "-ac", "2", "-b:a", str(mix.audio_bit_rate)]


def gstreamer(mix: Mix, video: Path, audio: Path, out: Path) -> list[str]:
    """One MPEG-TS file in ``out``. The compositor scales by itself; what is cut off is cut off before."""
    pads, branches = [], []
    for number, place in enumerate(mix.places()):
        rect = place.rect
        at = {"xpos": rect.x, "ypos": rect.y, "width": rect.width, "height": rect.height}
        pads += [f"sink_{number}::{name}={value}" for name, value in at.items()]
        across, down = LOOK.width / place.width, LOOK.height / place.height
        left, top = round(place.left * across), round(place.top * down)
        right, bottom = (max(0, LOOK.width - left - round(rect.width * across)), max(0, LOOK.height - top - round(rect.height * down)))
        crop = f"! videocrop left={left} right={right} top={top} bottom={bottom}" if left or top else ""
        branches.append(f"filesrc location={video} ! tsdemux ! h264parse ! avdec_h264 max-threads=1 {crop} ! queue ! c.sink_{number}")
        branches.append(f"filesrc location={audio} ! oggdemux ! opusdec ! queue ! m.")
    keyint, kilo = mix.gop_seconds * mix.fps, mix.bit_rate // 1000
    text = (
        f"compositor name=c background=black {' '.join(pads)} ! video/x-raw,format=I420,width={mix.width},height={mix.height},"
        f"framerate={mix.fps}/1 ! x264enc speed-preset=veryfast threads=1 bframes=0 b-adapt=false bitrate={kilo} vbv-buf-capacity=1000 "
        f"key-int-max={keyint} option-string=scenecut=0:min-keyint={keyint} ! h264parse ! mux. "
        f"audiomixer name=m ! audioconvert ! audio/x-raw,rate=48000,channels=2 ! "
        f"avenc_aac bitrate={mix.audio_bit_rate} aac-coder=fast aac-tns=false threads=1 ! aacparse ! mux. "
        f"mpegtsmux name=mux ! filesink location={out / 'mix.ts'} {' '.join(branches)}"
    )
    return ["gst-launch-1.0", "-q", *text.split()]


def start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Raises ComposerError."""
    with log.open("wb") as said:
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        except FileNotFoundError:
            raise ComposerError(f"{command[0]} is not installed (make bench-mixed installs it)") from None


def finish(name: str, process: "subprocess.Popen[bytes]", log: Path) -> float:
    """Wait until it has ended; the CPU seconds that it took. Raises ComposerError."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ComposerError(f"{name} ended with {process.returncode}: {log.read_text()[-300:]} (all of it in {log})")
    return used.ru_utime + used.ru_stime


def run(command: Sequence[str], log: Path) -> float:
    """CPU seconds that it took. Raises ComposerError."""
    return finish(command[0], start(command, log), log)
