"""The capture process' end of its unix socket: requests in, events out to every node connection (``rokuga.ipc``)."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rokuga import clock, ipc

Handler = Callable[[ipc.Message], Awaitable[ipc.Message]]
SEND_SECONDS = 2.0
"""A node that does not read for so long is cut off; it will connect again."""


class ControlServer:
    """``async with``. ``handler`` answers one request (without ``id``); requests of a connection are handled one by one."""

    def __init__(self, path: Path, handler: Handler, log: Any) -> None:
        self._path = path
        self._handler = handler
        self._log = log
        self._server: asyncio.Server | None = None
        self._peers: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self._busy = 0
        self.alone_since_ns: int | None = clock.monotonic_ns()
        """since when no node is connected, monotonic; None while one is"""

    async def __aenter__(self) -> Self:
        self._server = await ipc.serve(self._path, self._serve)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [t for t in self._peers.values() if t is not None and t is not asyncio.current_task()]
        for writer in list(self._peers):
            writer.close()
        if tasks:
            await asyncio.wait(tasks, timeout=SEND_SECONDS)
        if self._server is not None:
            await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def settle(self, seconds: float = 1.0) -> None:
        """Until every request that is being handled has been answered, for a while at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._busy:
                    await asyncio.sleep(0.01)

    async def broadcast(self, message: ipc.Message) -> None:
        """Send an event to every connected node; one that is gone misses it and asks for the status when it is back."""
        for writer in list(self._peers):
            await self._send(writer, message)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers[writer] = asyncio.current_task()
        self.alone_since_ns = None
        try:
            while (message := await ipc.receive(reader)) is not None:
                self._busy += 1
                try:
                    answer = await self._handler(message)
                    await self._send(writer, {"id": message.get("id"), **answer})
                finally:
                    self._busy -= 1
        except (ConnectionError, json.JSONDecodeError, asyncio.LimitOverrunError, ValueError) as error:
            self._log.warning("node connection given up", error=repr(error))
        finally:
            del self._peers[writer]
            if not self._peers:
                self.alone_since_ns = clock.monotonic_ns()
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, message: ipc.Message) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await ipc.send(writer, message)
        except (ConnectionError, TimeoutError) as error:
            self._log.warning("node does not read", error=repr(error))
            writer.close()
