"""A child process that is ended by id, and free ports for it."""

import asyncio
import ctypes
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from rokuga.errors import RokugaError

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
PORTS = range(12_000, 32_000)
PORT_TRIES = 1000
_PR_SET_PDEATHSIG = 1


class ChildError(RokugaError):
    """A child process did not come up, or ended by itself; the message says which and where its log lies."""


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that is free at this moment, below the range that outgoing connections take theirs from.

    A server that is started again on its port must not find a connection there. Raises ChildError if none is free.
    """
    for _ in range(PORT_TRIES):
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise ChildError(f"no free port on {host}")


def program(name: str) -> str:
    """Path of a program: beside the running Python first (wheels put theirs there), then on PATH. Raises ChildError."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ChildError(f"{name} is not installed (make setup installs it)")
    return found


def die_with_parent() -> None:
    """For a child, between fork and exec: end when the parent does, however that happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def answers(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


class Child:
    """One child process: started with its output in a log file (None: on our stderr), waited for, ended by id.

    It leads a session of its own, so that a Ctrl-C in the terminal reaches us alone and we decide the order of ending.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path | None,
        env: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._log = log
        self._env = env
        self._pass_fds = tuple(pass_fds)
        self._stop_seconds = stop_seconds
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self, ready: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Start and wait until ``ready()``. Raises ChildError if it ends before or takes more than READY_SECONDS."""
        with self._output() as out:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._env,
                pass_fds=self._pass_fds,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        if ready is None:
            return
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await ready():
                    if self._process.returncode is not None:
                        raise ChildError(f"{self.name} ended with {self._process.returncode}{self._see}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.stop()
            raise ChildError(f"{self.name} was not ready after {READY_SECONDS:.0f} s{self._see}") from None

    def _output(self) -> BinaryIO:
        if self._log is None:
            return os.fdopen(os.dup(2), "wb")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return self._log.open("ab")

    @property
    def _see(self) -> str:
        return f"; see {self._log}" if self._log else ""

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL; returns when it is gone."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()
