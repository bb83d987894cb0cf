"""Audio packets to sound at 48 kHz, interleaved 32-bit float: what is lost is made up. A decoder lives for one segment."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.packet import Packet

from rokuga.render.audio import FRAME_SAMPLES, RATE

SAMPLE = 4
"""bytes of a sample of one channel"""
PCM = {"pcmu": ("pcm_mulaw", 8_000), "pcma": ("pcm_alaw", 8_000), "g722": ("g722", 16_000)}
"""FFmpeg's name and the sample rate"""
MOST_SAMPLES = 5_760
"""No Opus packet holds more than 120 ms (RFC 6716 §3.4, R5)."""
MOST_BYTES = 1_276
"""Of an Opus packet with one frame: the TOC byte and at most 1275 more (R2)."""
CELT = 0x80
"""TOC bytes from here on are of CELT alone (RFC 6716 §3.1, table 2)."""
LEAST_BYTES = 3
"""Of a packet with one frame that is there: a frame of a byte or none stands for one that was lost or never sent (RFC 6716 §2.1.9)."""
BEFORE_SAMPLES = 19_200
"""What libopus is given when it takes over. A decoder converges in 80 ms (RFC 7845 §4.6), so well that none can tell in 400 ms."""
BELOW_TWO = bytes((*range(0x40), *range(0x80, 0xC0)))
"""The last bytes (little-endian) of the floats between -2 and 2."""


class Decoder(Protocol):
    def decode(self, packets: Sequence[tuple[bytes, int]]) -> bytes:
        """The sound of packets that follow each other without a hole, each with its number of samples: exactly so many.

        It is made up where a packet is empty or bad.
        """

    def conceal(self, samples: int) -> bytes:
        """Sound for a hole in front of the next packet."""


class OpusDecoder:
    """Opus as libopus decodes it, which extrapolates what is lost (RFC 6716 §4.4).

    FFmpeg's own decoder takes two thirds of the time and knows nothing of losses. Of CELT (§4.3) it makes the same sound, but for the last
    bits of a float; its SILK comes some samples later. So it has its turn first, and the first packet that is none of CELT, bad or lost
    hands what follows to libopus, which has then heard enough of what was before.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._plain: AudioCodecContext | None = _codec("opus", RATE, channels)
        """as long as it may"""
        self._full: AudioCodecContext | None = None
        self._before: list[tuple[bytes, int]] = []
        """the last packets that ``_plain`` has decoded"""
        self._toc = 0

    def decode(self, packets: Sequence[tuple[bytes, int]]) -> bytes:
        return b"".join(sound for group in _groups(packets) for sound in self._together(group))

    def conceal(self, samples: int) -> bytes:
        # A packet that is nothing but a TOC byte stands for a lost frame (RFC 6716 §3.2.1).
        step = FRAME_SAMPLES[self._toc >> 3]
        made = bytearray()
        for at in range(0, samples, step):
            sound = self._sound(bytes((self._toc & 0xFC,)))
            if not sound:
                break
            made += _fitted(sound, min(step, samples - at), self._channels)
        return _fitted(bytes(made), samples, self._channels)

    def _together(self, group: list[tuple[bytes, int]]) -> Iterator[bytes]:
        samples = sum(samples for _, samples in group)
        data = group[0][0] if len(group) == 1 else _joined([data for data, _ in group])
        sound = self._plainly(group, data, samples) or (self._sound(data) if data else b"")
        if sound:
            self._toc = data[0]
            yield _fitted(sound, samples, self._channels)
        elif len(group) == 1:
            yield self.conceal(samples)
        else:
            for packet in group:
                yield from self._together([packet])

    def _plainly(self, group: list[tuple[bytes, int]], data: bytes, samples: int) -> bytes:
        """Without libopus; empty if it is its turn."""
        if self._plain is None:
            return b""
        if _toc_of_one_frame(group[0][0]) >= CELT:
            sound = _decode(self._plain, data)
            if sound and len(sound) == samples * SAMPLE * self._channels:
                self._before = [*self._before, *group][-(BEFORE_SAMPLES // group[0][1]) :]
                return _clipped(sound)
        self._plain = None
        return b""

    def _sound(self, data: bytes) -> bytes:
        self._plain = None
        if self._full is None:
            self._full = _codec("libopus", RATE, self._channels)
            self._full.options = {"request_sample_fmt": "flt"}
            for packet, _ in self._before:
                _decode(self._full, packet)
        return _clipped(_decode(self._full, data))


def _groups(packets: Sequence[tuple[bytes, int]]) -> Iterator[list[tuple[bytes, int]]]:
    """Packets that can be one, as many as a packet may hold: a call of the decoder costs a quarter of the decoding."""
    for toc, run in groupby(packets, lambda packet: _toc_of_one_frame(packet[0])):
        alike = list(run)
        most = MOST_SAMPLES // FRAME_SAMPLES[toc >> 3] if toc >= 0 else 1
        yield from (alike[at : at + most] for at in range(0, len(alike), most))


def _toc_of_one_frame(packet: bytes) -> int:
    """The TOC byte of a packet with one frame that is there, else -1."""
    return packet[0] if LEAST_BYTES <= len(packet) <= MOST_BYTES and packet[0] & 3 == 0 else -1


def _joined(packets: Sequence[bytes]) -> bytes:
    """Packets of one frame each and with the same TOC byte as one packet, which decodes to the same (RFC 6716 §3.2.5, code 3, VBR)."""
    lengths = bytearray()
    for packet in packets[:-1]:
        length = len(packet) - 1
        first = length if length < 252 else 252 + (length & 3)
        lengths += bytes((first,) if length < 252 else (first, (length - first) // 4))
    head = bytes((packets[0][0] | 3, 0x80 | len(packets)))
    return head + lengths + b"".join(packet[1:] for packet in packets)


class PcmDecoder:
    """G.711 and G.722. They know nothing of losses: the last packet is repeated."""

    def __init__(self, codec: str, channels: int) -> None:
        name, rate = PCM[codec]
        self._channels = channels
        self._decoder = _codec(name, rate, 1)
        self._resampler = AudioResampler("flt", "stereo" if channels == 2 else "mono", RATE)
        self._ready = b""
        self._last = b""

    def decode(self, packets: Sequence[tuple[bytes, int]]) -> bytes:
        return b"".join(self._one(data, samples) for data, samples in packets)

    def conceal(self, samples: int) -> bytes:
        made = b""
        length = len(self._last) * (RATE // 8000)
        while length and len(made) < samples * SAMPLE * self._channels:
            made += self._one(b"", length)
        return _fitted(made, samples, self._channels)

    def _one(self, data: bytes, samples: int) -> bytes:
        self._last = data or self._last
        try:
            frames = self._decoder.decode(Packet(self._last)) if self._last else []
        except av.FFmpegError:
            frames = []
        for frame in frames:
            frame.pts = None
            for out in self._resampler.resample(frame):
                self._ready += bytes(out.planes[0])[: out.samples * SAMPLE * self._channels]
        # The resampler is 2 ms behind: they are missing at the very beginning alone, and everything is that much late.
        size = samples * SAMPLE * self._channels
        sound = bytes(max(0, size - len(self._ready))) + self._ready[:size]
        self._ready = self._ready[size:]
        return sound


def _codec(name: str, rate: int, channels: int) -> AudioCodecContext:
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate = rate
    decoder.layout = "stereo" if channels == 2 else "mono"
    decoder.thread_count = 1
    return decoder


def _decode(decoder: AudioCodecContext, data: bytes) -> bytes:
    try:
        frames = decoder.decode(Packet(data))
    except av.FFmpegError:
        return b""
    return b"".join(map(_interleaved, frames))


def _interleaved(frame: AudioFrame) -> bytes:
    size = frame.samples * SAMPLE
    if not frame.format.is_planar:
        return bytes(memoryview(frame.planes[0])[: size * frame.layout.nb_channels])
    if frame.layout.nb_channels == 1:
        return bytes(memoryview(frame.planes[0])[:size])
    both = array("f", bytes(2 * size))
    for channel, plane in enumerate(frame.planes):
        both[channel::2] = array("f", bytes(plane)[:size])
    return both.tobytes()


def _fitted(sound: bytes, samples: int, channels: int) -> bytes:
    size = samples * SAMPLE * channels
    if len(sound) == size:
        return sound
    return sound[:size] + bytes(max(0, size - len(sound)))


def _clipped(sound: bytes) -> bytes:
    """libopus makes samples of any size of a hostile packet, and with those above some thousands FFmpeg's AAC coder never ends."""
    if not sound[SAMPLE - 1 :: SAMPLE].translate(None, BELOW_TWO):
        return sound
    return array("f", (max(-1.0, min(1.0, value)) for value in array("f", sound))).tobytes()
