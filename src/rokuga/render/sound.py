"""The packets of an AudioPlan to AAC frames: fresh decoders and a fresh encoder each time, so that the bytes depend on the plan alone.

Silence costs next to nothing: packets too small to hold a sound are not decoded, and of a long silence only both ends are encoded.
"""

from array import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from rokuga.render.audio import BLOCK, POST_BLOCKS, PRE_BLOCKS, RATE, SILENT_BYTES
from rokuga.render.decode import SAMPLE, Decoder, OpusDecoder, PcmDecoder
from rokuga.render.plan import AudioPlan, Ref

BIT_RATE = 64_000
CONCEALED = 2_880
"""What libopus makes up for lost packets sounds right for about 60 ms; it is then faded out."""
FADE_OUT, FADE_IN = 960, 240
"""20 ms into a silence, 5 ms out of one: no click"""
DTX_BYTES = 2
"""A packet of at most this many says that the publisher falls silent, and sends nothing until it says more (RFC 6716 §2.1.9)."""
CONVERGING = 4
"""Packets that the decoder is given before those that are heard after a silence (RFC 7845 §4.6: 80 ms)."""
EDGE_BLOCKS = 4
"""Silent frames that are encoded at both ends of a silence: the encoder has then forgotten what was before."""
BATCH_BLOCKS = 32
"""Given to the encoder at once: each call costs."""
RUN = 48
"""Packets that are decoded at once: a second, which bounds the memory."""
TIME_BASE = Fraction(1, RATE)
LAYOUTS = {1: "mono", 2: "stereo"}

Payload = Callable[[Ref], bytes]
"""A frame's bytes; empty if the journal cannot be read there."""


def adts_header(frame_bytes: int, channels: int) -> bytes:
    """Seven bytes in front of an AAC-LC frame, 48 kHz (ISO/IEC 13818-7 §6.2)."""
    length = frame_bytes + 7
    return bytes(
        (
            0xFF,
            0xF1,
            1 << 6 | 3 << 2 | channels >> 2,
            (channels & 3) << 6 | length >> 11,
            length >> 3 & 0xFF,
            (length & 7) << 5 | 0x1F,
            0xFC,
        )
    )


def aac_frames(plan: AudioPlan, payload: Payload) -> list[bytes]:
    """The plan's AAC frames with ADTS headers, one for each of ``plan.pts``."""
    silent = _silent_frame(plan.channels)
    frames = [silent] * len(plan.pts)
    encoder = aac_encoder(plan.channels)
    # The encoder is given neither the middle of a silence nor those numbers: which frame a packet holds is looked up.
    fed: list[int] = []
    held: list[int] = []
    zero = bytes(BLOCK * SAMPLE * plan.channels)
    quiet = 0

    batch = bytearray()

    def encode() -> None:
        for at, data in _encode(encoder, len(fed) - len(batch) // len(zero), bytes(batch), plan.channels):
            if at >= 0 and 0 <= fed[at] - PRE_BLOCKS < len(frames):
                frames[fed[at] - PRE_BLOCKS] = data
        batch.clear()

    def feed(number: int, block: bytes) -> None:
        nonlocal batch
        batch += block
        fed.append(number)
        if len(batch) == BATCH_BLOCKS * len(zero):
            encode()

    begin = plan.origin + (plan.first - PRE_BLOCKS) * BLOCK
    for number, block in enumerate(_blocks(plan, payload, begin, len(plan.pts) + PRE_BLOCKS + POST_BLOCKS)):
        quiet = quiet + 1 if block == zero else 0
        if quiet > EDGE_BLOCKS:
            held.append(number)
            continue
        for edge in held[-EDGE_BLOCKS:]:
            feed(edge, zero)
        held.clear()
        feed(number, block)
    if batch:
        encode()
    return frames


def aac_encoder(channels: int) -> AudioCodecContext:
    """AAC-LC as we write it: 48 kHz, float planes in."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate = RATE
    encoder.layout = LAYOUTS[channels]
    encoder.format = "fltp"
    encoder.bit_rate = BIT_RATE
    encoder.thread_count = 1
    encoder.options = {"aac_coder": "fast"}
    return encoder


def _encode(encoder: AudioCodecContext, number: int, blocks: bytes, channels: int) -> Iterator[tuple[int, bytes]]:
    """Packets that come out when blocks from that number on go in: the number of the block that each holds, and its bytes with header."""
    frame = AudioFrame("fltp", LAYOUTS[channels], len(blocks) // (SAMPLE * channels))
    frame.sample_rate = RATE
    frame.time_base = TIME_BASE
    frame.pts = number * BLOCK
    samples = memoryview(blocks).cast("f")
    for channel in range(channels):
        frame.planes[channel].update(samples[channel::channels].tobytes())
    for packet in encoder.encode(frame):
        # The encoder is one frame behind: the packet that it gives for a frame holds the frame before and says so in its PTS.
        assert packet.pts is not None
        yield packet.pts // BLOCK, adts_header(packet.size, channels) + bytes(packet)


@cache
def _silent_frame(channels: int) -> bytes:
    """What the encoder makes of lasting silence: always the same."""
    encoder = aac_encoder(channels)
    zero = bytes(BLOCK * SAMPLE * channels)
    return [data for number in range(8) for _, data in _encode(encoder, number, zero, channels)][-1]


def _blocks(plan: AudioPlan, payload: Payload, begin: int, count: int) -> Iterator[bytes]:
    """``count`` blocks of interleaved float sound from sample time ``begin`` on, with silence where there is none."""
    sample = SAMPLE * plan.channels
    size = BLOCK * sample
    buffer = bytearray()
    at = plan.packets[0].time if plan.packets else begin
    buffer += bytes(max(0, at - begin) * sample)
    skip = max(0, begin - at) * sample
    for sound in _decoded(plan, payload):
        cut = min(skip, len(sound))
        skip -= cut
        buffer += sound[cut:] if cut else sound
        while len(buffer) >= size:
            if count == 0:
                return
            yield bytes(buffer[:size])
            del buffer[:size]
            count -= 1
    buffer += bytes(max(0, count * size - len(buffer)))
    for index in range(count):
        yield bytes(buffer[index * size : (index + 1) * size])


def silences(packets: tuple[Ref, ...]) -> list[bool]:
    """Which packets need not be heard: those too small to hold a sound, and the background noise that DTX sends now and then.

    Such a refresh is a single packet between a pause and the packet that announces the next pause. It would be heard as a pulse.
    """
    silent = [p.codec == "opus" and p.size <= SILENT_BYTES for p in packets]
    for index in range(1, len(packets) - 1):
        before, packet, after = packets[index - 1 : index + 2]
        paused = before.size <= DTX_BYTES and before.time + before.samples < packet.time
        silent[index] = silent[index] or (packet.codec == "opus" and paused and after.size <= DTX_BYTES)
    return silent


def _decoded(plan: AudioPlan, payload: Payload) -> Iterator[bytes]:
    """The packets' sound without a hole from the first packet on: lost ones are concealed, long holes silent."""
    channels = plan.channels
    decoders: dict[str, Decoder] = {}
    silent = silences(plan.packets)
    expected = plan.packets[0].time if plan.packets else 0
    muted = False
    run: list[tuple[bytes, int]] = []
    decoder: Decoder | None = None
    for index, ref in enumerate(plan.packets):
        hole = ref.time - expected
        expected = ref.time + ref.samples
        other = decoders.get(ref.codec)
        if other is None:
            other = decoders[ref.codec] = OpusDecoder(channels) if ref.codec == "opus" else PcmDecoder(ref.codec, channels)
        plain = hole <= 0 and not silent[index] and not muted and other is decoder
        if run and (not plain or len(run) == RUN):
            assert decoder is not None
            yield decoder.decode(run)
            run = []
        decoder = other
        if plain:
            run.append((payload(ref), ref.samples))
            continue
        if hole > 0:
            if muted:
                yield bytes(hole * SAMPLE * channels)
            else:
                yield _concealed(decoder, hole, channels)
                muted = hole >= CONCEALED + FADE_OUT
        if silent[index] and muted:
            if not all(silent[index : index + CONVERGING + 1]):
                decoder.decode([(payload(ref), ref.samples)])
            yield bytes(ref.samples * SAMPLE * channels)
            continue
        sound = decoder.decode([(payload(ref), ref.samples)])
        if muted:
            sound = _faded(sound, 0, FADE_IN, channels, rising=True)
        muted = silent[index]
        yield _faded(sound, 0, min(FADE_OUT, ref.samples), channels) if muted else sound
    if run:
        assert decoder is not None
        yield decoder.decode(run)


def _concealed(decoder: Decoder, samples: int, channels: int) -> bytes:
    made = min(samples, CONCEALED + FADE_OUT)
    sound = decoder.conceal(made)
    if samples > CONCEALED:
        sound = _faded(sound, CONCEALED, CONCEALED + FADE_OUT, channels)
    return sound + bytes((samples - made) * SAMPLE * channels)


def _faded(sound: bytes, begin: int, end: int, channels: int, rising: bool = False) -> bytes:
    """The sound with a linear fade between two samples."""
    samples = array("f", sound)
    length = end - begin
    for at in range(begin * channels, min(end * channels, len(samples))):
        step = at // channels - begin
        samples[at] = samples[at] * (step if rising else length - step) / length
    return samples.tobytes()
