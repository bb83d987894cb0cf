"""The node's connection to one capture process: requests with answers, and its events (``rokuga.ipc``)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rokuga import ipc
from rokuga.errors import RokugaError


class LinkError(RokugaError):
    """Capture refused, did not answer in time, or is gone; the message says which."""


class CaptureLink:
    """``await CaptureLink.connect(…)``; ``run`` reads until capture closes, then ``closed`` is set."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_event: Callable[[ipc.Message], Awaitable[None]]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._answers: dict[int, asyncio.Future[ipc.Message]] = {}
        self._next_id = 0
        self.closed = asyncio.Event()

    @staticmethod
    async def connect(path: Path, on_event: Callable[[ipc.Message], Awaitable[None]]) -> "CaptureLink":
        """Raises OSError if nobody listens."""
        reader, writer = await ipc.connect(path)
        return CaptureLink(reader, writer, on_event)

    async def request(self, do: str, seconds: float, **fields: Any) -> ipc.Message:
        """Ask and wait for the answer. Raises LinkError."""
        if self.closed.is_set():
            raise LinkError("capture is gone")
        self._next_id += 1
        number = self._next_id
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await ipc.send(self._writer, {**fields, "do": do, "id": number})
                answer: ipc.Message = await future
        except TimeoutError:
            raise LinkError(f"capture did not answer {do} within {seconds:.0f} s") from None
        except ConnectionError as error:
            raise LinkError("capture is gone") from error
        finally:
            self._answers.pop(number, None)
        if not answer.get("ok"):
            raise LinkError(str(answer.get("error") or "refused"))
        return answer

    async def run(self) -> None:
        """Take in answers and events until capture closes the connection."""
        try:
            while (message := await ipc.receive(self._reader)) is not None:
                if "event" in message:
                    await self._on_event(message)
                    continue
                future = self._answers.get(message.get("id", 0))
                if future is not None and not future.done():
                    future.set_result(message)
        finally:
            self.closed.set()
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(LinkError("capture is gone"))
            self._writer.close()
