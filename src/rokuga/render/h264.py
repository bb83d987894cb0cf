"""What render has to know of an H.264 byte stream (ITU-T H.264 Annex B, §7.3): parameter sets and picture size. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from rokuga.errors import RokugaError

SLICE, IDR, SEI, SPS, PPS, AUD, PREFIX = 1, 5, 6, 7, 8, 9, 14
START_CODE = b"\x00\x00\x00\x01"
DISPLAY_ORIENTATION = 47
"""payloadType of an SEI message"""
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class BitstreamError(RokugaError):
    """A parameter set ends too early or holds a value that the standard does not allow."""


def nal_units(data: bytes) -> Iterator[bytes]:
    """The NAL units of an Annex B byte stream, without start codes and trailing zero bytes."""
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        begin = at + 3
        at = data.find(b"\x00\x00\x01", begin)
        unit = data[begin:at] if at >= 0 else data[begin:]
        unit = unit.rstrip(b"\x00")
        if unit:
            yield unit


@dataclass(frozen=True, slots=True)
class Leading:
    """What stands in front of an access unit's first slice."""

    parameter_sets: tuple[bytes, ...]
    """SPS and PPS, in order, without start codes"""
    first_slice: int | None
    """NAL type of the first slice, None if the data holds none"""


def leading(data: bytes) -> Leading:
    """Look at an access unit up to its first slice; ``data`` may be cut off anywhere behind that slice's beginning."""
    sets: list[bytes] = []
    for unit in nal_units(data):
        kind = unit[0] & 0x1F
        if kind in (SPS, PPS):
            sets.append(unit)
        elif SLICE <= kind <= IDR:
            return Leading(tuple(sets), kind)
    return Leading(tuple(sets), None)


def with_parameter_sets(access_unit: bytes, sets: list[bytes]) -> bytes:
    """The access unit with parameter sets in front of its other NAL units (behind its delimiter); those bytes stay as they are."""
    if not sets:
        return access_unit
    inserted = b"".join(START_CODE + unit for unit in sets)
    at = 0
    if access_unit[4:5] and access_unit[:4] == START_CODE and access_unit[4] & 0x1F == AUD:
        at = access_unit.find(b"\x00\x00\x01", 5)
        if at < 0:
            return access_unit + inserted
        if access_unit[at - 1] == 0:
            at -= 1
    return access_unit[:at] + inserted + access_unit[at:]


def display_orientation(orientation: int) -> bytes:
    """The SEI NAL unit that asks for an orientation (coded as in the journal's Frame) of the picture that it stands in front of (§D.1.27).

    TS 26.114 turns clockwise, this message anticlockwise, in 65536ths of a turn; both mirror first. No orientation but 0 has two zero
    bytes in a row here, which would need emulation prevention.
    """
    flip, turns = orientation >> 2 & 1, -orientation & 3
    # cancel_flag 0, hor_flip, ver_flip 0, anticlockwise_rotation (16 bits), repetition_period 0 (the code "1": this picture only),
    # extension_flag 0, and the bit equal to one that fills up the byte.
    message = flip << 22 | turns << 14 << 5 | 1 << 4 | 1 << 2
    return bytes((SEI, DISPLAY_ORIENTATION, 3)) + message.to_bytes(3, "big") + b"\x80"


def with_orientation(access_unit: bytes, orientation: int) -> bytes:
    """The access unit with that message in front of its first slice (and behind other SEI messages); its other bytes stay as they are.

    Upright pictures need none: each message is about its own picture only. FFmpeg takes them all so, whatever they say.
    """
    if not orientation:
        return access_unit
    at = access_unit.find(b"\x00\x00\x01")
    while at >= 0 and at + 3 < len(access_unit):
        kind = access_unit[at + 3] & 0x1F
        if SLICE <= kind <= IDR or kind == PREFIX:
            at -= at > 0 and access_unit[at - 1] == 0
            return access_unit[:at] + START_CODE + display_orientation(orientation) + access_unit[at:]
        at = access_unit.find(b"\x00\x00\x01", at + 3)
    return access_unit


class _Bits:
    def __init__(self, unit: bytes) -> None:
        payload = unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")
        self._left = len(payload) * 8
        self._value = int.from_bytes(payload, "big")

    def take(self, count: int) -> int:
        if count > self._left:
            raise BitstreamError("parameter set ends too early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        """Unsigned Exp-Golomb (§9.1)."""
        zeros = 0
        while self.take(1) == 0:
            zeros += 1
            if zeros > 32:
                raise BitstreamError("Exp-Golomb code too long")
        return (1 << zeros) - 1 + self.take(zeros)

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def parameter_set_id(unit: bytes) -> int:
    """The id under which an SPS or PPS is stored. Raises BitstreamError."""
    bits = _Bits(unit)
    if unit[0] & 0x1F == SPS:
        bits.take(24)
    return bits.ue()


def picture_size(sps: bytes) -> tuple[int, int]:
    """Width and height in pixels of the pictures of an SPS, cropping applied (§7.3.2.1.1, §7.4.2.1.1). Raises BitstreamError."""
    if not sps or sps[0] & 0x1F != SPS:
        raise BitstreamError("not a sequence parameter set")
    bits = _Bits(sps)
    profile = bits.take(8)
    bits.take(16)
    bits.ue()
    chroma = 1
    separate = 0
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        if chroma == 3:
            separate = bits.take(1)
        bits.ue()
        bits.ue()
        bits.take(1)
        if bits.take(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.take(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue()):
            bits.se()
    bits.ue()
    bits.take(1)
    width = (bits.ue() + 1) * 16
    map_units = bits.ue() + 1
    frame_only = bits.take(1)
    height = map_units * 16 * (2 - frame_only)
    if not frame_only:
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        array = 0 if separate else chroma
        unit_x = 2 if array in (1, 2) else 1
        unit_y = (2 if array == 1 else 1) * (2 - frame_only)
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        width -= (left + right) * unit_x
        height -= (top + bottom) * unit_y
    if width <= 0 or height <= 0:
        raise BitstreamError("cropping leaves no picture")
    return width, height


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se() + 256) % 256
        last = following or last
