"""Who is in the room and which of their streams are recorded, as the journal tells: the order of the pictures. Pure."""

from dataclasses import dataclass, field
from typing import Any

from rokuga.journal.records import Kind
from rokuga.render.mix.layout import MediaName, Shown

Key = tuple[str, MediaName]
LAST = 1 << 30


@dataclass(slots=True)
class Audience:
    """Fed with the journal's room and track records in order; ``shown`` is in room-entry order, a user's main before its aux."""

    orders: dict[str, int] = field(default_factory=dict)
    """of each user in the room"""
    tracks: dict[int, tuple[Key, Kind]] = field(default_factory=dict)
    """open ones, by journal number"""

    def room(self, event: str, user_id: str, order: int) -> None:
        """A room record."""
        if event == "joined":
            self.orders[user_id] = order
        elif event == "left":
            self.orders.pop(user_id, None)
        elif event == "restarted":
            self.orders.clear()
            self.tracks.clear()

    def opened(self, number: int, user_id: str, media_id: MediaName, kind: Kind) -> None:
        self.tracks[number] = ((user_id, media_id), kind)

    def closed(self, number: int) -> None:
        self.tracks.pop(number, None)

    def shown(self) -> list[Shown]:
        """The streams of which a track is open. Who has not been announced (yet) comes last, by name."""
        keys = {key for key, _ in self.tracks.values()}
        seen = {key for key, kind in self.tracks.values() if kind == "video"}
        order = sorted(keys, key=lambda k: (self.orders.get(k[0], LAST), k[0], k[1] == "aux"))
        return [Shown(*key, video=key in seen) for key in order]

    def video_track(self, shown: Shown) -> int:
        """The number of its video track, 0: it has none. Of two it is the later one."""
        key = (shown.user_id, shown.media_id)
        return max((number for number, (of, kind) in self.tracks.items() if of == key and kind == "video"), default=0)

    def save(self) -> dict[str, Any]:
        """Plain JSON."""
        tracks = [[number, *key, kind] for number, (key, kind) in self.tracks.items()]
        return {"orders": dict(self.orders), "tracks": tracks}

    @staticmethod
    def load(state: dict[str, Any]) -> "Audience":
        tracks = {number: ((user, media), kind) for number, user, media, kind in state.get("tracks", [])}
        return Audience(dict(state.get("orders", {})), tracks)
