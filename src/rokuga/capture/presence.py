"""Who is in the room and what they publish, as far as the recording cares. Pure."""

from rokuga.journal.records import RoomEvent
from rokuga.room.protocol import Published, Stream, UserJoined, UserLeft


class Presence:
    """Feed it the room's changes; it answers with what the journal should say."""

    def __init__(self, now_ns: int) -> None:
        self.streams: tuple[Stream, ...] = ()
        self.idle_since_ns: int | None = now_ns
        """since when no anchor is in the room; None while there is one"""
        self._orders: dict[str, int] = {}
        self._unseen: set[str] = set()
        """users from before a lost link that have not been seen again yet"""

    @property
    def users(self) -> list[str]:
        """The anchors in the room, in room-entry order."""
        return sorted(self._orders, key=lambda u: self._orders[u])

    def apply(self, change: UserJoined | UserLeft | Published, now_ns: int) -> list[RoomEvent]:
        """Take in one change. Doubles change nothing."""
        events: list[RoomEvent] = []
        if isinstance(change, UserJoined):
            self._unseen.discard(change.user_id)
            if change.user_id not in self._orders:
                self._orders[change.user_id] = change.order
                events.append(RoomEvent("joined", change.user_id, change.order))
        elif isinstance(change, UserLeft):
            events += self._leave(change.user_id)
        else:
            # A new list ends what the room says at first: who was not named in it left while the link was lost.
            for user in sorted(self._unseen):
                events += self._leave(user)
            self._unseen.clear()
            self.streams = change.streams
        if self._orders:
            self.idle_since_ns = None
        elif self.idle_since_ns is None:
            self.idle_since_ns = now_ns
        return events

    def link_lost(self) -> None:
        """Nobody publishes to us now; who is still there the next room will say."""
        self.streams = ()
        self._unseen = set(self._orders)

    def _leave(self, user_id: str) -> list[RoomEvent]:
        self._unseen.discard(user_id)
        self.streams = tuple(s for s in self.streams if s.user_id != user_id)
        order = self._orders.pop(user_id, None)
        return [] if order is None else [RoomEvent("left", user_id, order)]
