"""Runs the GStreamer peer and speaks to Janus on its behalf: signalling costs it nothing."""

import asyncio
import json
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from rokuga.config import Janus
from rokuga.embedded.process import die_with_parent
from rokuga.errors import RokugaError, RoomError
from rokuga.room.link import Message
from rokuga.room.session import Handle, open_session

PYTHON = "/usr/bin/python3"
ANSWER_SECONDS = 20.0


class PeerError(RokugaError):
    """GStreamer does not do what it shall."""


def gstreamer_version() -> str:
    """Raises PeerError if it is not installed."""
    ask = "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst; print(Gst.version_string())"
    said = subprocess.run([PYTHON, "-c", ask], capture_output=True, text=True, check=False)
    if said.returncode:
        raise PeerError("GStreamer is not installed (make bench-single installs it)")
    return said.stdout.strip()


class _Offer:
    """A subscriber handle's listener: keeps the offer."""

    def __init__(self) -> None:
        self.sdp = ""

    def message(self, message: Message) -> None:
        if message.get("jsep", {}).get("type") == "offer":
            self.sdp = message["jsep"]["sdp"]

    def lost(self, error: RoomError) -> None:
        pass


class GStreamer:
    """``async with``: records ``users`` of ``room`` into ``folder``; ``channels`` of the AAC: "1", "2" or "native".

    Raises PeerError, RoomError.
    """

    def __init__(self, janus: Janus, room: str, users: list[str], folder: Path, segment_seconds: float, channels: str) -> None:
        self._janus = janus
        self._room = room
        self._users = users
        self._folder = folder
        self._arguments = [str(folder), str(segment_seconds), channels]
        self._stack = AsyncExitStack()
        self._process: asyncio.subprocess.Process
        self.version = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True)
        async with AsyncExitStack() as stack:
            script = Path(__file__).with_name("gstreamer.py")
            with (self._folder / "stderr.log").open("wb") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *[PYTHON, str(script), *self._arguments],
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    limit=1024 * 1024,
                    preexec_fn=die_with_parent,
                )
            stack.push_async_callback(self._end)
            self.version = (await self._read())["version"]
            session = await stack.enter_async_context(open_session(self._janus))
            for user in self._users:
                offer = _Offer()
                handle = await session.attach(offer)
                await self._subscribe(handle, offer, user)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def _subscribe(self, handle: Handle, offer: _Offer, user: str) -> None:
        body: Message = {"request": "join", "ptype": "subscriber", "room": self._room, "use_msid": False, "streams": [{"feed": user}]}
        await handle.request(body)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"user": user, "offer": offer.sdp}).encode() + b"\n")
        answer = await self._read()
        if answer.get("user") != user or "answer" not in answer:
            raise PeerError(f"GStreamer said {answer}")
        await handle.request({"request": "start"}, {"type": "answer", "sdp": answer["answer"]})

    async def _read(self) -> dict[str, str]:
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise PeerError(f"GStreamer ended; see {self._folder}/stderr.log")
        message: dict[str, str] = json.loads(line)
        return message

    async def _end(self) -> None:
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
