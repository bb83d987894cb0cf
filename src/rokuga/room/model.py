"""Who is in a room and what they publish: the VideoRoom's events in, changes out. No I/O, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rokuga.room.protocol import Gone, MediaTrack, Published, RoomChange, Stream, UserJoined, UserLeft

BOT_PREFIX = "rokuga-bot:"
AUX_SUFFIX = "#aux"
Feed = str | int
Entry = Mapping[str, Any]
"""A publisher, attendee or participant as Janus lists them."""


@dataclass
class Seating:
    """Room-entry order. Hand the same one to the next room when a lost link is rejoined, and those who stayed keep their places."""

    places: dict[str, int] = field(default_factory=dict)
    next: int = 0

    def seat(self, user_id: str) -> int:
        """The user's place; the next one if it has none."""
        if user_id not in self.places:
            self.places[user_id] = self.next
            self.next += 1
        return self.places[user_id]

    def leave(self, user_id: str) -> None:
        """Its place is never given to anybody again."""
        self.places.pop(user_id, None)


@dataclass
class _Member:
    """One feed: a participant of the VideoRoom. A user may have two of them, the second one for aux."""

    user_id: str
    only_aux: bool
    bot: bool
    audio: MediaTrack | None = None
    main: MediaTrack | None = None
    aux: MediaTrack | None = None

    def publish(self, streams: Iterable[Entry]) -> None:
        """Take over the feed's m-lines: `description` says main or aux; without one the first video is main, a further one aux."""
        live = [s for s in streams if not s.get("disabled") and s.get("codec") and s.get("mid") is not None]
        videos = [s for s in live if s["type"] == "video"]
        self.audio = self.main = self.aux = None
        if self.only_aux:
            self.aux = _track(videos[0]) if videos else None
        else:
            audios = [s for s in live if s["type"] == "audio" and s.get("description") != "aux"]
            self.audio = _track(audios[0]) if audios else None
            self.main = next((_track(s) for s in videos if s.get("description") == "main"), None)
            self.aux = next((_track(s) for s in videos if s.get("description") == "aux"), None)
            for stream in (s for s in videos if s.get("description") not in ("main", "aux")):
                if self.main is None:
                    self.main = _track(stream)
                elif self.aux is None:
                    self.aux = _track(stream)
        if live:
            self.bot = False  # ours never publish: a name must not hide anybody from a recording


def _track(stream: Entry) -> MediaTrack:
    return MediaTrack(str(stream["mid"]), stream["type"], str(stream["codec"]).lower(), bool(stream.get("simulcast")))


class RoomModel:
    """The room as one handle sees it. Feed it events in order; each call returns what changed, so doubles change nothing.

    ``me`` is our own feed. With ``by_display`` (a Janus of integer ids) a user's id is the feed's display.
    """

    def __init__(self, me: Feed, seating: Seating, by_display: bool = False) -> None:
        self._me = me
        self._seating = seating
        self._by_display = by_display
        self._members: dict[Feed, _Member] = {}
        self._users: set[str] = set()
        self._streams: tuple[Stream, ...] | None = None

    def enter(self, entries: Iterable[Entry], created: Mapping[Feed, int]) -> list[RoomChange]:
        """Those who were there before us (publishers, attendees, participants; doubles do not matter).

        They are seated by when their feed was ``created``, where that is unknown behind all others by UserId.
        """
        for entry in entries:
            self._arrive(entry)

        def place(item: tuple[Feed, _Member]) -> tuple[bool, int, str]:
            feed, member = item
            return feed not in created, created.get(feed, 0), member.user_id

        self._members = dict(sorted(self._members.items(), key=place))
        here = self._present()
        for user_id in [u for u in self._seating.places if u not in here]:
            self._seating.leave(user_id)
        return self._changes()

    def event(self, data: Mapping[str, Any]) -> list[RoomChange]:
        """One ``data`` of the VideoRoom plugin on our handle."""
        if data.get("videoroom") == "destroyed":
            return [Gone("destroyed")]
        if data.get("videoroom") != "event":
            return []
        if data.get("leaving") == "ok":
            return [Gone("kicked")] if data.get("reason") == "kicked" else []
        for entry in data.get("publishers", ()):
            self._arrive(entry)
        if "joining" in data:
            self._arrive(data["joining"])
        if data.get("unpublished") in self._members:
            self._members[data["unpublished"]].publish(())
        for word in ("leaving", "kicked"):
            self._members.pop(data.get(word, ""), None)
        return self._changes()

    def poll(self, participants: Iterable[Entry], unsure: Iterable[Feed] = ()) -> list[RoomChange]:
        """All who are there, where nobody tells of those that join without publishing.

        ``unsure`` are feeds with events between question and answer: the list may be older than those.
        """
        doubt = set(unsure)
        listed = {entry["id"] for entry in participants if "id" in entry}
        for entry in participants:
            if entry.get("id") not in doubt:
                self._arrive(entry)
        for feed in [f for f in self._members if f not in listed and f not in doubt]:
            del self._members[feed]
        return self._changes()

    def _arrive(self, entry: Entry) -> None:
        feed = entry.get("id")
        if feed is None or feed == self._me or entry.get("dummy"):
            return
        if feed not in self._members:
            self._members[feed] = self._member(feed, str(entry.get("display") or ""))
        if "streams" in entry:
            self._members[feed].publish(entry["streams"])

    def _member(self, feed: Feed, display: str) -> _Member:
        name = (display or str(feed)) if self._by_display else str(feed)
        bot = display.startswith(BOT_PREFIX) if self._by_display else display == BOT_PREFIX + name
        if name.endswith(AUX_SUFFIX) and name != AUX_SUFFIX:
            return _Member(name.removesuffix(AUX_SUFFIX), True, bot)
        if self._by_display and any(m.user_id == name and not m.only_aux for m in self._members.values()):
            name = f"{name}#{feed}"
        return _Member(name, False, bot)

    def _present(self) -> list[str]:
        """Users, in the order of their first feed."""
        return list(dict.fromkeys(m.user_id for m in self._members.values() if not m.bot))

    def _changes(self) -> list[RoomChange]:
        here = self._present()
        changes: list[RoomChange] = []
        for user_id in sorted(self._users.difference(here), key=self._seating.seat):
            self._seating.leave(user_id)
            changes.append(UserLeft(user_id))
        changes += [UserJoined(u, self._seating.seat(u)) for u in here if u not in self._users]
        self._users = set(here)
        streams = self._list()
        if streams != self._streams:
            self._streams = streams
            changes.append(Published(streams))
        return changes

    def _list(self) -> tuple[Stream, ...]:
        found: dict[tuple[int, bool], Stream] = {}
        for feed, member in self._members.items():
            order = self._seating.places.get(member.user_id, -1)
            if member.audio or member.main:
                found.setdefault((order, False), Stream(member.user_id, "main", feed, order, member.audio, member.main))
            if member.aux:
                found.setdefault((order, True), Stream(member.user_id, "aux", feed, order, None, member.aux))
        return tuple(found[key] for key in sorted(found))
