"""Between a node and the capture and render processes of its tasks: one JSON object a line over a unix socket.

Node to capture (each carries ``id``; the answer has the same ``id`` and ``ok`` true, or ``ok`` false and ``error``)::

    {"do": "start", "id": 1, "params": {...}, "version": 1, "room": {...}}   once, first; answered when the bot is in the room
    {"do": "apply", "id": 2, "version": 3, "params": {...}}                 answered {"media_ns": ...}: ns since the epoch
    {"do": "stop", "id": 3, "leave_code": 0, "cause": "deleted"}            answered when the journal has its end
    {"do": "status", "id": 4}                                               answered with a Status

Capture to node, unasked::

    {"event": "flow", "active": true}      media began (or, 5 s after the last packet, ceased) to arrive
    {"event": "ended", "leave_code": 99, "cause": "..."}   the journal has its end and the process exits

Sockets are reached through /proc/self/fd, because a unix socket's path holds 107 bytes at most and data folders are longer.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

Message = dict[str, Any]
LINE_BYTES = 1024 * 1024


@asynccontextmanager
async def _short(path: Path) -> AsyncIterator[str]:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)


async def serve(path: Path, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> asyncio.Server:
    """Listen on a unix socket at ``path`` (mode 0600); a stale one of a dead process is replaced."""
    path.unlink(missing_ok=True)
    async with _short(path) as short:
        before = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(handler, short, limit=LINE_BYTES)
        finally:
            os.umask(before)


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the socket at ``path``. Raises OSError if nobody listens there."""
    async with _short(path) as short:
        return await asyncio.open_unix_connection(short, limit=LINE_BYTES)


async def send(writer: asyncio.StreamWriter, message: Message) -> None:
    """Send one message. Raises ConnectionError if the peer is gone."""
    writer.write(json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message, None when the peer has closed."""
    try:
        line = await reader.readline()
    except ConnectionError:
        return None
    if not line.endswith(b"\n"):
        return None
    message: Message = json.loads(line)
    return message
