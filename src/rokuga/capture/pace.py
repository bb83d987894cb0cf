"""Which temporal layers of a simulcast camera are asked for: no more pictures a second than the mix shows. Pure."""

from collections import Counter

from rokuga.room.protocol import HIGHEST

LEAST = 1
"""Never the lowest alone. Above it each picture needs those below it that came last; upwards from the lowest the media server begins with
the next picture of the layer asked for, and what that needs may have been left out."""
WINDOW_NS = 2_000_000_000
"""Pictures are counted for so long."""
ENOUGH = 0.95
"""of the mix's pictures: a camera of 30 a second sends 29.7 and halves that"""
SCARCE = 0.85
"""Fewer than this, and the camera has become slower: everything is asked for and counted again."""


class Pace:
    """The temporal layers of one camera for a mix of ``fps`` pictures a second: which of them is asked for, and those below it."""

    def __init__(self, fps: int) -> None:
        self.wanted = HIGHEST
        self._fps = fps
        self._pictures: Counter[int] = Counter()
        self._since_ns = 0

    def saw(self, layer: int, arrival_ns: int) -> None:
        """A picture of a temporal layer has come (monotonic ns)."""
        if not self._since_ns:
            self._since_ns = arrival_ns
        elif arrival_ns - self._since_ns >= WINDOW_NS:
            self._choose((arrival_ns - self._since_ns) / 1e9)
            self._pictures.clear()
            self._since_ns = arrival_ns
        self._pictures[layer] += 1

    def _choose(self, seconds: float) -> None:
        if self.wanted < HIGHEST:
            if self._pictures.total() / seconds < self._fps * SCARCE:
                self.wanted = HIGHEST
            return
        pictures = 0
        for layer in range(HIGHEST):
            pictures += self._pictures[layer]
            if layer >= LEAST and pictures / seconds >= self._fps * ENOUGH:
                self.wanted = layer
                return
