"""`rokuga.client` over connections of its own: httpx takes 3 to 4 ms a call of the very cores whose share is measured, this takes one."""

import asyncio
import json
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from rokuga.client import TIMEOUT, CallError, Client, Unavailable, error_of

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LeanClient(Client):
    """HTTP/1.1 to a server that answers with a Content-Length and keeps connections open. Nothing is tried again."""

    def __init__(self, url: str, secret_id: str, secret_key: str, sdk_app_id: int) -> None:
        super().__init__(url, secret_id, secret_key, sdk_app_id, sleep=_refuse)
        address = urlsplit(url)
        self._address = (address.hostname, address.port)
        self._free: list[Line] = []

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for _, writer in self._free:
            writer.close()
        await super().__aexit__(kind, error, trace)

    async def _try(self, action: str, body: bytes) -> dict[str, Any]:
        head = "".join(f"{name}: {value}\r\n" for name, value in self._headers(action, body).items())
        request = f"POST / HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        try:
            async with asyncio.timeout(TIMEOUT):
                line = self._kept() or await asyncio.open_connection(*self._address)
                answer = await _exchange(line, request)
        except (OSError, EOFError, TimeoutError) as error:
            raise Unavailable("NoAnswer", f"no answer to {action}: {error!r}") from None
        self._free.append(line)
        told: dict[str, Any] = json.loads(answer)["Response"]
        if "Error" in told:
            raise error_of(told["Error"]["Code"], told["Error"]["Message"], told.get("RequestId", ""))
        return told

    def _kept(self) -> Line | None:
        """A connection from before that the server has not closed meanwhile."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None


async def _exchange(line: Line, request: bytes) -> bytes:
    """The answer's body. Raises OSError, EOFError; the connection is closed then."""
    reader, writer = line
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        return await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    except BaseException:
        writer.close()
        raise


async def _refuse(_: float) -> None:
    """A call that would have to be tried again counts as an error."""
    raise CallError("InternalError", "the first try failed")
