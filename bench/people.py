"""Users who publish into a room, in a process of their own, cheaply, so that they disturb little that is measured."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog

from bench.layered import LayeredPublisher
from bench.sender import PacedPublisher, Pacer
from rokuga.config import Janus
from rokuga.embedded.process import die_with_parent
from rokuga.errors import RokugaError
from rokuga.publish import Clip, generate, look_of
from rokuga.publish.run import cache_folder

READY_SECONDS = 60.0


class CrowdError(RokugaError):
    """The users do not come."""


def clip() -> Clip:
    """What each user sends: H.264 640x360 at 15 pictures a second, 0.8 Mb/s, and Opus."""
    return generate(look_of("bench", flash=False), cache_folder())


def small_clip() -> Clip:
    """The lower layer of a camera that sends two."""
    return generate(look_of("bench", flash=False, width=320, height=180, bitrate=200_000), cache_folder())


@dataclass(frozen=True)
class Rates:
    """Of a clip: pictures a second, and kilobits a second of the video."""

    pictures: float
    video: float


def rates(sent: Clip) -> Rates:
    return Rates(len(sent.video) / sent.seconds, sum(len(u.data) for u in sent.video) * 8 / sent.seconds / 1000)


class Crowd:
    """``async with``: users in ``room``. ``grow`` lets more come; they stay until the end. Raises CrowdError.

    ``layered``: they send a second, small picture, as browsers with simulcast do.
    """

    def __init__(self, janus: Janus, room: str, layered: bool = False) -> None:
        self._layered = ["--layered"] if layered else []
        self._janus = janus
        self._room = room
        self._process: asyncio.subprocess.Process
        self.users: list[str] = []

    @property
    def pid(self) -> int:
        """Of the process that all of them are in: one wakes up more seldom than several."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(clip)
        await asyncio.to_thread(small_clip)
        self._process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "bench.people", self._room, *self._layered],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self._tell(_plain(self._janus))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def grow(self, count: int) -> None:
        """Until ``count`` users publish."""
        names = [f"user {number + 1}" for number in range(len(self.users), count)]
        self._tell(names)
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            if await self._process.stdout.readline() != b"ready\n":
                raise CrowdError(f"{names} cannot publish")
        self.users += names

    def _tell(self, message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")


def _plain(janus: Janus) -> dict[str, Any]:
    secrets = ("api_secret", "token", "room_secret", "room_pin", "admin_secret", "admin_key")
    return janus.model_dump() | {name: getattr(janus, name).get_secret_value() for name in secrets}


async def _orders() -> AsyncIterator[Any]:
    """What ``Crowd`` tells, until it says no more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def _publish(room: str, layered: bool) -> None:
    """The first order is the ``[janus]`` section, each other one the names of users who come."""
    loud = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=loud, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    orders, pacer, large, small = _orders(), Pacer(), clip(), small_clip()
    janus = Janus(**await anext(orders))
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        pacing = group.create_task(pacer.run())
        async for names in orders:
            for name in names:
                user = (
                    LayeredPublisher(pacer, janus, room, name, large, small) if layered else PacedPublisher(pacer, janus, room, name, large)
                )
                await stack.enter_async_context(user)
            print("ready", flush=True)
        await stack.aclose()
        pacing.cancel()


if __name__ == "__main__":
    asyncio.run(_publish(sys.argv[1], "--layered" in sys.argv))
