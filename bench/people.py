"""Users who publish into a room, in processes of their own so that they disturb nothing that is measured."""

import asyncio
import json
import logging
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog

from bench.layered import LayeredPublisher
from rokuga.config import Janus
from rokuga.embedded.process import die_with_parent
from rokuga.errors import RokugaError
from rokuga.publish import Clip, Publisher, generate, look_of
from rokuga.publish.run import cache_folder

PER_PROCESS = 5
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
        self._processes: list[asyncio.subprocess.Process] = []
        self.users: list[str] = []

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(clip)
        await asyncio.to_thread(small_clip)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(process.wait() for process in self._processes))

    async def grow(self, count: int) -> None:
        """Until ``count`` users publish."""
        while len(self.users) < count:
            names = [f"user {number + 1}" for number in range(len(self.users), min(count, len(self.users) + PER_PROCESS))]
            process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "bench.people", self._room, *names, *self._layered],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
            self._processes.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(_plain(self._janus)).encode() + b"\n")
            async with asyncio.timeout(READY_SECONDS):
                if await process.stdout.readline() != b"ready\n":
                    raise CrowdError(f"{names} cannot publish")
            self.users += names


def _plain(janus: Janus) -> dict[str, Any]:
    secrets = ("api_secret", "token", "room_secret", "room_pin", "admin_secret", "admin_key")
    return janus.model_dump() | {name: getattr(janus, name).get_secret_value() for name in secrets}


async def _publish(room: str, names: list[str], layered: bool) -> None:
    """Until standard input ends. Its first line is the ``[janus]`` section."""
    loud = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=loud, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    janus = Janus(**json.loads(sys.stdin.readline()))
    sent = clip()
    async with AsyncExitStack() as stack:
        for name in names:
            publisher = LayeredPublisher(janus, room, name, sent, small_clip()) if layered else Publisher(janus, room, name, sent)
            await stack.enter_async_context(publisher)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_publish(sys.argv[1], [name for name in sys.argv[2:] if name != "--layered"], "--layered" in sys.argv))
