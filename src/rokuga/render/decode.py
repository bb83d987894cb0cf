"""Audio packets to 16-bit sound at 48 kHz: what is lost is made up. A decoder lives for one segment."""

from typing import Protocol

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.packet import Packet

from rokuga.render.audio import FRAME_SAMPLES, RATE

PCM = {"pcmu": ("pcm_mulaw", 8_000), "pcma": ("pcm_alaw", 8_000), "g722": ("g722", 16_000)}
"""FFmpeg's name and the sample rate"""


class Decoder(Protocol):
    def decode(self, data: bytes, samples: int) -> bytes:
        """Exactly ``samples`` samples (48 kHz, interleaved 16 bits); made up as far as ``data`` is bad."""

    def conceal(self, samples: int) -> bytes:
        """Sound for a hole in front of the next packet."""


class OpusDecoder:
    """libopus, which extrapolates what is lost (RFC 6716 §4.4)."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._decoder = _codec("libopus", RATE, channels)
        self._toc = 0

    def decode(self, data: bytes, samples: int) -> bytes:
        sound = _decode(self._decoder, data, self._channels) if data else b""
        if not sound:
            return self.conceal(samples)
        self._toc = data[0]
        return _fitted(sound, samples, self._channels)

    def conceal(self, samples: int) -> bytes:
        # A packet that is nothing but a TOC byte stands for a lost frame (RFC 6716 §3.2.1).
        step = FRAME_SAMPLES[self._toc >> 3]
        made = bytearray()
        for at in range(0, samples, step):
            sound = _decode(self._decoder, bytes((self._toc & 0xFC,)), self._channels)
            if not sound:
                break
            made += _fitted(sound, min(step, samples - at), self._channels)
        return _fitted(bytes(made), samples, self._channels)


class PcmDecoder:
    """G.711 and G.722. They know nothing of losses: the last packet is repeated."""

    def __init__(self, codec: str, channels: int) -> None:
        name, rate = PCM[codec]
        self._channels = channels
        self._decoder = _codec(name, rate, 1)
        self._resampler = AudioResampler("s16", "stereo" if channels == 2 else "mono", RATE)
        self._ready = b""
        self._last = b""

    def decode(self, data: bytes, samples: int) -> bytes:
        self._last = data or self._last
        try:
            frames = self._decoder.decode(Packet(self._last)) if self._last else []
        except av.FFmpegError:
            frames = []
        for frame in frames:
            frame.pts = None
            for out in self._resampler.resample(frame):
                self._ready += bytes(out.planes[0])[: out.samples * 2 * self._channels]
        # The resampler is 2 ms behind: they are missing at the very beginning alone, and everything is that much late.
        size = samples * 2 * self._channels
        sound = bytes(max(0, size - len(self._ready))) + self._ready[:size]
        self._ready = self._ready[size:]
        return sound

    def conceal(self, samples: int) -> bytes:
        made = b""
        length = len(self._last) * (RATE // 8000)
        while length and len(made) < samples * 2 * self._channels:
            made += self.decode(b"", length)
        return _fitted(made, samples, self._channels)


def _codec(name: str, rate: int, channels: int) -> AudioCodecContext:
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate = rate
    decoder.layout = "stereo" if channels == 2 else "mono"
    decoder.thread_count = 1
    return decoder


def _decode(decoder: AudioCodecContext, data: bytes, channels: int) -> bytes:
    try:
        frames = decoder.decode(Packet(data))
    except av.FFmpegError:
        return b""
    return b"".join(bytes(f.planes[0])[: f.samples * 2 * channels] for f in frames)


def _fitted(sound: bytes, samples: int, channels: int) -> bytes:
    size = samples * 2 * channels
    return sound[:size] + bytes(max(0, size - len(sound)))
