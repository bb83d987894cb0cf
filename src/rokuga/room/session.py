"""A Janus session and its plugin handles."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog

from rokuga.config import Janus
from rokuga.errors import RoomError
from rokuga.room.link import REPLY_SECONDS, Link, Message, open_link

NO_SUCH_SESSION = 458
"""Janus' error: the session timed out, or somebody claimed and destroyed it."""
KEEPALIVE_SECONDS = 5.0
"""Janus drops a session after 60 s; asking more often tells sooner that it is gone."""
GOODBYE_SECONDS = 1.0
"""Nobody who leaves waits longer for a Janus that hangs; what it still holds goes with the socket."""
_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Who attached a handle. Both are called from the reader: in order, and they must not block."""

    def message(self, message: Message) -> None:
        """An event on the handle; also an answer that is one, before the caller of ``Handle.request`` gets it."""

    def lost(self, error: RoomError) -> None:
        """The session is gone: ``error.code`` 458 if Janus does not know it any more, else 0."""


class Handle:
    """One attached plugin handle."""

    def __init__(self, session: "Session", handle_id: int) -> None:
        self._session = session
        self.id = handle_id

    async def request(self, body: Message, jsep: Message | None = None) -> Message:
        """Ask the plugin and return its data. Raises RoomError with the plugin's or Janus' code."""
        message: Message = {"janus": "message", "handle_id": self.id, "body": body}
        if jsep is not None:
            message["jsep"] = jsep
        reply = await self._session.call(message)
        data: Message = reply["plugindata"]["data"]
        if "error_code" in data:
            raise RoomError(data["error_code"], data.get("error", ""))
        return data

    async def detach(self) -> None:
        """Give the handle back; a link or handle that is gone is no error."""
        self._session.forget(self.id)
        with suppress(RoomError):
            await self._session.call({"janus": "detach", "handle_id": self.id}, timeout=GOODBYE_SECONDS)


class Session:
    """A session on an open link; ``id`` is what a successor needs to claim it."""

    def __init__(self) -> None:
        self.id = 0
        self._link: Link
        self._listeners: dict[int, Listener] = {}

    async def call(self, request: Message, *, ack: bool = False, timeout: float = REPLY_SECONDS) -> Message:
        """One transaction within this session. Raises RoomError."""
        try:
            return await self._link.call({**request, "session_id": self.id}, ack=ack, timeout=timeout)
        except RoomError as error:
            if error.code == NO_SUCH_SESSION:
                self._link.fail(error)
            raise

    async def attach(self, listener: Listener) -> Handle:
        """A new VideoRoom handle. Raises RoomError."""
        reply = await self.call({"janus": "attach", "plugin": "janus.plugin.videoroom"})
        handle_id: int = reply["data"]["id"]
        self._listeners[handle_id] = listener
        return Handle(self, handle_id)

    def forget(self, handle_id: int) -> None:
        """Tell its listener nothing any more."""
        self._listeners.pop(handle_id, None)

    def fail(self, error: RoomError) -> None:
        """Give the link up; everybody who listens is told."""
        self._link.fail(error)

    async def start(self, link: Link) -> None:
        self._link = link
        self.id = (await link.call({"janus": "create"}))["data"]["id"]

    async def keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_SECONDS)
            try:
                await self.call({"janus": "keepalive"}, ack=True)
            except RoomError as error:
                self._link.fail(error)
                return

    def on_message(self, message: Message) -> None:
        if message["janus"] == "timeout":
            self._link.fail(RoomError(0, "the session timed out"))
            return
        listener = self._listeners.get(message.get("sender", 0))
        if listener is not None:
            listener.message(message)

    def on_lost(self, error: RoomError) -> None:
        for listener in list(self._listeners.values()):
            listener.lost(error)


async def _remove(link: Link, session_id: int) -> None:
    """End another's session, so that the ids its handles hold are free at once; its owner may be alive or dead."""
    try:
        await link.call({"janus": "claim", "session_id": session_id})
        await link.call({"janus": "destroy", "session_id": session_id})
    except RoomError as error:
        if error.code != NO_SUCH_SESSION:
            raise
        _log.info("predecessor's session is already gone", session=session_id)


@asynccontextmanager
async def open_session(config: Janus, predecessors: Iterable[int] = ()) -> AsyncIterator[Session]:
    """A session on the Janus of ``config``; those numbered ``predecessors`` are removed first. Raises RoomError."""
    secrets = {"apisecret": config.api_secret.get_secret_value(), "token": config.token.get_secret_value()}
    common = {key: value for key, value in secrets.items() if value}
    session = Session()
    async with open_link(config.url, "janus-protocol", common, session.on_message, session.on_lost) as link:
        for predecessor in predecessors:
            await _remove(link, predecessor)
        await session.start(link)
        keeper = asyncio.create_task(session.keep_alive())
        try:
            yield session
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            with suppress(RoomError):
                await link.call({"janus": "destroy", "session_id": session.id}, timeout=GOODBYE_SECONDS)
