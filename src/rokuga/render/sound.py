"""Opus packets of an AudioPlan to AAC frames: a fresh decoder and encoder each time, so that the bytes depend on the plan alone."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.packet import Packet

from rokuga.render.audio import BLOCK, FRAME_SAMPLES, POST_BLOCKS, PRE_BLOCKS, RATE
from rokuga.render.plan import AudioPlan, Ref

CHANNELS = 2
BIT_RATE = 64_000
CONCEALED_PACKETS = 3
"""What libopus makes up for lost packets sounds right for about 60 ms; silence follows."""
SAMPLE_BYTES = 2 * CHANNELS
TIME_BASE = Fraction(1, RATE)


def adts_header(frame_bytes: int) -> bytes:
    """Seven bytes in front of an AAC-LC frame, 48 kHz, stereo (ISO/IEC 13818-7 §6.2)."""
    length = frame_bytes + 7
    return bytes(
        (
            0xFF,
            0xF1,
            1 << 6 | 3 << 2 | CHANNELS >> 2,
            (CHANNELS & 3) << 6 | length >> 11,
            length >> 3 & 0xFF,
            (length & 7) << 5 | 0x1F,
            0xFC,
        )
    )


def aac_frames(plan: AudioPlan, payload: Callable[[Ref], bytes]) -> Iterator[bytes]:
    """The plan's AAC frames with ADTS headers, one for each of ``plan.pts``. ``payload``: its bytes, empty if unreadable."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate = RATE
    encoder.layout = "stereo"
    encoder.format = "fltp"
    encoder.bit_rate = BIT_RATE
    encoder.thread_count = 1
    encoder.options = {"aac_coder": "fast"}
    begin = plan.first - PRE_BLOCKS
    # The encoder is one frame behind: the packet that it gives for a frame holds the frame before and says so in its PTS.
    wanted = range(PRE_BLOCKS * BLOCK, (PRE_BLOCKS + len(plan.pts)) * BLOCK, BLOCK)
    blocks = _blocks(plan, payload, plan.origin + begin * BLOCK, len(plan.pts) + PRE_BLOCKS + POST_BLOCKS)
    for number, block in enumerate(blocks):
        frame = AudioFrame("s16", "stereo", BLOCK)
        frame.sample_rate = RATE
        frame.time_base = TIME_BASE
        frame.pts = number * BLOCK
        frame.planes[0].update(block)
        for packet in encoder.encode(frame):
            if packet.pts in wanted:
                yield adts_header(packet.size) + bytes(packet)


def _blocks(plan: AudioPlan, payload: Callable[[Ref], bytes], begin: int, count: int) -> Iterator[bytes]:
    """``count`` blocks of interleaved 16-bit sound from RTP time ``begin`` on, with silence where there is none."""
    size = BLOCK * SAMPLE_BYTES
    buffer = bytearray()
    at = plan.packets[0].time if plan.packets else begin
    buffer += bytes(max(0, at - begin) * SAMPLE_BYTES)
    skip = max(0, begin - at) * SAMPLE_BYTES
    for sound in _decoded(plan, payload):
        if skip:
            cut = min(skip, len(sound))
            skip -= cut
            sound = sound[cut:]
        buffer += sound
        while len(buffer) >= size:
            if count == 0:
                return
            yield bytes(buffer[:size])
            del buffer[:size]
            count -= 1
    if count:
        buffer += bytes(max(0, count * size - len(buffer)))
        for index in range(count):
            yield bytes(buffer[index * size : (index + 1) * size])


def _decoded(plan: AudioPlan, payload: Callable[[Ref], bytes]) -> Iterator[bytes]:
    """The packets' sound without a hole from the first packet on: lost ones are concealed, long holes silent."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate = RATE
    decoder.layout = "stereo"
    decoder.thread_count = 1
    toc = 0
    expected = plan.packets[0].time if plan.packets else 0
    before = 0
    for ref in plan.packets:
        if ref.time > expected:
            yield from _concealed(decoder, toc, ref.time - expected, CONCEALED_PACKETS * before)
        data = payload(ref)
        sound = _decode(decoder, data) if data else b""
        if sound:
            toc = data[0]
            yield _fitted(sound, ref.samples)
        else:
            yield from _concealed(decoder, toc, ref.samples, ref.samples)
        expected = ref.time + ref.samples
        before = ref.samples


def _concealed(decoder: AudioCodecContext, toc: int, samples: int, at_most: int) -> Iterator[bytes]:
    # A packet that is nothing but a TOC byte stands for a lost frame (RFC 6716 §3.2.1).
    made = 0
    step = FRAME_SAMPLES[toc >> 3]
    while made < min(samples, at_most):
        sound = _decode(decoder, bytes((toc & 0xFC,)))
        if not sound:
            break
        part = min(step, samples - made)
        yield _fitted(sound, part)
        made += part
    if made < samples:
        yield bytes((samples - made) * SAMPLE_BYTES)


def _decode(decoder: AudioCodecContext, data: bytes) -> bytes:
    try:
        frames = decoder.decode(Packet(data))
    except av.InvalidDataError:
        return b""
    return b"".join(bytes(f.planes[0])[: f.samples * SAMPLE_BYTES] for f in frames)


def _fitted(sound: bytes, samples: int) -> bytes:
    size = samples * SAMPLE_BYTES
    return sound[:size] + bytes(max(0, size - len(sound)))
