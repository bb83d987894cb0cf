"""A callback receiver: a real HTTP server that notes what it got and answers what the test says."""

import asyncio
import json
import ssl
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from tests.kit.servers import Listener


@dataclass(frozen=True)
class Got:
    """One request. ``status`` is what it was answered."""

    path: str
    headers: dict[str, str]
    raw: bytes
    status: int

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.raw)
        return body

    @property
    def type(self) -> int:
        return int(self.body["EventType"])


class Receiver:
    """``async with``: listens on ``port``. ``status`` per path is what it answers (200), 0: never."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._stack = AsyncExitStack()
        self.port = 0
        self.status: defaultdict[str, int] = defaultdict(lambda: 200)
        self.got: list[Got] = []
        self.news = asyncio.Event()

    async def __aenter__(self) -> "Receiver":
        self.port = (await self._stack.enter_async_context(Listener(self._serve, ssl=self._tls))).port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def url(self, path: str) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{path}"

    def taken(self, path: str) -> list[Got]:
        """What was answered 200 on ``path``, in order."""
        return [g for g in self.got if g.path == path and g.status == 200]

    def types(self, path: str) -> list[int]:
        return [g.type for g in self.taken(path)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readline()).decode().split()
            headers: dict[str, str] = {}
            while line := (await reader.readline()).decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            raw = await reader.readexactly(int(headers["content-length"]))
            status = self.status[request[1]]
            self.got.append(Got(request[1], headers, raw, status))
            self.news.set()
            if status == 0:
                await reader.read()
                return
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 10\r\nConnection: close\r\n\r\n".encode() + b'{"code":0}')
            await writer.drain()
        except ConnectionError:
            pass
