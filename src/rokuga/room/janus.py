"""A Janus VideoRoom behind ``rokuga.room.protocol``."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import structlog

from rokuga.config import Janus
from rokuga.errors import BotStays, RoomError
from rokuga.room.admin import entry_times
from rokuga.room.link import Message
from rokuga.room.model import BOT_PREFIX, Feed, RoomModel, Seating
from rokuga.room.protocol import Gone, Published, RoomChange, Stream
from rokuga.room.session import NO_SUCH_SESSION, Handle, Session, open_session
from rokuga.room.subscription import JanusSubscription

POLL_SECONDS = 2.0
"""How often participants are listed in a room that does not tell who joins."""
OUST_SECONDS = 2.0
"""How long the bot's id may take to become free."""
SUCCESSOR_SECONDS = 1.0
"""How long it may take until who took the bot's id over is seen under it; only an event that we were kicked waits for it."""
INBOX = 4096
ROOM_EXISTS, ID_SYNTAX, ID_TAKEN = 427, 430, 436
_log = structlog.get_logger(__name__)


def room_number(config: Janus, room_id: str, room_id_type: int) -> str | int:
    """The VideoRoom's id of a TRTC room. Raises RoomError 430: with integer ids there are only numeric rooms."""
    if config.room_ids == "string":
        return room_id
    if room_id_type != 1 or not room_id.isascii() or not room_id.isdecimal():
        raise RoomError(ID_SYNTAX, "this Janus has integer room ids: only RoomIdType 1 can be recorded")
    return int(room_id)


class JanusRoom:
    """See ``protocol.Room``: joined as a publisher that publishes nothing. Made by ``open_room``."""

    def __init__(self, config: Janus, session: Session, room: str | int, bot: str) -> None:
        self.session_id = session.id
        self._config = config
        self._session = session
        self._room = room
        self._bot = bot
        self._by_display = config.room_ids == "integer"
        self._secret = {"secret": s} if (s := config.room_secret.get_secret_value()) else {}
        self._pin = {"pin": p} if (p := config.room_pin.get_secret_value()) else {}
        self._private_id: Message = {}
        self._inbox: asyncio.Queue[Message | Gone] = asyncio.Queue(maxsize=INBOX)
        self._handle: Handle
        self._model: RoomModel
        self._first: list[RoomChange] = []
        self._polls = False
        self.leaving = False
        self._log = _log.bind(room=room, bot=bot)

    async def enter(self, seating: Seating, ousts: bool) -> None:
        """Create the room if it is missing, join, and find out who is there. Raises RoomError."""
        self._handle = await self._session.attach(self)
        await self._create()
        joined = await self._join(ousts)
        # Rooms with require_pvtid let nobody subscribe who is not a participant.
        self._private_id = {"private_id": joined["private_id"]}
        entries: list[Message] = [*joined.get("publishers", []), *joined.get("attendees", [])]
        self._polls = "attendees" not in joined
        if self._polls:
            entries += await self._participants()
        self._model = RoomModel(joined["id"], seating, self._by_display)
        self._first = self._model.enter(entries, await self._created(entries))

    async def changes(self) -> AsyncIterator[RoomChange]:
        for change in self._first:
            yield change
        loop = asyncio.get_running_loop()
        poll_at = loop.time() + POLL_SECONDS
        while True:
            got: list[Message | Gone] = []
            try:
                async with asyncio.timeout_at(poll_at if self._polls else None):
                    got.append(await self._inbox.get())
            except TimeoutError:
                participants = await self._poll()
                while not self._inbox.empty():
                    got.append(self._inbox.get_nowait())
                poll_at = loop.time() + POLL_SECONDS
            else:
                participants = None
            for item in got:
                for change in [item] if isinstance(item, Gone) else self._model.event(item):
                    if change == Gone("kicked"):
                        # Subscriptions outlive it in Janus: without this they would be recorded for as long as we look who it was.
                        yield Published(())
                        change = Gone("replaced") if await self._succeeded() else change
                    yield change
                    if isinstance(change, Gone):
                        return
            if participants is not None:
                for change in self._model.poll(participants, _named_in(got)):
                    yield change

    async def subscribe(self, stream: Stream) -> JanusSubscription:
        subscription = JanusSubscription(self._room, stream)
        await subscription.start(self._session, {**self._pin, **self._private_id})
        return subscription

    def message(self, message: Message) -> None:
        match message["janus"]:
            case "event":
                self._put(message["plugindata"]["data"])
            case "detached":
                self._put(Gone("link-lost"))

    def lost(self, error: RoomError) -> None:
        if not self.leaving:
            self._log.warning("link lost", code=error.code, why=error.message)
        # A session that is gone while the link stands was claimed and destroyed by a successor.
        self._put(Gone("replaced" if error.code == NO_SUCH_SESSION else "link-lost"))

    def _put(self, item: Message | Gone) -> None:
        if self._inbox.full():
            # Nobody has looked at the room's changes for thousands of events: what we know of it is worth nothing now.
            self._session.forget(self._handle.id)
            while not self._inbox.empty():
                self._inbox.get_nowait()
            item = Gone("link-lost")
        self._inbox.put_nowait(item)

    async def _create(self) -> None:
        if (await self._handle.request({"request": "exists", "room": self._room}))["exists"]:
            return
        body: Message = {
            "request": "create",
            "room": self._room,
            "publishers": 1000,
            "notify_joining": True,
            "videocodec": "h264,vp8,vp9,av1",
            "audiocodec": "opus,g722,pcmu,pcma",
            "fir_freq": 0,
            # Without these two, phones rotate their own picture, and nobody asks a recorder to delay.
            "videoorient_ext": False,
            "playoutdelay_ext": False,
            **self._secret,
            **self._pin,
        }
        if admin_key := self._config.admin_key.get_secret_value():
            body["admin_key"] = admin_key
        try:
            await self._handle.request(body)
        except RoomError as error:
            if error.code != ROOM_EXISTS:
                raise

    async def _join(self, ousts: bool) -> Message:
        """Join under the bot's id; a bot that holds it is sent away if ``ousts``. Raises RoomError (436: it stays, or a user holds it)."""
        body: Message = {"request": "join", "ptype": "publisher", "room": self._room, "display": BOT_PREFIX + self._bot, **self._pin}
        if not self._by_display:
            body["id"] = self._bot
        loop = asyncio.get_running_loop()
        deadline = loop.time() + OUST_SECONDS
        kicked = not ousts
        while True:
            holder = await self._holder()
            if holder is None:
                try:
                    return await self._handle.request(body)
                except RoomError as error:
                    if error.code != ID_TAKEN:
                        raise
            elif holder.get("display") != BOT_PREFIX + self._bot:
                raise RoomError(ID_TAKEN, f"{self._bot} is a user in the room")
            elif not kicked:
                kicked = True
                await self._kick(holder["id"])
            if loop.time() > deadline:
                hint = " (the room's secret would remove it)" if ousts else ""
                raise BotStays(ID_TAKEN, f"another recorder's bot {self._bot} stays in the room{hint}")
            await asyncio.sleep(0.05)

    async def _holder(self) -> Message | None:
        """Who is in the room under the bot's id (or, with integer ids, its display)."""
        for participant in await self._participants():
            if participant.get("display") in (self._bot, BOT_PREFIX + self._bot) if self._by_display else participant["id"] == self._bot:
                return participant
        return None

    async def _succeeded(self) -> bool:
        """Whether it was another of our bots that had us kicked: it joins under our id as soon as that is free."""
        deadline = asyncio.get_running_loop().time() + SUCCESSOR_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            try:
                holder = await self._holder()
            except RoomError:
                return False
            if holder is not None:
                return holder.get("display") == BOT_PREFIX + self._bot
            await asyncio.sleep(0.1)
        return False

    async def _kick(self, feed: Feed) -> None:
        try:
            await self._handle.request({"request": "kick", "room": self._room, "id": feed, **self._secret})
            self._log.info("took the bot's id over from another recorder")
        except RoomError as error:
            # It may be on its way out all the same.
            self._log.warning("another recorder's bot cannot be removed", code=error.code, why=error.message)

    async def _participants(self) -> list[Message]:
        reply = await self._handle.request({"request": "listparticipants", "room": self._room})
        participants: list[Message] = reply["participants"]
        return participants

    async def _poll(self) -> list[Message] | None:
        try:
            return await self._participants()
        except RoomError as error:
            # If the room or the link is gone, an event says so.
            self._log.info("participants not listed", code=error.code, why=error.message)
            return None

    async def _created(self, entries: list[Message]) -> dict[Feed, int]:
        """When those before us came; empty where nothing tells."""
        if len(entries) < 2:
            return {}
        if not self._config.admin_url:
            self._log.info("users before us are ordered by UserId: no Admin API is configured", users=len(entries))
            return {}
        try:
            return await entry_times(self._config, self._room)
        except RoomError as error:
            self._log.warning("users before us are ordered by UserId", why=error.message, users=len(entries))
            return {}


def _named_in(items: Iterable[Message | Gone]) -> set[Feed]:
    """The feeds that these events are about."""
    feeds: set[Feed] = set()
    for data in items:
        if isinstance(data, Gone):
            continue
        feeds.update(data[word] for word in ("leaving", "kicked", "unpublished") if word in data)
        feeds.update(entry["id"] for entry in (*data.get("publishers", ()), *([data["joining"]] if "joining" in data else ())))
    return feeds


@asynccontextmanager
async def open_room(
    config: Janus,
    room_id: str,
    room_id_type: int,
    bot: str,
    sessions: list[int] | None = None,
    seating: Seating | None = None,
    ousts: bool = True,
) -> AsyncIterator[JanusRoom]:
    """Join the room as ``bot``, creating it if it is missing; leave it at the end.

    ``sessions``: Janus sessions of the bot before us; they are ended first, so that the id is free at once, and replaced by ours as
    soon as there is one, also if it then does not come to anything. ``ousts``: another bot of ours that has the id is sent away; a
    bot that rejoins must not, for who has its id now has taken the recording over. ``seating``: that of the room before, when a lost
    link is rejoined. Raises RoomError: Janus' code, 0 if it does not answer, 430 if the room cannot exist there, 436 if the bot's id
    is taken and stays so (BotStays: by another bot).
    """
    room = room_number(config, room_id, room_id_type)
    known = [] if sessions is None else sessions
    async with open_session(config, known) as session:
        known[:] = [session.id]
        joined = JanusRoom(config, session, room, bot)
        try:
            await joined.enter(Seating() if seating is None else seating, ousts)
            yield joined
        finally:
            joined.leaving = True
