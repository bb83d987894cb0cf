"""What a generation's files are and which of them the store has: pure, fed by the lines of ``manifest`` and ``confirmed``."""

from dataclasses import dataclass, field
from typing import Any

from rokuga.storage.spool import Segment


@dataclass(slots=True)
class Playlist:
    """One playlist: its segments in order, how many from the first on the store has, and which text of it is there."""

    name: str
    segments: list[Segment] = field(default_factory=list)
    confirmed: int = 0
    """segments from the first on, without a hole, that the store has: what the playlist may list"""
    stored: int = 0
    """how many segments the text in the store lists"""
    closed: bool = False
    """the text in the store has its end mark"""


class Ledger:
    """Knows what is to be put. Feeding it a line twice changes nothing; lines of ``confirmed`` may come before the manifest's."""

    def __init__(self) -> None:
        self.playlists: dict[str, Playlist] = {}
        self.finished = False
        self.bytes_spooled = 0
        self.bytes_confirmed = 0
        self._sizes: dict[str, int] = {}
        self._confirmed: set[str] = set()
        self._stored: dict[str, tuple[int, bool]] = {}

    @property
    def drained(self) -> bool:
        """All files exist, and the store has each, every playlist closed."""
        return self.finished and all(p.closed for p in self.playlists.values())

    def exists(self, segment: Segment) -> bool:
        """The manifest has this segment. False if that was known, or if it is not its playlist's next."""
        playlist = self.playlists.get(segment.playlist)
        if segment.name in self._sizes or segment.index != (len(playlist.segments) if playlist else 0):
            return False
        if playlist is None:
            playlist = self.playlists[segment.playlist] = Playlist(segment.playlist)
            playlist.stored, playlist.closed = self._stored.pop(segment.playlist, (0, False))
        playlist.segments.append(segment)
        self._sizes[segment.name] = segment.size
        self.bytes_spooled += segment.size
        if segment.name in self._confirmed:
            self.bytes_confirmed += segment.size
            self._advance(playlist)
        return True

    def has(self, segment: Segment) -> bool:
        """Whether the store has it."""
        return segment.name in self._confirmed

    def confirm(self, segment: Segment) -> None:
        """The store has this segment of the manifest."""
        if segment.name not in self._confirmed:
            self._confirmed.add(segment.name)
            self.bytes_confirmed += segment.size
            self._advance(self.playlists[segment.playlist])

    def store(self, name: str, count: int, closed: bool) -> None:
        """The store has that playlist with ``count`` segments listed."""
        playlist = self.playlists.get(name)
        if playlist is None:
            self._stored[name] = (count, closed)
        else:
            playlist.stored, playlist.closed = count, closed

    def due(self, playlist: Playlist) -> tuple[int, bool] | None:
        """The (count, closed) of the text that the store should have next, None if there is no newer one than it has."""
        closed = self.finished and playlist.confirmed == len(playlist.segments)
        if playlist.closed or (playlist.confirmed <= playlist.stored and not closed):
            return None
        return playlist.confirmed, closed

    def load(self, line: dict[str, Any]) -> None:
        """Take in a line of ``confirmed``, read before the manifest."""
        if "segment" in line:
            self._confirmed.add(line["segment"])
        elif "playlist" in line:
            self.store(line["playlist"], line["count"], line["closed"])

    def _advance(self, playlist: Playlist) -> None:
        while playlist.confirmed < len(playlist.segments) and playlist.segments[playlist.confirmed].name in self._confirmed:
            playlist.confirmed += 1
