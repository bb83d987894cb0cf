"""Which simulcast layer of a camera is asked for: the lowest that fills the camera's place in a mixed picture. Pure."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from rokuga.control.model import Params
from rokuga.render import h264
from rokuga.render.mix.fit import fit
from rokuga.render.mix.layout import Cell, Shown, arrange
from rokuga.render.mix.settings import Look, Output
from rokuga.room.protocol import HIGHEST, MediaId, Stream

MOST_ENLARGED = Fraction(11, 10)
"""A picture that is enlarged by a tenth looks no different."""
PATIENCE_NS = 1_200_000_000
TRIES = 3
MIXED = 2
"""RecordMode"""
Key = tuple[str, MediaId]
Size = tuple[int, int]


def places(params: Params, streams: Sequence[Stream]) -> Mapping[Key, Sequence[Cell]] | None:
    """Where each of the recorded ``streams`` (in room-entry order) is seen in a mixed picture, possibly nowhere.

    None: the streams are recorded one by one, so there is no size that is enough.
    """
    if params.record_mode != MIXED:
        return None
    out = Output.of(params.transcode)
    shown = [Shown(stream.user_id, stream.media_id, stream.video is not None) for stream in streams]
    found: dict[Key, list[Cell]] = {(stream.user_id, stream.media_id): [] for stream in streams}
    for cell in arrange(out.width, out.height, shown, Look.of(params.layout).layout):
        if cell.shown is not None:
            found[cell.shown.user_id, cell.shown.media_id].append(cell)
    return found


def pictures_a_second(params: Params) -> int:
    """How many are shown of any stream in a mixed picture; 0 where streams are recorded one by one."""
    return Output.of(params.transcode).fps if params.record_mode == MIXED else 0


def picture_size(codec: str, keyframe: bytes) -> Size | None:
    """Width and height that a keyframe names, of H.264 (its SPS) and VP8 (RFC 6386 §9.1); None for what does not say, or not so."""
    if codec == "h264":
        try:
            sets = h264.leading(keyframe).parameter_sets
            return next((h264.picture_size(unit) for unit in sets if unit[0] & 0x1F == h264.SPS), None)
        except h264.BitstreamError:
            return None
    if codec == "vp8" and keyframe[3:6] == b"\x9d\x01\x2a" and len(keyframe) >= 10:
        return int.from_bytes(keyframe[6:8], "little") & 0x3FFF, int.from_bytes(keyframe[8:10], "little") & 0x3FFF
    return None


class Layers:
    """The layers of one camera: how large their pictures are, as far as they have been seen, and which of them is enough.

    A layer that has not been seen is taken for half, or twice, the size of its neighbour, as browsers make them. Once seen, its
    proportion to the others is known for good: a camera that adapts its resolution changes all of its layers alike.
    """

    def __init__(self) -> None:
        self.wanted = HIGHEST
        """the lowest layer that fills each of the places; HIGHEST while no size is known, or where every pixel counts"""
        self._cells: Sequence[Cell] | None = None
        self._sizes: dict[int, Size] = {}
        self._tries = TRIES
        """keyframes asked for since ``wanted`` changed"""
        self._since_ns = 0

    def place(self, cells: Sequence[Cell] | None) -> None:
        """Where the camera is seen, possibly nowhere; None: it is recorded as it is."""
        self._cells = cells
        self._choose()

    def saw(self, layer: int, size: Size) -> None:
        """A keyframe of ``layer`` has come; ``size`` as it is seen, turned upright. Sizes of 0 are no sizes."""
        if 0 in size:
            return
        before = self._sizes.get(layer)
        if before is not None and before != size:
            part = Fraction(max(size), max(before))
            self._sizes = {other: (max(1, round(w * part)), max(1, round(h * part))) for other, (w, h) in self._sizes.items()}
        self._sizes[layer] = size
        self._choose()

    def overdue(self, layer: int | None, now_ns: int) -> bool:
        """Whether to ask for a keyframe once more: ``layer``, which comes, is still not the one that is wanted since a while.

        The server asks for one when it is told of a layer, but not if it has just done so. A camera may not send the layer at all.
        """
        if layer == self.wanted or self._tries >= TRIES:
            return False
        if not self._since_ns:
            self._since_ns = now_ns
        if now_ns - self._since_ns < (self._tries + 1) * PATIENCE_NS:
            return False
        self._tries += 1
        return True

    def _choose(self) -> None:
        cells = self._cells
        wanted = HIGHEST
        if cells is not None and self._sizes:
            wanted = next((layer for layer in range(HIGHEST) if all(_fills(self._size(layer), cell) for cell in cells)), HIGHEST)
        if wanted != self.wanted:
            self.wanted, self._tries, self._since_ns = wanted, 0, 0

    def _size(self, layer: int) -> Size:
        if layer in self._sizes:
            return self._sizes[layer]
        near = min(self._sizes, key=lambda seen: abs(seen - layer))
        width, height = self._sizes[near]
        part = Fraction(2) ** (layer - near)
        return max(1, int(width * part)), max(1, int(height * part))


def _fills(size: Size, cell: Cell) -> bool:
    width, height = size
    place = fit(width, height, cell.rect, cell.render_mode)
    return place.width <= width * MOST_ENLARGED and place.height <= height * MOST_ENLARGED
