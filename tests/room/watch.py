"""Follow a room's changes, and wait for what must come."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from rokuga.room.protocol import Gone, Published, Room, RoomChange, Stream, UserJoined, UserLeft

PATIENCE_SECONDS = 20.0


class Watch:
    """All changes so far, and their sum: who is there, what is published, why we are out."""

    def __init__(self) -> None:
        self.changes: list[RoomChange] = []
        self.users: dict[str, int] = {}
        self.streams: tuple[Stream, ...] = ()
        self.gone: Gone | None = None
        self._news = asyncio.Event()

    async def run(self, room: Room) -> None:
        async for change in room.changes():
            self.changes.append(change)
            match change:
                case UserJoined(user_id, order):
                    self.users[user_id] = order
                case UserLeft(user_id):
                    del self.users[user_id]
                case Published(streams):
                    self.streams = streams
                case Gone():
                    self.gone = change
            self._news.set()

    async def until(self, condition: Callable[["Watch"], object]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition(self):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"did not happen; changes were {self.changes}") from None

    def joined(self, user_id: str) -> int:
        """How many times the user joined."""
        return sum(isinstance(c, UserJoined) and c.user_id == user_id for c in self.changes)


@asynccontextmanager
async def watching(room: Room) -> AsyncIterator[Watch]:
    """The watch has seen all that was there at the beginning."""
    watch = Watch()
    task = asyncio.create_task(watch.run(room))
    try:
        await watch.until(lambda w: any(isinstance(c, Published) for c in w.changes))
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
