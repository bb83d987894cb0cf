"""Finds the one typeface that watermarks are drawn with: Noto Sans CJK, which has Latin, Chinese, Japanese and Korean.

Debian and Ubuntu have it in ``fonts-noto-cjk``. TRTC's names ``Tencent`` and ``SourceHanSans`` both lead here: the first is not free to
install, the second is this design under its other name.
"""

import re
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from rokuga.errors import FontError

FILE = "NotoSansCJK-Regular.ttc"
FOLDERS = (Path("/usr/local/share/fonts"), Path("/usr/share/fonts"))
"""Searched in this order, with all folders below (Filesystem Hierarchy Standard)."""
JAPANESE, CHINESE = "Noto Sans CJK JP", "Noto Sans CJK SC"
_FACES = 64
"""more than any collection has: where to stop looking"""
_KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]")


def face(text: str) -> str:
    """The face for a text: one code point may look different in Japanese and in Chinese, and only kana tell which is meant."""
    return JAPANESE if _KANA.search(text) else CHINESE


@lru_cache(maxsize=64)
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """The face ``name`` with an em of ``size`` pixels. Raises FontError."""
    path, number = _found(name)
    return _open(path, size, number)


def _found(name: str) -> tuple[Path, int]:
    """The collection and the number of the face within."""
    for path in (found for folder in FOLDERS for found in sorted(folder.rglob(FILE))):
        for number in range(_FACES):
            try:
                here = _open(path, 10, number)
            except OSError:
                break  # no more faces, or no font at all
            if here.getname()[0] == name:
                return path, number
    raise FontError(f"there is no {FILE} with {name} below {' or '.join(map(str, FOLDERS))}: install fonts-noto-cjk")


def _open(path: Path, size: int, number: int) -> ImageFont.FreeTypeFont:
    """Raises OSError. Not by ``ImageFont.truetype``, which would look for another file of that name."""
    # Plain layout: what a text looks like must not depend on whether the machine has libraqm.
    return ImageFont.FreeTypeFont(path, size, number, layout_engine=ImageFont.Layout.BASIC)
