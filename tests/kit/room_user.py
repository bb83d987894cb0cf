"""A room user that only signals: joins as a publisher without publishing, and leaves in every way there is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from rokuga.config import Janus
from rokuga.errors import RoomError
from rokuga.room.link import Message
from rokuga.room.session import Handle, Session, open_session


class RoomUser:
    """In the room until one of the ways out is taken. ``events`` has all that its handle was told."""

    def __init__(self, session: Session, socket_closer: AsyncExitStack, room: str | int, user_id: str) -> None:
        self.session = session
        self.user_id = user_id
        self.events: list[Message] = []
        self._closer = socket_closer
        self._room = room
        self.handle: Handle

    async def join(self, display: str = "") -> None:
        """Join (again) with a fresh handle. The room is created as other people's clients do it if it is missing."""
        self.handle = await self.session.attach(self)
        try:
            await self.handle.request({"request": "create", "room": self._room, "publishers": 100, "notify_joining": True})
        except RoomError as error:
            if error.code != 427:
                raise
        body: Message = {"request": "join", "ptype": "publisher", "room": self._room, "display": display or self.user_id}
        if isinstance(self._room, str):
            body["id"] = self.user_id
        await self.handle.request(body)

    async def request(self, **body: object) -> Message:
        """A VideoRoom request about this room."""
        return await self.handle.request({"room": self._room, **body})

    async def leave(self) -> None:
        await self.handle.request({"request": "leave"})

    async def detach(self) -> None:
        await self.handle.detach()

    async def close_socket(self) -> None:
        """End the session with its socket, as a browser tab that is closed."""
        await self._closer.aclose()

    def message(self, message: Message) -> None:
        self.events.append(message)

    def lost(self, error: RoomError) -> None:
        self.events.append({"janus": "lost", "code": error.code})


@asynccontextmanager
async def room_user(config: Janus, room: str | int, user_id: str, display: str = "") -> AsyncIterator[RoomUser]:
    """A user of the room (its VideoRoom id: text or number)."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(config))
        user = RoomUser(session, stack, room, user_id)
        await user.join(display)
        yield user
