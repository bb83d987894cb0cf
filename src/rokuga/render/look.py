"""Looking at a video track's frames: where a decoder can begin, what it needs there, and how large the pictures are."""

from collections.abc import Iterator
from typing import Any

from rokuga.journal.reader import Arrived
from rokuga.render import h264
from rokuga.render.line import Peek

PEEK_BYTES = 4096
SMALL_BYTES = 512
"""An access unit that is no IDR and has parameter sets is at most this large, or they are found with the next IDR."""
CODECS = ("h264", "vp8", "vp9", "av1")


class Look:
    """Remembers the parameter sets that it has seen. ``size`` is that of H.264 pictures; others tell it when they are decoded."""

    def __init__(self, peek: Peek, state: dict[str, Any]) -> None:
        self._peek = peek
        self._sets = {(int(k), int(i)): bytes.fromhex(d) for k, i, d in state.get("sets", [])}
        self.size: tuple[int, int] = tuple(state.get("size", (0, 0)))

    def save(self) -> dict[str, Any]:
        return {"sets": [[kind, number, unit.hex()] for (kind, number), unit in self._sets.items()], "size": list(self.size)}

    def at(self, item: Arrived, codec: str) -> tuple[bool, tuple[bytes, ...]]:
        """Whether a decoder can begin here, and the parameter sets that it then needs in front."""
        if codec != "h264":
            return item.keyframe, ()
        if not item.keyframe and item.size > SMALL_BYTES:
            return False, ()
        leading = h264.leading(self._peek(item.position, min(item.size, PEEK_BYTES)))
        if leading.first_slice is None and item.size > PEEK_BYTES:
            leading = h264.leading(self._peek(item.position, item.size))
        for unit in leading.parameter_sets:
            self._remember(unit)
        kinds = {unit[0] & 0x1F for unit in leading.parameter_sets}
        known = {kind for kind, _ in self._sets}
        idr = leading.first_slice == h264.IDR and {h264.SPS, h264.PPS} <= known
        if not idr or {h264.SPS, h264.PPS} <= kinds:
            return idr, ()
        return True, tuple(self._missing(leading.parameter_sets))

    def _missing(self, present: tuple[bytes, ...]) -> Iterator[bytes]:
        return (unit for _, unit in sorted(self._sets.items()) if unit not in present)

    def _remember(self, unit: bytes) -> None:
        try:
            key = (unit[0] & 0x1F, h264.parameter_set_id(unit))
            if key[0] == h264.SPS:
                self.size = h264.picture_size(unit)
        except h264.BitstreamError:
            return
        self._sets[key] = unit
