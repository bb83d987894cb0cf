"""How far render is behind the room: said in the log, and left where the node reads it."""

from pathlib import Path
from typing import Any

from rokuga import clock

SECOND = 1_000_000_000
BEHIND_NS = 10 * SECOND
"""More than this is worth a warning, one each WARN_NS; it is over at half of it."""
WARN_NS = 60 * SECOND
WRITE_NS = SECOND
DIGITS = 20


class Lag:
    """Tell it of each record that has been dealt with: ``path`` then holds the time of the newest one (monotonic ns, decimal)."""

    def __init__(self, path: Path, log: Any) -> None:
        self._path = path
        self._log = log
        self._written_ns = 0
        self._warned_ns = 0

    def at(self, appended_ns: int) -> None:
        """A record is done with. What cannot be written is left: it is a figure, and a disk that is full has been told of elsewhere."""
        now = clock.monotonic_ns()
        if now - self._written_ns < WRITE_NS:
            return
        self._written_ns = now
        try:
            self._path.write_text(f"{appended_ns:0{DIGITS}d}")
        except OSError as error:
            self._log.debug("lag cannot be written", error=str(error))
        behind = now - appended_ns
        if behind > BEHIND_NS and now - self._warned_ns > WARN_NS:
            self._warned_ns = now
            self._log.warning("render is behind", seconds=round(behind / SECOND, 1))
        elif self._warned_ns and behind < BEHIND_NS // 2:
            self._warned_ns = 0
            self._log.info("render has caught up")


def lag_seconds(path: Path, now_ns: int) -> float:
    """How far the render that writes ``path`` is behind; 0 if it has not begun. Raises OSError."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return 0.0
    # A file that is just being written is short for a moment.
    return max(0.0, (now_ns - int(text)) / SECOND) if len(text) == DIGITS and text.isdigit() else 0.0
