"""The packets of an AudioPlan to AAC frames: fresh decoders and a fresh encoder each time, so that the bytes depend on the plan alone.

Silence costs next to nothing: packets too small to hold a sound are not decoded, and of a long silence only both ends are encoded.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import repeat
from operator import mul, truediv

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from rokuga.render.audio import BLOCK, DTX_BYTES, POST_BLOCKS, PRE_BLOCKS, RATE, SILENT_BYTES
from rokuga.render.decode import SAMPLE, Decoder, OpusDecoder, PcmDecoder
from rokuga.render.plan import AudioPlan, Ref

BIT_RATE = 64_000
CONCEALED = 2_880
"""What libopus makes up for lost packets sounds right for about 60 ms; it is then faded out."""
FADE_OUT, FADE_IN = 960, 240
"""20 ms into a silence, 5 ms out of one: no click"""
CONVERGING = 4
"""Packets that the decoder is given before those that are heard after a silence (RFC 7845 §4.6: 80 ms)."""
EDGE_BLOCKS = 4
"""Silent frames that are encoded at both ends of a silence: the encoder has then forgotten what was before."""
BATCH_BLOCKS = 32
"""Given to the encoder at once: each call costs."""
RUN = 48
"""Packets that are decoded at once: a second, which bounds the memory."""
LAYOUTS = {1: "mono", 2: "stereo"}
FREQUENCY_INDEX = {48_000: 3, 44_100: 4, 16_000: 8}
"""ISO/IEC 14496-3 §1.6.3.4"""

Payload = Callable[[Ref], bytes]
"""A frame's bytes; empty if the journal cannot be read there."""


@cache
def adts_header(frame_bytes: int, channels: int, rate: int) -> bytes:
    """Seven bytes in front of an AAC-LC frame (ISO/IEC 13818-7 §6.2)."""
    length = frame_bytes + 7
    return bytes(
        (
            0xFF,
            0xF1,
            1 << 6 | FREQUENCY_INDEX[rate] << 2 | channels >> 2,
            (channels & 3) << 6 | length >> 11,
            length >> 3 & 0xFF,
            (length & 7) << 5 | 0x1F,
            0xFC,
        )
    )


def aac_frames(plan: AudioPlan, payload: Payload) -> list[bytes]:
    """The plan's AAC frames with ADTS headers, one for each of ``plan.pts``."""
    begin = plan.origin + (plan.first - PRE_BLOCKS) * BLOCK
    blocks = _blocks(plan, payload, begin, len(plan.pts) + PRE_BLOCKS + POST_BLOCKS)
    return encoded(blocks, len(plan.pts), plan.channels)


def encoded(
    blocks: Iterable[bytes], count: int, channels: int, rate: int = RATE, bit_rate: int = BIT_RATE, before: int = PRE_BLOCKS
) -> list[bytes]:
    """``count`` AAC frames with ADTS headers, of blocks of 1024 samples (interleaved float).

    The encoder alone needs the first ``before`` blocks and the `POST_BLOCKS` behind those of the frames.
    """
    silent = _silent_frame(channels, rate, bit_rate)
    frames = [silent] * count
    encoder = aac_encoder(channels, rate, bit_rate)
    # The encoder is given neither the middle of a silence nor those numbers: which frame a packet holds is looked up.
    fed: list[int] = []
    held: list[int] = []
    zero = bytes(BLOCK * SAMPLE * channels)
    quiet = 0

    batch = bytearray()

    def encode() -> None:
        for at, data in _encode(encoder, len(fed) - len(batch) // len(zero), bytes(batch), channels):
            if at >= 0 and 0 <= fed[at] - before < count:
                frames[fed[at] - before] = data
        batch.clear()

    def feed(number: int, block: bytes) -> None:
        nonlocal batch
        batch += block
        fed.append(number)
        if len(batch) == BATCH_BLOCKS * len(zero):
            encode()

    for number, block in enumerate(blocks):
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


def aac_encoder(channels: int, rate: int = RATE, bit_rate: int = BIT_RATE) -> AudioCodecContext:
    """AAC-LC as we write it: float planes in."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate = rate
    encoder.layout = LAYOUTS[channels]
    encoder.format = "fltp"
    encoder.bit_rate = bit_rate
    encoder.thread_count = 1
    # FFmpeg's noise shaping in time takes a sixteenth of the coder's time, and does nothing for voices, noise and clicks alike.
    encoder.options = {"aac_coder": "fast", "aac_tns": "0"}
    return encoder


def _encode(encoder: AudioCodecContext, number: int, blocks: bytes, channels: int) -> Iterator[tuple[int, bytes]]:
    """Packets that come out when blocks from that number on go in: the number of the block that each holds, and its bytes with header."""
    # FFmpeg takes the channels apart, at a fraction of what Python would take.
    frame = AudioFrame("flt", LAYOUTS[channels], len(blocks) // (SAMPLE * channels))
    frame.sample_rate = encoder.sample_rate
    frame.time_base = Fraction(1, encoder.sample_rate)
    frame.pts = number * BLOCK
    frame.planes[0].update(blocks)
    for packet in encoder.encode(frame):
        # The encoder is one frame behind: the packet that it gives for a frame holds the frame before and says so in its PTS.
        assert packet.pts is not None
        yield packet.pts // BLOCK, adts_header(packet.size, channels, encoder.sample_rate) + bytes(packet)


@cache
def _silent_frame(channels: int, rate: int, bit_rate: int) -> bytes:
    """What the encoder makes of lasting silence: always the same."""
    encoder = aac_encoder(channels, rate, bit_rate)
    zero = bytes(BLOCK * SAMPLE * channels)
    return [data for number in range(8) for _, data in _encode(encoder, number, zero, channels)][-1]


def _blocks(plan: AudioPlan, payload: Payload, begin: int, count: int) -> Iterator[bytes]:
    """``count`` blocks of interleaved float sound from sample time ``begin`` on, with silence where there is none."""
    sample = SAMPLE * plan.channels
    size = BLOCK * sample
    rest = b""
    at = begin
    for time, sound in decoded(plan.packets, [p.time for p in plan.packets], payload, plan.channels):
        heard = sound[max(0, at - time) * sample :] if time < at else sound
        buffer = b"".join((rest, bytes(max(0, time - at) * sample), heard))
        at = max(at, time + len(sound) // sample)
        whole = min(len(buffer) // size, count)
        for index in range(whole):
            yield buffer[index * size : (index + 1) * size]
        count -= whole
        if not count:
            return
        rest = buffer[whole * size :]
    buffer = rest + bytes(max(0, count * size - len(rest)))
    for index in range(count):
        yield buffer[index * size : (index + 1) * size]


def silences(packets: Sequence[Ref], times: Sequence[int]) -> list[bool]:
    """Which packets, that begin at those times, need not be heard: those too small to hold a sound, and the background noise that DTX
    sends now and then.

    Such a refresh is a single packet between a pause and the packet that announces the next pause. It would be heard as a pulse.
    """
    silent = [p.codec == "opus" and p.size <= SILENT_BYTES for p in packets]
    for index, before in enumerate(packets[:-2]):
        if before.size <= DTX_BYTES:
            paused = times[index] + before.samples < times[index + 1]
            refresh = packets[index + 1].codec == "opus" and paused and packets[index + 2].size <= DTX_BYTES
            silent[index + 1] = silent[index + 1] or refresh
    return silent


def decoded(
    packets: Sequence[Ref], times: Sequence[int], payload: Payload, channels: int, begins: bool = False, ends: bool = False
) -> Iterator[tuple[int, bytes]]:
    """The sound of a track's packets that begin at those times (48 kHz, rising, no overlap): pieces with their times, in order.

    Between the pieces is silence. Lost packets are concealed, long holes fade. So that nothing clicks when a track is added to others, the
    first packet fades in if it ``begins`` there, and what comes after the last one is taken as a hole if it ``ends``.
    """
    decoders: dict[str, Decoder] = {}
    silent = silences(packets, times)
    expected = times[0] if times else 0
    muted = begins
    run: list[tuple[bytes, int]] = []
    begun = expected
    decoder: Decoder | None = None
    for index, (ref, time) in enumerate(zip(packets, times, strict=True)):
        hole = time - expected
        other = decoders.get(ref.codec)
        if other is None:
            other = decoders[ref.codec] = OpusDecoder(channels) if ref.codec == "opus" else PcmDecoder(ref.codec, channels)
        plain = hole <= 0 and not silent[index] and not muted and other is decoder
        if run and decoder and (not plain or len(run) == RUN):
            yield begun, decoder.decode(run)
            run = []
        decoder = other
        if plain:
            if not run:
                begun = time
            run.append((payload(ref), ref.samples))
            expected = time + ref.samples
            continue
        if hole > 0 and not muted:
            yield expected, _concealed(decoder, hole, channels)
            muted = hole >= CONCEALED + FADE_OUT
        expected = time + ref.samples
        if silent[index] and muted:
            if not all(silent[index : index + CONVERGING + 1]):
                decoder.decode([(payload(ref), ref.samples)])
            continue
        sound = decoder.decode([(payload(ref), ref.samples)])
        if muted:
            sound = _faded(sound, 0, FADE_IN, channels, rising=True)
        muted = silent[index]
        yield time, _faded(sound, 0, min(FADE_OUT, ref.samples), channels) if muted else sound
    if run and decoder:
        yield begun, decoder.decode(run)
    if ends and decoder and not muted:
        yield expected, _concealed(decoder, CONCEALED + FADE_OUT, channels)


def _concealed(decoder: Decoder, samples: int, channels: int) -> bytes:
    """The beginning of a hole, as far as it sounds."""
    sound = decoder.conceal(min(samples, CONCEALED + FADE_OUT))
    return _faded(sound, CONCEALED, CONCEALED + FADE_OUT, channels) if samples > CONCEALED else sound


def _faded(sound: bytes, begin: int, end: int, channels: int, rising: bool = False) -> bytes:
    """The sound with a linear fade between two samples."""
    samples = array("f", sound)
    part = slice(begin * channels, end * channels)
    gains = _ramp(end - begin, channels, rising)
    samples[part] = array("f", map(truediv, map(mul, samples[part], gains), repeat(end - begin)))
    return samples.tobytes()


@cache
def _ramp(length: int, channels: int, rising: bool) -> tuple[int, ...]:
    """From 0 up to ``length`` or down to 0, for each sample of interleaved channels."""
    return tuple(step if rising else length - step for step in range(length) for _ in range(channels))
