"""One WebSocket to a Janus: transactions with timeouts, and everything else that it says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from rokuga.errors import RoomError

Message = dict[str, Any]
_log = structlog.get_logger(__name__)

CONNECT_SECONDS = 3.0
REPLY_SECONDS = 5.0
PING_SECONDS = 5.0
PONG_SECONDS = 10.0
MAX_MESSAGE = 8 * 1024 * 1024
"""The answer to a join lists every publisher with all its streams."""


class Link:
    """An open WebSocket. ``common`` goes into every request (secrets); ``on_message`` gets what is no plain answer, in order.

    When the socket closes, or ``fail`` is called, all pending calls raise, and ``on_lost`` is called once.
    """

    def __init__(
        self,
        socket: ClientConnection,
        common: dict[str, str],
        on_message: Callable[[Message], None],
        on_lost: Callable[[RoomError], None],
    ) -> None:
        self._socket = socket
        self._common = common
        self._on_message = on_message
        self._on_lost = on_lost
        self._pending: dict[str, tuple[asyncio.Future[Message], bool]] = {}
        self._count = 0
        self.lost: RoomError | None = None

    async def call(self, request: Message, *, ack: bool = False, timeout: float = REPLY_SECONDS) -> Message:
        """Send and wait for the final answer (``ack``: for the acknowledgement, where nothing else follows).

        Raises RoomError: Janus' code and reason, or code 0 if it did not answer.
        """
        if self.lost is not None:
            raise self.lost
        self._count += 1
        transaction = str(self._count)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[transaction] = (future, ack)
        try:
            async with asyncio.timeout(timeout):
                await self._socket.send(json.dumps({**request, **self._common, "transaction": transaction}))
                reply = await future
        except TimeoutError:
            raise RoomError(0, f"no answer to {request['janus']} within {timeout:.0f} s") from None
        except ConnectionClosed as error:
            raise RoomError(0, f"the link is closed: {error}") from None
        finally:
            del self._pending[transaction]
            if future.done() and not future.cancelled():
                future.exception()  # seen, also if sending had failed before
        if reply["janus"] == "error":
            raise RoomError(reply["error"]["code"], reply["error"]["reason"])
        return reply

    def fail(self, error: RoomError) -> None:
        """Nothing can be asked from now on; pending calls raise ``error``. Only the first call counts."""
        if self.lost is not None:
            return
        self.lost = error
        for future, _ in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self._on_lost(error)

    async def read(self) -> None:
        """Take in messages until the socket closes."""
        error = RoomError(0, "Janus closed the link")
        try:
            async for text in self._socket:
                message = _parse(text)
                if message is None:
                    error = RoomError(0, "what answers there does not speak Janus' language")
                    break
                self._dispatch(message)
        except (LookupError, TypeError, ValueError, asyncio.QueueFull) as odd:
            # A listener could make nothing of it. Whoever closes the link must not be hit by that.
            _log.error("a message that cannot be understood ends the link", exc_info=odd)
            error = RoomError(0, f"a message that cannot be understood: {odd!r}")
        except ConnectionClosed as closed:
            error = RoomError(0, f"the link broke: {closed}")
        finally:
            self.fail(error)

    def _dispatch(self, message: Message) -> None:
        kind = message["janus"]
        if kind not in ("ack", "success", "error"):
            self._on_message(message)
        future, ack = self._pending.get(message.get("transaction", ""), (None, False))
        if future is not None and not future.done() and (ack or kind != "ack"):
            future.set_result(message)


def _parse(text: str | bytes) -> Message | None:
    try:
        message: Message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "janus" in message else None


def _ignore(_: object) -> None:
    return None


@asynccontextmanager
async def open_link(
    url: str,
    protocol: str,
    common: dict[str, str],
    on_message: Callable[[Message], None] = _ignore,
    on_lost: Callable[[RoomError], None] = _ignore,
) -> AsyncIterator[Link]:
    """Connect to ``url`` (never through a proxy). Raises RoomError 0 if nobody answers there."""
    try:
        socket = await connect(
            url,
            subprotocols=[Subprotocol(protocol)],
            proxy=None,
            compression=None,
            open_timeout=CONNECT_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            close_timeout=1,
            max_size=MAX_MESSAGE,
        )
    except (OSError, TimeoutError, WebSocketException) as error:
        raise RoomError(0, f"no Janus at {url}: {error}") from None
    link = Link(socket, common, on_message, on_lost)
    reader = asyncio.create_task(link.read())
    try:
        yield link
    finally:
        await socket.close()
        await reader
