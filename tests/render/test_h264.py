import pytest

from rokuga.render.h264 import BitstreamError, leading, nal_units, parameter_set_id, picture_size, with_parameter_sets
from tests.render.material import h264


class Bits:
    """Writes a parameter set as ITU-T H.264 §7.3 lays it out."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, value: int, count: int) -> "Bits":
        self.text += format(value, f"0{count}b")
        return self

    def ue(self, *values: int) -> "Bits":
        for value in values:
            code = format(value + 1, "b")
            self.text += "0" * (len(code) - 1) + code
        return self

    def se(self, value: int) -> "Bits":
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def nal(self, head: int) -> bytes:
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        raw = int(text, 2).to_bytes(len(text) // 8, "big")
        out, zeros = bytearray(), 0
        for byte in raw:
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return bytes([head]) + bytes(out)


def sps(bits: Bits, width_mbs: int, map_units: int, frame_only: int, crop: tuple[int, int, int, int] | None) -> bytes:
    bits.ue(4).u(0, 1).ue(width_mbs - 1, map_units - 1).u(frame_only, 1)
    if not frame_only:
        bits.u(0, 1)
    bits.u(1, 1).u(int(crop is not None), 1)
    if crop:
        bits.ue(*crop)
    return bits.u(0, 1).nal(0x67)


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (64, 64), (1920, 1080), (322, 242)])
def test_size_of_what_x264_makes(size: tuple[int, int]) -> None:
    found = leading(h264(*size, 1)[0][0])
    assert found.first_slice == 5
    assert picture_size(found.parameter_sets[0]) == size
    assert [parameter_set_id(unit) for unit in found.parameter_sets] == [0, 0]


def test_baseline_with_picture_order_type_1() -> None:
    bits = Bits().u(66, 8).u(0, 16).ue(3, 0, 1).u(0, 1).se(-2).se(3).ue(2).se(-40).se(7)
    unit = sps(bits, 40, 30, 1, None)
    assert picture_size(unit) == (640, 480)
    assert parameter_set_id(unit) == 3


def test_interlaced_map_units_are_pairs_of_rows() -> None:
    assert picture_size(sps(Bits().u(77, 8).u(0, 16).ue(0, 0, 0, 0), 120, 34, 0, (0, 0, 0, 2))) == (1920, 1080)


def test_high_profile_with_scaling_lists_and_422() -> None:
    bits = Bits().u(122, 8).u(0, 16).ue(0, 2, 0, 0).u(0, 1).u(1, 1)
    for index in range(8):
        bits.u(int(index in (0, 6)), 1)
        if index == 0:
            bits.se(-8)  # ends the list at once: the default is used
        if index == 6:
            for _ in range(64):
                bits.se(1)
    bits.ue(0, 2)
    assert picture_size(sps(bits, 20, 15, 1, (1, 1, 4, 4))) == (316, 232)


@pytest.mark.parametrize("unit", [b"", b"\x68\xce", b"\x67\x42", b"\x67\x42\x00\x1f\x00\x00\x00\x00\x00\x00", h264(320, 180, 1)[1][0][5:]])
def test_damaged_parameter_sets_are_refused(unit: bytes) -> None:
    with pytest.raises(BitstreamError):
        picture_size(unit)


def test_nal_units_with_both_start_codes() -> None:
    assert list(nal_units(b"\x00\x00\x00\x01\x09\xf0\x00\x00\x01\x67\x01\x00\x00\x00\x01\x65\x80")) == [
        b"\x09\xf0",
        b"\x67\x01",
        b"\x65\x80",
    ]
    assert list(nal_units(b"")) == []


def test_parameter_sets_go_behind_the_delimiter_and_leave_the_rest_alone() -> None:
    start = b"\x00\x00\x00\x01"
    sets = [b"\x67\x01", b"\x68\x02"]
    both = start + sets[0] + start + sets[1]
    idr = start + b"\x65\x88" + start + b"\x65\x44"
    assert with_parameter_sets(idr, sets) == both + idr
    assert with_parameter_sets(start + b"\x09\x10" + idr, sets) == start + b"\x09\x10" + both + idr
    assert with_parameter_sets(start + b"\x09\x10" + idr[1:], sets) == start + b"\x09\x10" + both + idr[1:]
    assert with_parameter_sets(idr, []) == idr
