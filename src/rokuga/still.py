"""Still images from outside, PNG and JPEG: the one place that decodes them, with limits.

TRTC's are 5 MB and 2K (seed, BackgroundImageUrl); its watermarks' rectangles end at 2560, so that is how wide and how high 2K may be.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from PIL import ImageOps
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from rokuga.errors import ImageError

MOST_BYTES = 5 * 1024 * 1024
MOST_SIDE = 2560
MOST_SCANS = 32
"""A progressive JPEG of a camera or an editor has about ten. Each costs the time of a whole picture, and 5 MB can hold a million."""
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SCAN = b"\xff\xda"
_BAD = (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, struct.error, zlib.error)
"""what Pillow raises for damaged files"""


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """``image``: upright, mode RGBA. ``kind`` is also the suffix of a file's name."""

    kind: Literal["png", "jpg"]
    image: Image


def decoded(data: bytes) -> Still:
    """A whole file, whose kind is what its bytes say. Raises ImageError."""
    if len(data) > MOST_BYTES:
        raise ImageError(f"has {len(data)} bytes, more than {MOST_BYTES}")
    kind: Literal["png", "jpg"]
    if data.startswith(_PNG):
        kind = "png"
    elif data.startswith(_JPEG):
        kind = "jpg"
        if data.count(_SCAN) > MOST_SCANS:
            raise ImageError(f"has more than {MOST_SCANS} scans")
    else:
        raise ImageError("is neither PNG nor JPEG")
    try:
        # The header only; pixels are made when they are asked for.
        file = PngImageFile(io.BytesIO(data)) if kind == "png" else JpegImageFile(io.BytesIO(data))
        if max(file.size) > MOST_SIDE:
            raise ImageError(f"has {file.width} x {file.height} pixels, more than {MOST_SIDE} one way")
        return Still(kind, _rgba(ImageOps.exif_transpose(file)))
    except _BAD as error:
        raise ImageError(f"cannot be decoded: {error}") from None


def _rgba(image: Image) -> Image:
    if image.mode.startswith("I;16"):
        # 16 bits of grey would be cut off at 255, not scaled.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image.convert("RGBA")
