"""The node's side of the zygote, and what is known of capture and render processes whoever started them."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from rokuga.errors import RokugaError
from rokuga.node.zygote import PRELOAD

LOOK_SECONDS = 1.0
"""How often to look after a process whose end nobody tells us of."""
TOLD_SECONDS = 10.0
"""And after one of whose end the zygote tells."""
CODE_SECONDS = 5.0
"""How long an exit code may come later than the end of its process."""
FORK_SECONDS = 30.0
"""A zygote answers within this, loading its libraries included."""


class ProcessError(RokugaError):
    """A process could not be started."""


class ZygoteDied(ProcessError):
    """The zygote ended before it answered."""


def alive(folder: Path, name: str) -> bool:
    """Whether that process of a generation lives: exact, by the lock that it holds."""
    try:
        fd = os.open(folder / f"{name}.pid", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def kill(folder: Path, name: str, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal that process if it lives."""
    if alive(folder, name):
        text = (folder / f"{name}.pid").read_text()
        if text.isdigit():
            try:
                os.kill(int(text), number)
            except ProcessLookupError:
                pass


class Zygote:
    """Starts the zygote when it is needed, and again if it dies; children do not care. ``async with``."""

    def __init__(self, preload: Sequence[str] = PRELOAD) -> None:
        self._preload = list(preload)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._ends: dict[int, asyncio.Event] = {}
        self._codes: dict[int, int] = {}
        self._next_id = 0
        self._lock = asyncio.Lock()
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> "Zygote":
        async with self._lock:
            await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def spawn(self, name: str, module: str, folder: Path, arguments: Sequence[Any] = ()) -> int:
        """Fork a child that runs ``module.run(Generation(folder), *arguments)``; its pid. Raises ProcessError."""
        async with self._lock:
            try:
                pid = await self._ask(name, module, folder, arguments)
            except ZygoteDied:
                # It may have died unnoticed so far; its end of the connection is told of only now.
                await self.close()
                pid = await self._ask(name, module, folder, arguments)
        self._log.info("started", process=name, pid=pid, folder=str(folder))
        return pid

    async def _ask(self, name: str, module: str, folder: Path, arguments: Sequence[Any]) -> int:
        if self._reading is None or self._reading.done():
            await self._start()
        assert self._writer is not None
        self._next_id += 1
        number = self._next_id
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        order = {"id": number, "name": name, "module": module, "folder": str(folder), "arguments": list(arguments)}
        try:
            self._writer.write(json.dumps(order).encode() + b"\n")
            await self._writer.drain()
            async with asyncio.timeout(FORK_SECONDS):
                pid: int = await answer
        except ConnectionError as error:
            raise ZygoteDied("the forkserver ended") from error
        except (OSError, TimeoutError) as error:
            raise ProcessError(f"{name} could not be started: {str(error) or 'no answer'}") from error
        finally:
            self._answers.pop(number, None)
        return pid

    async def ended(self, folder: Path, name: str, pid: int = 0) -> int | None:
        """Wait until that process of a generation has ended; its exit code if it was a child of this zygote."""
        while alive(folder, name):
            told = self._ends.get(pid)
            if told is None or told.is_set():
                await asyncio.sleep(LOOK_SECONDS)
                continue
            try:
                async with asyncio.timeout(TOLD_SECONDS):
                    await told.wait()
            except TimeoutError:
                pass
        if (told := self._ends.get(pid)) is not None:
            # The lock goes a moment before the exit code comes.
            try:
                async with asyncio.timeout(CODE_SECONDS):
                    await told.wait()
            except TimeoutError:
                pass
            self._ends.pop(pid, None)
        return self._codes.pop(pid, None)

    async def close(self) -> None:
        """End the zygote; its children live on."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            await self._reading
        if self._process is not None:
            await self._process.wait()

    async def _start(self) -> None:
        await self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rokuga.node.zygote", *self._preload, stdin=theirs.fileno(), start_new_session=True
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=1024 * 1024)
        self._reading = asyncio.create_task(self._read(reader), name="zygote")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._heard(json.loads(line))
        except ConnectionError:
            pass
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ZygoteDied("the forkserver ended"))
        # Nobody will tell us of its children's ends any more.
        for told in self._ends.values():
            told.set()
        self._ends.clear()

    def _heard(self, message: dict[str, Any]) -> None:
        answer = self._answers.get(message.get("id", 0))
        if answer is not None and not answer.done():
            if "pid" in message:
                self._ends[message["pid"]] = asyncio.Event()
                answer.set_result(message["pid"])
            else:
                answer.set_exception(ProcessError(message["error"]))
        elif "code" in message and message["pid"] in self._ends:
            self._codes[message["pid"]] = message["code"]
            self._ends[message["pid"]].set()
