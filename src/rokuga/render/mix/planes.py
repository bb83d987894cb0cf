"""Pictures as numpy planes: what is painted on the canvas."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A YUV 4:2:0 picture of even width and height with transparency.

    ``y`` and ``a`` have shape (height, width), ``u`` and ``v`` half of it each way. ``a``: 0 invisible … 255 opaque.
    """

    y: Plane
    u: Plane
    v: Plane
    a: Plane
