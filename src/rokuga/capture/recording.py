"""What is recorded in a room: the wanted streams, compared with the receivers there are, and the journal's room events."""

import asyncio
from collections import Counter
from dataclasses import asdict, replace
from typing import Any

from aiortc import RTCCertificate

from rokuga import clock
from rokuga.capture.layers import pictures_a_second, places
from rokuga.capture.presence import Presence
from rokuga.capture.stream import Receiver
from rokuga.capture.track import Setting
from rokuga.control.model import Params
from rokuga.journal import records
from rokuga.journal.writer import JournalWriter
from rokuga.room.protocol import Gone, MediaId, Room, RoomChange, Stream
from rokuga.room.select import select

TICK_SECONDS = 0.1
"""No recorder needs low latency, arrival times are the kernel's, and each wake-up costs as much as several packets. Longer ticks would
cost a packet that is missing one of its chances to be resent, and a process that is killed more than 100 ms."""
REPAIR_TICK_SECONDS = 0.02
"""While a packet is missing: it is to be asked for in time."""
FLOW_NS = 5_000_000_000
"""No packet of any track for so long: no media flows."""
CLOSE_SECONDS = 3.0
"""Handles that a server does not take back within this time are left to its session's end."""

Key = tuple[str, MediaId]


class Recording:
    """One per capture process; ``room`` is set while the bot is in a room. Only streams that a change concerns are touched."""

    def __init__(self, journal: JournalWriter, params: Params, version: int, log: Any) -> None:
        self.params = params
        self.version = version
        self.presence = Presence(clock.monotonic_ns())
        self._journal = journal
        self._log = log
        self._room: Room | None = None
        self._receivers: dict[Key, Receiver] = {}
        self.receiving = asyncio.Event()
        """there is something to receive: ``tick`` is worth it"""
        self._ending: set[asyncio.Task[None]] = set()
        self._setting = Setting(
            journal, RTCCertificate.generateCertificate(), params.segment_seconds, Counter(), log, pictures_a_second(params)
        )
        self._last_packet_ns = 0
        journal.append(records.Params(version, asdict(params)))

    async def follow(self, room: Room) -> Gone:
        """Record what happens in the room until we are out of it."""
        self._room = room
        try:
            async for change in room.changes():
                if isinstance(change, Gone):
                    return change
                self._change(change)
            return Gone("link-lost")
        finally:
            self._room = None

    def apply(self, params: Params, version: int) -> int:
        """Take over new parameters; returns when, as monotonic ns."""
        self.params, self.version = replace(params, images=self.params.images), version
        at = self._journal.append(records.Params(version, asdict(self.params)))
        self._adjust()
        return at

    def show(self, images: dict[str, str]) -> None:
        """The layout's images that are there now: they can be seen from here on."""
        self.params = replace(self.params, images=images)
        self._journal.append(records.Params(self.version, asdict(self.params)))

    def tick(self) -> float:
        """Take in what has come and send what is due; the answer is in how many seconds to do so again, while ``receiving``."""
        receivers = list(self._receivers.values())
        # One after the other for all streams: a processor does the same thing over and over faster than two things in turns.
        for receiver in receivers:
            receiver.receive()
        repairing = False
        for receiver in receivers:
            repairing |= receiver.tick()
        return REPAIR_TICK_SECONDS if repairing else TICK_SECONDS

    def flows(self, now_ns: int) -> bool:
        """Whether a media packet came within the last 5 s, as far as this has been asked while its track was open."""
        for receiver in self._receivers.values():
            for track in receiver.tracks:
                self._last_packet_ns = max(self._last_packet_ns, track.last_arrival_ns)
        return self._last_packet_ns > 0 and now_ns - self._last_packet_ns < FLOW_NS

    @property
    def tracks(self) -> int:
        """How many are open."""
        return sum(len(r.tracks) for r in self._receivers.values())

    def totals(self) -> dict[str, int]:
        """Sums over all tracks, also those that are closed: packets, bytes, frames, lost, repaired; and subscriptions made."""
        sums = Counter(self._setting.past)
        for receiver in self._receivers.values():
            for track in receiver.tracks:
                sums.update(track.counters)
        return dict(sums)

    def link_lost(self) -> None:
        """Everything that we had from the room is void; who stays keeps their place."""
        self.end("link-lost")
        self.presence.link_lost()

    def end(self, cause: str) -> None:
        """Journal what is held and close all tracks, now."""
        for key in list(self._receivers):
            self._drop(key, cause)

    async def settle(self) -> None:
        """Until the handles and sockets of ended receivers are given back, or CLOSE_SECONDS have passed."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSE_SECONDS)

    def _change(self, change: RoomChange) -> None:
        assert not isinstance(change, Gone)
        for event in self.presence.apply(change, clock.monotonic_ns()):
            self._journal.append(event)
            self._log.info("user " + event.event, user=event.user_id, order=event.order)
        self._adjust()

    def _adjust(self) -> None:
        if self._room is None:
            return
        published = {_key(s): s for s in self.presence.streams}
        wanted = {_key(s): s for s in select(self.presence.streams, self.params)}
        for key, receiver in list(self._receivers.items()):
            new = wanted.get(key)
            if new is None:
                gone = "left" if key[0] not in self.presence.users else "unpublished"
                self._drop(key, "unsubscribed" if key in published else gone)
            elif new.feed != receiver.stream.feed:
                self._drop(key, "left")
            elif replace(new, order=receiver.stream.order) != receiver.stream:
                receiver.update(new, _why_less(receiver.stream, new, published[key]))
        for key, stream in wanted.items():
            if key not in self._receivers:
                receiver = Receiver(self._room, stream, self._setting)
                self._receivers[key] = receiver
                self.receiving.set()
                receiver.start()
        cells = places(self.params, list(wanted.values()))
        for key, receiver in self._receivers.items():
            receiver.place(None if cells is None else cells[key])

    def _drop(self, key: Key, cause: str) -> None:
        receiver = self._receivers.pop(key)
        if not self._receivers:
            self.receiving.clear()
        receiver.end(cause)
        task = asyncio.create_task(receiver.wait(), name=f"end of {key}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _key(stream: Stream) -> Key:
    return stream.user_id, stream.media_id


def _why_less(old: Stream, new: Stream, published: Stream) -> str:
    """Why tracks that ``old`` has are not in ``new``."""
    for kind in ("audio", "video"):
        if getattr(old, kind) is not None and getattr(new, kind) is None and getattr(published, kind) is not None:
            return "unsubscribed"
    return "unpublished"
