"""A media file as a clip: H.264 is taken as it is, Opus in 20 ms packets too, any other sound becomes Opus."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from rokuga.publish.clip import AUDIO_CLOCK, OPUS_SAMPLES, VIDEO_CLOCK, Clip, PublishError, Unit


def load_file(path: Path) -> Clip:
    """The file's first video and first audio, from its first keyframe on. Reads all of it; memory is its size.

    Raises PublishError: not a media file, neither H.264 nor sound in it, or B-frames, which WebRTC has not.
    """
    try:
        with av.open(str(path)) as container:
            video = _video(container, path) if container.streams.video else []
        with av.open(str(path)) as container:
            audio = _audio(container) if container.streams.audio else []
    except (av.FFmpegError, OSError) as error:
        raise PublishError(f"{path}: {error}") from error
    if not video and not audio:
        raise PublishError(f"{path}: no H.264 video and no audio in it")
    starts = [Fraction(units[0].pts, clock) for units, clock in ((video, VIDEO_CLOCK), (audio, AUDIO_CLOCK)) if units]
    start = Fraction(video[0].pts, VIDEO_CLOCK) if video else min(starts)
    video, audio = _from(start, video, VIDEO_CLOCK), _from(start, audio, AUDIO_CLOCK)
    ends = [(audio[-1].pts + OPUS_SAMPLES) / AUDIO_CLOCK] if audio else []
    if video:
        ends.append((video[-1].pts + (video[-1].pts // max(1, len(video) - 1) or VIDEO_CLOCK // 30)) / VIDEO_CLOCK)
    return Clip(max(ends), tuple(video), tuple(audio))


def _from(start: Fraction, units: list[Unit], clock: int) -> list[Unit]:
    offset = round(start * clock)
    return [Unit(unit.pts - offset, unit.data, unit.key) for unit in units if unit.pts >= offset]


def _video(container: "av.container.InputContainer", path: Path) -> list[Unit]:
    stream = container.streams.video[0]
    if stream.codec_context.name != "h264":
        raise PublishError(f"{path}: its video is {stream.codec_context.name}; only H.264 can be published")
    annexb = BitStreamFilterContext("h264_mp4toannexb", stream)
    units: list[Unit] = []
    for packet in container.demux(stream):
        for whole in annexb.filter(packet if packet.size else None):
            if whole.pts is None or whole.time_base is None or not (units or whole.is_keyframe):
                continue
            unit = Unit(int(whole.pts * whole.time_base * VIDEO_CLOCK), bytes(whole), whole.is_keyframe)
            if units and unit.pts <= units[-1].pts:
                raise PublishError(f"{path}: its pictures are not in display order (B-frames); encode it with -bf 0")
            units.append(unit)
    return units


def _audio(container: "av.container.InputContainer") -> list[Unit]:
    stream = container.streams.audio[0]
    if stream.codec_context.name in ("opus", "libopus"):
        units = [
            Unit(int(packet.pts * packet.time_base * AUDIO_CLOCK), bytes(packet))
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None and packet.time_base is not None
        ]
        if all(after.pts - before.pts <= OPUS_SAMPLES * 1.1 for before, after in pairwise(units)):
            return units
        container.seek(0)
    return list(_opus(container, stream))


def _opus(container: "av.container.InputContainer", stream: "av.audio.stream.AudioStream") -> Iterator[Unit]:
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = AUDIO_CLOCK, "stereo", "s16"
    codec.time_base, codec.bit_rate = Fraction(1, AUDIO_CLOCK), 96_000
    codec.options = {"frame_duration": "20"}
    resampler = av.AudioResampler("s16", "stereo", AUDIO_CLOCK, OPUS_SAMPLES)
    first: int | None = None
    number = 0
    for frame in chain(container.decode(stream), [None]):
        if frame is not None and first is None and frame.pts is not None and frame.time_base is not None:
            first = int(frame.pts * frame.time_base * AUDIO_CLOCK)
        for piece in resampler.resample(frame):
            if piece.samples == OPUS_SAMPLES:
                piece.pts = number * OPUS_SAMPLES
                for packet in codec.encode(piece):
                    yield Unit((first or 0) + number * OPUS_SAMPLES, bytes(packet))
                    number += 1
