"""RGB to YUV: the one place that knows the matrix. BT.601 in limited range (Y 16 to 235), which is what browsers' cameras send.

Whole numbers throughout (16 bits after the point): the same bytes on any machine.
"""

import numpy as np
import numpy.typing as npt

from rokuga.render.mix.planes import Planes

_BITS = 16
_HALF = 1 << (_BITS - 1)
# ITU-R BT.601-7, section 2.5: luma's share of red, green and blue is 0.299, 0.587, 0.114; 219 and 224 steps for 255.
_Y = np.array((16829, 33039, 6416), np.int64)
_U = np.array((-9714, -19070, 28784), np.int64)
_V = np.array((28784, -24103, -4681), np.int64)
_BLACK, _GREY = 16, 128

Rgb = tuple[int, int, int]


def yuv(colour: Rgb) -> tuple[int, int, int]:
    """Y, U and V of a colour whose parts go from 0 to 255."""
    planes = planes_of(np.full((2, 2, 4), (*colour, 255), np.uint8))
    return int(planes.y[0, 0]), int(planes.u[0, 0]), int(planes.v[0, 0])


def planes_of(rgba: npt.NDArray[np.uint8]) -> Planes:
    """Planes of a picture of shape (height, width, 4), even sizes, alpha not multiplied into the colours.

    Chroma is the mean of four pixels, each as far as it is visible: what is behind transparency has no say.
    """
    rgb = rgba[..., :3].astype(np.int64)
    alpha = rgba[..., 3].astype(np.int64)
    weights = _quads(alpha)
    seen = np.maximum(weights, 1)[..., None]
    mean = np.stack([_quads(rgb[..., part] * alpha) for part in range(3)], axis=-1)
    mean = (mean + seen // 2) // seen
    return Planes(
        ((rgb @ _Y + _HALF >> _BITS) + _BLACK).astype(np.uint8),
        ((mean @ _U + _HALF >> _BITS) + _GREY).astype(np.uint8),
        ((mean @ _V + _HALF >> _BITS) + _GREY).astype(np.uint8),
        rgba[..., 3].copy(),
    )


def _quads(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums of two by two."""
    height, width = values.shape
    return np.asarray(values.reshape(height // 2, 2, width // 2, 2).sum(axis=(1, 3)))
