"""What a generation's files are and which of them the store has: pure, fed by the lines of ``manifest`` and ``confirmed``.

It holds segments only until they are confirmed and taken into their playlist's text; of the rest, how many there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rokuga.storage.spool import Segment


@dataclass(slots=True)
class Playlist:
    """One playlist: how many segments it has, which of them the store has, and which text of it is there."""

    name: str
    known: int = 0
    """segments in the manifest"""
    confirmed: int = 0
    """of those, from the first on without a hole, that the store has: what the playlist may list"""
    waiting: dict[int, Segment] = field(default_factory=dict)
    """the known ones from ``confirmed`` on, by index"""
    there: set[int] = field(default_factory=set)
    """of those from ``confirmed`` on, known or not yet known, which the store has"""
    assured: int = 0
    """so many from the first on the store has, as a process before this one knew"""
    fresh: list[Segment] = field(default_factory=list)
    """the last ones before ``confirmed``, which nobody has taken into the text; none when that is closed"""
    stored: int = 0
    """how many segments the text in the store lists"""
    closed: bool = False
    """the text in the store has its end mark"""


class Ledger:
    """Knows what is to be put. Feeding it a line twice changes nothing; lines of ``confirmed`` come before the manifest's."""

    def __init__(self) -> None:
        self.playlists: dict[str, Playlist] = {}
        self.finished = False
        self.known = 0
        """segments of the manifest so far"""
        self.held = 0
        """segments that are not confirmed, or not taken into the text"""
        self.bytes_spooled = 0
        self.bytes_confirmed = 0
        self._loaded: dict[str, Playlist] = {}

    @property
    def drained(self) -> bool:
        """All files exist, and the store has each, every playlist closed."""
        return self.finished and all(p.closed for p in self.playlists.values())

    def exists(self, segment: Segment) -> bool:
        """The manifest has this segment. False if that was known, or if it is not its playlist's next."""
        playlist = self.playlists.get(segment.playlist)
        if segment.index != (playlist.known if playlist else 0):
            return False
        if playlist is None:
            playlist = self._loaded.pop(segment.playlist, None) or Playlist(segment.playlist)
            self.playlists[segment.playlist] = playlist
        playlist.known += 1
        playlist.waiting[segment.index] = segment
        self.known += 1
        self.held += 1
        self.bytes_spooled += segment.size
        if self.has(segment):
            self.held -= 1
            self.bytes_confirmed += segment.size
            self._advance(playlist)
        return True

    def has(self, segment: Segment) -> bool:
        """Whether the store has this segment of the manifest."""
        playlist = self.playlists[segment.playlist]
        return segment.index < max(playlist.confirmed, playlist.assured) or segment.index in playlist.there

    def confirm(self, segment: Segment) -> None:
        """The store has this segment of the manifest."""
        if not self.has(segment):
            playlist = self.playlists[segment.playlist]
            playlist.there.add(segment.index)
            self.held -= 1
            self.bytes_confirmed += segment.size
            self._advance(playlist)

    def take(self, playlist: Playlist) -> list[Segment]:
        """The segments that its text may list and does not yet."""
        taken, playlist.fresh = playlist.fresh, []
        self.held -= len(taken)
        return taken

    def store(self, name: str, count: int, closed: bool) -> None:
        """The store has that playlist with ``count`` segments listed."""
        playlist = self.playlists[name]
        playlist.stored, playlist.closed = count, closed

    def due(self, playlist: Playlist) -> tuple[int, bool] | None:
        """The (count, closed) of the text that the store should have next, None if there is no newer one than it has."""
        closed = self.finished and playlist.confirmed == playlist.known
        if playlist.closed or (playlist.confirmed <= playlist.stored and not closed):
            return None
        return playlist.confirmed, closed

    def journal(self) -> set[int]:
        """The journal files that segments which the store does not have are made of; 0 among them where that is not known."""
        lost = [s for p in self.playlists.values() for s in p.waiting.values() if not self.has(s)]
        return {file for segment in lost for file in (segment.journal or [0])}

    def load(self, line: dict[str, Any]) -> None:
        """Take in a line of ``confirmed``, read before the manifest."""
        if "playlist" not in line:
            return
        playlist = self._loaded.setdefault(line["playlist"], Playlist(line["playlist"]))
        if "index" in line:
            playlist.there.add(line["index"])
            return
        playlist.stored, playlist.closed = line["count"], line["closed"]
        playlist.assured = max(playlist.assured, line["count"], line.get("confirmed", 0))
        playlist.there = {index for index in playlist.there if index >= playlist.assured}

    def notes(self) -> Iterator[dict[str, Any]]:
        """Lines from which ``load`` comes to know as much as it has been told so far."""
        for playlist in (*self.playlists.values(), *self._loaded.values()):
            confirmed = max(playlist.confirmed, playlist.assured)
            yield {"playlist": playlist.name, "count": playlist.stored, "closed": playlist.closed, "confirmed": confirmed}
            for index in sorted(playlist.there):
                yield {"playlist": playlist.name, "index": index}

    def _advance(self, playlist: Playlist) -> None:
        while playlist.confirmed in playlist.waiting and (playlist.confirmed < playlist.assured or playlist.confirmed in playlist.there):
            playlist.there.discard(playlist.confirmed)
            segment = playlist.waiting.pop(playlist.confirmed)
            playlist.confirmed += 1
            if not playlist.closed:
                playlist.fresh.append(segment)
                self.held += 1
