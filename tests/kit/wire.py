"""A TCP relay in front of a server, to be cut and mended as a whole or in part."""

import asyncio
from contextlib import suppress


class Wire:
    """``mend`` opens it. ``forbidden``: a connection over which the server says this is cut at once, also if it is a new one.

    ``lose`` answers are lost: the connection over which the next one begins to come is cut instead.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._heard: dict[asyncio.StreamWriter, bytes] = {}
        self.port = 0
        self.lose = 0
        self._forbidden = b""

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Connections end, new ones are refused."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    def forbid(self, text: bytes) -> int:
        """From now on, and for those connections over which it has been said before; how many those were."""
        self._forbidden = text
        known = [writer for writer, heard in self._heard.items() if text in heard]
        for writer in known:
            writer.transport.abort()
        return len(known)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        self._heard[writer] = b""
        try:
            await asyncio.gather(self._pump(reader, behind_writer), self._pump(behind_reader, writer, behind_writer))
        finally:
            del self._heard[writer]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: asyncio.StreamWriter | None = None) -> None:
        """To ``writer``; ``behind`` is given for what the server says: the way back to it."""
        self._writers.add(writer)
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if behind is not None and self._stops(writer, data):
                    writer.transport.abort()
                    behind.transport.abort()
                    break
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _stops(self, writer: asyncio.StreamWriter, data: bytes) -> bool:
        if self.lose:
            self.lose -= 1
            return True
        self._heard[writer] += data
        return bool(self._forbidden) and self._forbidden in self._heard[writer]
