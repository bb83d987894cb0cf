"""A customer's callback receiver: real HTTP, keeps each request as it came, and can refuse or be closed."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.kit.seaweed import free_ports
from tests.kit.servers import Listener


@dataclass(frozen=True)
class Request:
    """One request as received: ``at`` is the wall time in seconds, ``answered`` the status that it got."""

    at: float
    headers: dict[str, str]
    body: bytes
    answered: int

    @property
    def told(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def type(self) -> int:
        value: int = self.told["EventType"]
        return value

    @property
    def info(self) -> dict[str, Any]:
        value: dict[str, Any] = self.told["EventInfo"]
        return value

    @property
    def payload(self) -> dict[str, Any]:
        value: dict[str, Any] = self.info["Payload"]
        return value

    @property
    def task_id(self) -> str:
        return str(self.info["TaskId"])

    def signed(self, key: str) -> bool:
        """Whether Sign is Base64(HMAC-SHA256(key, body)), computed here from the definition."""
        return self.headers.get("sign") == base64.b64encode(hmac.digest(key.encode(), self.body, hashlib.sha256)).decode()


@dataclass
class Receiver:
    """``async with``: listens on ``url``. ``status`` is what it answers with; ``close`` and ``open`` keep the port."""

    status: int = 200
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._port = free_ports(1)[0]
        self._stack = AsyncExitStack()
        self._came = asyncio.Condition()
        self.url = f"http://127.0.0.1:{self._port}/callback"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def open(self) -> None:
        await self._stack.enter_async_context(Listener(self._serve, self._port))

    async def close(self) -> None:
        """Nobody listens any more."""
        await self._stack.aclose()

    def events(self, task_id: str = "") -> list[Request]:
        """What was taken (answered 200), in order of arrival, of one task or of all."""
        return [r for r in self.requests if r.answered == 200 and task_id in ("", r.task_id)]

    def types(self, task_id: str = "") -> list[int]:
        return [request.type for request in self.events(task_id)]

    async def wait_for(self, *types: int, task_id: str = "", count: int = 1, seconds: float = 60) -> list[Request]:
        """The first ``count`` events of these types, as soon as they are here. Raises TimeoutError, naming what came."""

        def found() -> list[Request]:
            return [event for event in self.events(task_id) if event.type in types]

        await self._wait(lambda: len(found()) >= count, seconds, f"{count} of {types}; came: {self.types(task_id)}")
        return found()[:count]

    async def _wait(self, enough: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            async with asyncio.timeout(seconds), self._came:
                await self._came.wait_for(enough)
        except TimeoutError:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}; now {self.types()}") from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            async with self._came:
                self.requests.append(Request(time.time(), headers, body, self.status))
                self._came.notify_all()
            answer = b'{"code":0}'
            writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode() + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
