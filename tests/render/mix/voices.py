"""Tracks made of real codecs, plans of them as the fold makes them, and what is heard of the result."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.packet import Packet
from numpy.typing import NDArray

from rokuga.journal.reader import Position
from rokuga.render.mix.plan import MixAudio, Voice
from rokuga.render.mix.sound import mixed_frames, reach
from rokuga.render.plan import Ref

LOOKAHEAD = 120
"""samples by which libopus' encoder for low delay is late"""
FloatArray = NDArray[np.floating[Any]]


def sine(frequency: float, seconds: float, amplitude: float = 0.3, phase: float = 0.0) -> NDArray[np.float64]:
    wave: NDArray[np.float64] = amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * 48_000)) / 48_000 + phase)
    return wave


def speech(seconds: float, seed: int = 1) -> NDArray[np.float64]:
    """Syllables of a gliding voice with some breath, and pauses."""
    t = np.arange(round(seconds * 48_000)) / 48_000
    pitch = 120 * t + 3 * np.sin(2 * np.pi * 0.7 * t + seed)
    order = np.arange(1, 16)[:, None]
    harmonics = (np.sin(order * (2 * np.pi * pitch + seed)) / order).sum(axis=0)
    syllables = np.clip(np.sin(2 * np.pi * 3 * t + seed) + 0.4, 0, 1)
    breath = np.random.default_rng(seed).standard_normal(len(t)) * 0.1
    wave = (harmonics + breath) * syllables
    loud: NDArray[np.float64] = wave * (0.5 / np.abs(wave).max())
    return loud


def opus_packets(wave: FloatArray, bit_rate: int = 64_000) -> list[bytes]:
    """Packets of 20 ms of (samples,) or (samples, 2)."""
    samples = wave.reshape(len(wave), -1)
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 48_000, layout, "flt", bit_rate
    encoder.options = {"application": "lowdelay", "frame_duration": "20"}
    packets: list[bytes] = []
    for begin in range(0, len(samples) - 959, 960):
        frame = AudioFrame("flt", layout, 960)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, begin, Fraction(1, 48_000)
        frame.planes[0].update(samples[begin : begin + 960].astype(np.float32).tobytes())
        packets += [bytes(p) for p in encoder.encode(frame)]
    return packets


@dataclass
class Mix:
    """Tracks, and the plans of segments of their mix."""

    rate: int = 48_000
    channels: int = 1
    bit_rate: int = 64_000
    tracks: list[list[Voice]] = field(default_factory=list)
    data: dict[Position, bytes] = field(default_factory=dict)

    def track(
        self,
        packets: Sequence[bytes],
        at: int = 0,
        lost: Container[int] = (),
        codec: str = "opus",
        lengths: tuple[int, ...] = (960,),
    ) -> "Mix":
        """Packets of 20 ms, one after the other from mix time ``at`` on; their lengths go round."""
        voices: list[Voice] = []
        for number, packet in enumerate(packets):
            position = Position(len(self.tracks) + 1, number)
            length = lengths[number % len(lengths)]
            if number not in lost:
                self.data[position] = packet
                voices.append(Voice(Ref(position, len(packet), 0, samples=960, codec=codec), at, length))
            at += length
        self.tracks.append(voices)
        return self

    def plan(self, first: int, count: int) -> MixAudio:
        before, after = reach(self.rate)
        low = first * 1024 * 48_000 // self.rate - before
        high = (first + count) * 1024 * 48_000 // self.rate + after
        voices = tuple(tuple(v for v in track if v.at + v.length > low and v.at < high) for track in self.tracks)
        pts = tuple((first + k) * 1024 * 90_000 // self.rate for k in range(count))
        return MixAudio(self.rate, self.channels, self.bit_rate, first, pts, voices)

    def frames(self, first: int, count: int) -> list[bytes]:
        frames = mixed_frames(self.plan(first, count), self.payload)
        assert len(frames) == count
        return frames

    def payload(self, ref: Ref) -> bytes:
        return self.data[ref.position]

    def heard(self, seconds: float) -> NDArray[np.float32]:
        """The mix from its beginning on: (samples, channels)."""
        return heard(self.frames(0, round(seconds * self.rate) // 1024), self.rate, self.channels)


def heard(frames: list[bytes], rate: int, channels: int) -> NDArray[np.float32]:
    """What FFmpeg's decoder makes of AAC frames: (samples, channels). The first frame is not whole, as nothing is before it."""
    decoder = av.CodecContext.create("aac", "r")
    sound: list[NDArray[np.float32]] = []
    for data in frames:
        for frame in decoder.decode(Packet(data)):
            assert isinstance(frame, AudioFrame)
            assert (frame.sample_rate, frame.layout.nb_channels, frame.samples) == (rate, channels, 1024)
            sound.append(np.stack([np.frombuffer(bytes(p), np.float32, 1024) for p in frame.planes], axis=1))
    assert len(sound) == len(frames)
    return np.concatenate(sound)


def amplitude(sound: FloatArray, frequency: float, rate: int) -> float:
    """Of a tone in it."""
    wave = np.exp(-2j * np.pi * frequency * np.arange(len(sound)) / rate) * np.hanning(len(sound))
    return float(2 * abs(np.sum(sound * wave)) / np.sum(np.hanning(len(sound))))


def rms(sound: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def steepest(sound: FloatArray) -> float:
    """The largest step from a sample to the next."""
    return float(np.abs(np.diff(sound, axis=0)).max())
