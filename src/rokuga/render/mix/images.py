"""Background and placeholder images and those of watermarks: files that were fetched before, as planes."""

from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import structlog
from PIL import Image

from rokuga.errors import ImageError
from rokuga.render.mix.colour import planes_of
from rokuga.render.mix.fit import fit
from rokuga.render.mix.layout import Rect
from rokuga.render.mix.planes import Planes
from rokuga.still import decoded

KEPT = 32
"""Images laid out for a size; one for the background and one for each place and a change of layout."""


class ImageFolder:
    """The images of a recording, by file name. What is missing or damaged is logged once and then known not to be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bad: set[str] = set()
        self._kept: OrderedDict[tuple[str, int, int, int], tuple[Rect, Planes]] = OrderedDict()
        self._log = structlog.get_logger(__name__)

    def still(self, name: str) -> Image.Image | None:
        """The image, upright, in mode RGBA."""
        if name in self._bad:
            return None
        try:
            return decoded((self._folder / name).read_bytes()).image
        except (OSError, ImageError) as error:
            self._bad.add(name)
            self._log.warning("image left out", image=name, error=str(error))
            return None

    def image(self, name: str, rect: Rect, render_mode: int) -> tuple[Rect, Planes] | None:
        """The image in that place by its RenderMode: what of ``rect`` it covers, and its pixels there. None if it cannot be shown."""
        key = (name, rect.width, rect.height, render_mode)
        if key not in self._kept:
            image = self.still(name) if rect.width and rect.height else None
            if image is None:
                return None
            self._kept[key] = _laid_out(image, rect.width, rect.height, render_mode)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        covered, planes = self._kept[key]
        return Rect(rect.x + covered.x, rect.y + covered.y, covered.width, covered.height), planes


def _laid_out(image: Image.Image, width: int, height: int, render_mode: int) -> tuple[Rect, Planes]:
    place = fit(image.width, image.height, Rect(0, 0, width, height), render_mode)
    seen = place.rect
    across, down = Fraction(image.width, place.width), Fraction(image.height, place.height)
    box = (place.left * across, place.top * down, (place.left + seen.width) * across, (place.top + seen.height) * down)
    left, top, right, bottom = map(float, box)
    return seen, planes_of(np.asarray(image.resize((seen.width, seen.height), Image.Resampling.LANCZOS, (left, top, right, bottom))))
