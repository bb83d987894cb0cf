"""Carrying out a mix's plan: its pictures and its sound as access units."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rokuga.render.mix.images import ImageFolder
from rokuga.render.mix.plan import MixPlan
from rokuga.render.mix.raster import MarkPainter
from rokuga.render.mix.sound import mixed_frames
from rokuga.render.mix.video import Unit, VideoMixer
from rokuga.render.sound import Payload


class MixMaker:
    """Keeps between segments what saves work and cannot change a byte. ``images``: folder of the images that were fetched."""

    def __init__(self, payload: Payload, images: Path) -> None:
        self._payload = payload
        self._images = ImageFolder(images)
        self._video = VideoMixer(payload, self._images)
        self._painter: tuple[tuple[int, int], MarkPainter] | None = None

    def pictures(self, plan: MixPlan) -> Iterator[Unit]:
        """H.264 access units at a constant rate; none without video."""
        if plan.video is None:
            return
        size = plan.video.width, plan.video.height
        if self._painter is None or self._painter[0] != size:
            self._painter = size, MarkPainter(*size, self._images.still)
        painter = self._painter[1]
        scenes = tuple(replace(s, marks=painter.overlays(marks)) for s, marks in zip(plan.video.scenes, plan.marks, strict=True))
        yield from self._video.segment(replace(plan.video, scenes=scenes))

    def sound(self, plan: MixPlan) -> list[bytes]:
        """AAC frames with ADTS headers; none without sound."""
        return mixed_frames(plan.audio, self._payload) if plan.audio else []
