"""A callback receiver as a customer has one: takes events and checks their ``Sign``."""

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rokuga.embedded.process import free_port

NAMES = {
    301: "recorder started",
    302: "recorder stopped",
    303: "upload started",
    304: "index file in the store",
    305: "upload ended",
    306: "another recorder took over",
    307: "first segment cut",
    308: "store refuses",
}


@dataclass(frozen=True)
class Event:
    type: int
    payload: dict[str, Any]
    signed: bool
    """whether its Sign was right"""

    def __str__(self) -> str:
        what = self.payload.get("FileName") or self.payload.get("FileList") or " ".join(f"{k} {v}" for k, v in self.payload.items())
        return f"{self.type} {NAMES.get(self.type, '')}: {what}"


@dataclass
class Receiver:
    """``async with``: listens on ``url``. ``events`` are all that came, in order; ``wait`` waits for a kind of them."""

    key: str
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._came = asyncio.Condition()
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def wait(self, *types: int, seconds: float) -> Event | None:
        """The first event of one of these types, None if none came in time."""
        try:
            async with asyncio.timeout(seconds), self._came:
                while True:
                    for event in self.events:
                        if event.type in types:
                            return event
                    await self._came.wait()
        except TimeoutError:
            return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection: head, body by Content-Length, an answer, the end."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            await self._take(headers, body)
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{"code":0}')
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            return
        finally:
            writer.close()

    async def _take(self, headers: dict[str, str], body: bytes) -> None:
        sign = base64.b64encode(hmac.digest(self.key.encode(), body, hashlib.sha256)).decode()
        told = json.loads(body)
        event = Event(told["EventType"], told["EventInfo"]["Payload"], hmac.compare_digest(sign, headers.get("sign", "")))
        async with self._came:
            self.events.append(event)
            self._came.notify_all()
