"""Sending users out of a room and ending rooms: what TRTC's RemoveUser and DismissRoom do, on a Janus VideoRoom."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rokuga.config import Janus
from rokuga.errors import RoomError
from rokuga.room.janus import room_number
from rokuga.room.link import Message
from rokuga.room.model import AUX_SUFFIX, BOT_PREFIX, Entry, Feed
from rokuga.room.session import Handle, open_session

NO_SUCH_ROOM, NO_SUCH_USER, ID_SYNTAX = 426, 428, 430
SECRET_MISSING, SECRET_WRONG = 429, 433
"""Janus' answers to kick and destroy where the room has a secret."""
ACT_SECONDS = 3.0
"""For all of it; leaving a Janus that hangs may take two more, and the caller has six."""

Foretell = Callable[[frozenset[str]], Awaitable[None]]
"""Called with the bots of ours that are about to be sent out, before they are: afterwards Janus tells nobody by whom it was."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """A feed in the room and whose it is. ``name``: what a user of an integer-id Janus is called if somebody has the same display."""

    feed: Feed
    user_id: str
    name: str
    bot: bool


def occupants(participants: Iterable[Entry], by_display: bool) -> list[Occupant]:
    """Who is in the room, as the recordings know them (see `rokuga.room.model`)."""
    found = []
    for entry in participants:
        feed, display = entry["id"], str(entry.get("display") or "")
        plain = display.removeprefix(BOT_PREFIX)
        user_id = (plain or str(feed)) if by_display else str(feed)
        bot = display.startswith(BOT_PREFIX) and plain == user_id
        if user_id != AUX_SUFFIX:
            user_id = user_id.removesuffix(AUX_SUFFIX)
        found.append(Occupant(feed, user_id, f"{user_id}#{feed}" if by_display else user_id, bot))
    return found


class _Deaf:
    """A handle's owner to whom only the answers matter."""

    def message(self, message: Message) -> None:
        return None

    def lost(self, error: RoomError) -> None:
        return None


class RoomControl:
    """Acts on the rooms of one Janus, with its rooms' secret. Methods raise RoomError within 6 s: Janus' code, 0 if it does not answer."""

    def __init__(self, config: Janus) -> None:
        self._config = config
        self._secret = {"secret": s} if (s := config.room_secret.get_secret_value()) else {}

    async def remove(self, room_id: str, room_id_type: int, users: Collection[str], foretell: Foretell) -> None:
        """Send these users out, all their feeds; who is not there is out already. RoomError NO_SUCH_USER: none of them was there."""
        async with self._room(room_id, room_id_type) as (handle, room):
            there = [o for o in await self._occupants(handle, room) if o.user_id in users or o.name in users]
            if not there:
                raise RoomError(NO_SUCH_USER, "none of these users is in the room")
            if bots := frozenset(o.user_id for o in there if o.bot):
                await foretell(bots)
            for occupant in there:
                await self._kick(handle, room, occupant.feed)

    async def dismiss(self, room_id: str, room_id_type: int, foretell: Foretell) -> None:
        """End the room; everybody is out."""
        async with self._room(room_id, room_id_type) as (handle, room):
            if bots := frozenset(o.user_id for o in await self._occupants(handle, room) if o.bot):
                await foretell(bots)
            await handle.request({"request": "destroy", "room": room, **self._secret})

    async def taken(self, room_id: str, room_id_type: int, user_id: str, seconds: float) -> bool:
        """Whether somebody who is no recorder's bot is in the room under that id. Asks for ``seconds`` at most."""
        try:
            async with self._room(room_id, room_id_type, seconds) as (handle, room):
                return any(o.user_id == user_id and not o.bot for o in await self._occupants(handle, room))
        except RoomError as error:
            if error.code == NO_SUCH_ROOM:
                return False
            raise

    @asynccontextmanager
    async def _room(self, room_id: str, room_id_type: int, seconds: float = ACT_SECONDS) -> AsyncIterator[tuple[Handle, str | int]]:
        room = room_number(self._config, room_id, room_id_type)
        try:
            async with asyncio.timeout(seconds), open_session(self._config) as session:
                yield await session.attach(_Deaf()), room
        except TimeoutError:
            raise RoomError(0, f"Janus did not do it within {seconds:g} s") from None

    async def _occupants(self, handle: Handle, room: str | int) -> list[Occupant]:
        answer = await handle.request({"request": "listparticipants", "room": room})
        return occupants(answer["participants"], self._config.room_ids == "integer")

    async def _kick(self, handle: Handle, room: str | int, feed: Feed) -> None:
        try:
            await handle.request({"request": "kick", "room": room, "id": feed, **self._secret})
        except RoomError as error:
            if error.code != NO_SUCH_USER:  # left meanwhile
                raise
