"""The callback queue of one task: which event is tried when. Pure: times come as arguments, in milliseconds UTC.

In order while the receiver answers. A failed event is tried again at once, then every 10 s until it is 60 s old (TRTC's schedule,
which then drops it); here it steps aside instead, the following go on, and it is retried at doubling distances up to 24 h for a
week. When the receiver answers again, those that stand aside come first: they are the older ones.
"""

from dataclasses import dataclass, field

from rokuga.deliver.events import Event

MAX_WAITING = 1000
"""Events waiting at most, so that the queue fits one payload; beyond, the oldest upload error (else the oldest event) is dropped."""
MAX_KEYS = 5000


@dataclass(frozen=True)
class Retry:
    """The schedule, in seconds, counted from an event's first try."""

    step: float = 10
    aside: float = 60
    longest: float = 24 * 3600
    give_up: float = 7 * 24 * 3600


@dataclass
class Item:
    """One event waiting. ``body`` is frozen at the first try, so that all tries carry the same bytes and signature."""

    event: Event
    body: str = ""
    first_ms: int = 0
    tries: int = 0
    due_ms: int = 0
    distance: float = 0
    """seconds to the next try; above 0: it stands aside"""


@dataclass
class Queue:
    """Plain data all through, so that a workflow can carry it over. ``dropped`` counts what was given up."""

    items: list[Item] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    failing: bool = False
    """the first in line was not taken at its last try"""
    dropped: int = 0

    def add(self, event: Event) -> bool:
        """Append ``event``; False if one with its key was here before."""
        if event.key in self.keys:
            return False
        self.keys.append(event.key)
        del self.keys[:-MAX_KEYS]
        if len(self.items) >= MAX_WAITING:
            self.items.remove(next((i for i in self.items if i.event.type == 308), self.items[0]))
            self.dropped += 1
        self.items.append(Item(event))
        return True

    def due(self, now_ms: int) -> Item | None:
        """The event to try now: the oldest that stands aside and is due, else the first in line if it is due."""
        for item in self._candidates():
            if item.due_ms <= now_ms:
                return item
        return None

    def wake_ms(self) -> int | None:
        """When ``due`` will have something; None: not before something is added."""
        return min((i.due_ms for i in self._candidates()), default=None)

    def answered(self, item: Item) -> None:
        """The receiver took ``item``. After a failure that means it is back, so what stands aside is due."""
        self.items.remove(item)
        if self.failing:
            self.failing = False
            for other in self.items:
                if other.distance:
                    other.due_ms = 0

    def failed(self, item: Item, now_ms: int, retry: Retry) -> None:
        """A try of ``item`` failed: fix when it is tried again, or give it up."""
        # Of one that stands aside it says nothing about the receiver: it may be that one event that is refused.
        self.failing |= not item.distance
        age = (now_ms - item.first_ms) / 1000
        if age >= retry.give_up:
            self.items.remove(item)
            self.dropped += 1
        elif item.tries <= 1:
            item.due_ms = now_ms
        elif age < retry.aside:
            item.due_ms = now_ms + int(retry.step * 1000)
        else:
            item.distance = min((item.distance or retry.step) * 2, retry.longest)
            item.due_ms = now_ms + int(item.distance * 1000)

    def _candidates(self) -> list[Item]:
        aside = [i for i in self.items if i.distance]
        head = next((i for i in self.items if not i.distance), None)
        return [*aside, head] if head else aside
