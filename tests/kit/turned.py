"""How a decoded picture is to be turned, as FFmpeg says and as TS 26.114 says; x goes right, y down."""

import struct
from typing import cast

from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

Matrix = tuple[int, int, int, int]
"""(a, b, c, d): what is at (x, y), seen from the middle, is shown at (ax + cy, bx + dy)."""


def matrix(frame: VideoFrame) -> Matrix:
    """FFmpeg's display matrix of a frame; of one that has none, that of an upright picture."""
    container = cast(SideDataContainer, frame.side_data)  # its stub says otherwise
    data = next((bytes(s) for s in container if s.type == Type.DISPLAYMATRIX), None)
    a, b, _, c, d, *_ = struct.unpack("<9i", data) if data else (65536, 0, 0, 0, 65536)
    assert {abs(v) for v in (a, b, c, d)} == {0, 65536}
    return a >> 16, b >> 16, c >> 16, d >> 16


def turned(orientation: int) -> Matrix:
    """Mirror left to right if bit 2 is set, (x, y) → (-x, y); then the quarter turns of bits 1 and 0 clockwise, (x, y) → (-y, x)."""
    columns = [(-1 if orientation & 4 else 1, 0), (0, 1)]
    for _ in range(orientation & 3):
        columns = [(-y, x) for x, y in columns]
    return *columns[0], *columns[1]
