"""``rokuga up``: a supervisor of the same roles that run apart on a cluster, with a Temporal and a Janus of its own.

It holds no media and no decisions. A part that dies is started again after a second, on the same ports. The parts end with it,
however it ends; captures and renders are not its children and live on for a while, so that the next start adopts them.
"""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import structlog

from rokuga import running, settings
from rokuga.config import Config, Janus, Temporal
from rokuga.embedded import EmbeddedJanus, EmbeddedTemporal
from rokuga.embedded.process import Child, ChildError
from rokuga.errors import ConfigError

RESTART_SECONDS = 1.0
READY_SECONDS = 60.0
NODE_EXTRA_SECONDS = 15.0
"""Beside ``recorder.shutdown_seconds``: leaving the rooms and closing the last segments."""
STOP_ORDER = ("node", "api", "control", "janus", "temporal")

S = TypeVar("S", Janus, Temporal)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Part:
    """One supervised process and how it is started."""

    child: Child
    start: Callable[[], Awaitable[None]]

    @property
    def name(self) -> str:
        return self.child.name


def lock(data: Path) -> int:
    """Take the data folder for this process alone; the answer is the descriptor that holds it. Raises ConfigError."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ConfigError([f"--data: {data} is in use by another `rokuga up`"]) from None
    return fd


class Supervisor:
    """Everything that one `rokuga up` runs. ``run`` returns the exit code."""

    def __init__(self, config: Config, data: Path) -> None:
        self._config = config
        self._data = data
        self._parts: dict[str, Part] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def signalled(self) -> None:
        """The first time: end in order; the second time: at once."""
        if self._stop.is_set():
            self._hurry.set()
        else:
            _log.info("ending")
            self._stop.set()

    async def run(self) -> int:
        """Start all, print the ready line, keep all alive until a signal, end all. Raises ChildError, ConfigError."""
        work = asyncio.create_task(self._work())
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait({work, hurry}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            _log.warning("a second signal: everything is killed; what was not uploaded goes up at the next start")
            return 1
        finally:
            for task in (work, hurry, *self._keepers):
                task.cancel()
            await asyncio.gather(work, hurry, *self._keepers, return_exceptions=True)
            for part in self._parts.values():
                await part.child.kill()

    async def _work(self) -> int:
        starting = asyncio.create_task(self._start())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                url = starting.result()
                self._write_run(url)
                print(f"ready {url}", flush=True)
                self._keepers = [asyncio.create_task(self._keep(part, url)) for part in self._parts.values()]
                await stopped
        finally:
            for task in (starting, stopped):
                task.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)
        await self._end()
        return 0

    async def _start(self) -> str:
        """Start the parts in order and wait until they answer; the answer is the API's address."""
        config = self._config
        earlier = running.earlier_ports(self._data)
        wanted = config.server.port or earlier.get("api", 0)
        server = config.server.model_copy(update={"port": await running.take_port(config.server.host, wanted)})
        config = config.model_copy(update={"server": server})
        servers = []
        if not config.temporal.address:
            temporal = EmbeddedTemporal(self._data / "temporal", _at(config.temporal, earlier.get("temporal", 0)))
            config = config.model_copy(update={"temporal": temporal.config})
            servers.append(Part(temporal.child, temporal.start))
        if not config.janus.url:
            janus = EmbeddedJanus(self._data / "janus", _at(config.janus, earlier.get("janus", 0)))
            config = config.model_copy(update={"janus": janus.config})
            servers.append(Part(janus.child, janus.start))
        try:
            async with asyncio.TaskGroup() as group:
                for part in servers:
                    group.create_task(self._begin(part))
        except* ChildError as failed:
            raise failed.exceptions[0] from None
        self._config = config
        effective = _in_memory(settings.dump(config))
        for role in ("control", "node", "api"):
            command = [sys.executable, "-m", "rokuga", role, "--data", str(self._data), "--effective-config", str(effective)]
            patience = config.recorder.shutdown_seconds + NODE_EXTRA_SECONDS if role == "node" else 10.0
            child = Child(role, command, None, pass_fds=(effective,), stop_seconds=patience)
            await self._begin(Part(child, child.start))
        url = running.api_url(config)
        await self._ready(url)
        return url

    async def _begin(self, part: Part) -> None:
        self._parts[part.name] = part
        await part.start()
        _log.info("started", part=part.name, pid=part.child.pid)

    async def _ready(self, url: str) -> None:
        """Wait for the API's /readyz. Raises ChildError if a part ends before or it takes too long."""
        ends: dict[asyncio.Future[int | None], str] = {}
        for part in self._parts.values():
            ends[asyncio.create_task(part.child.wait())] = part.name
        answering: asyncio.Future[int | None] = asyncio.create_task(self._answering(url))
        try:
            done, _ = await asyncio.wait({answering, *ends}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise ChildError(f"the API did not become ready within {READY_SECONDS:.0f} s; see {self._data / 'log'}")
            for task in done:
                if task in ends:
                    raise ChildError(f"{ends[task]} ended with {task.result()}; see {self._data / 'log'}")
        finally:
            for task in (answering, *ends):
                task.cancel()
            await asyncio.gather(answering, *ends, return_exceptions=True)

    async def _answering(self, url: str) -> None:
        """Returns when the API says that it is ready."""
        # The certificate may be for the public name only; this asks our own child.
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=5) as client:
            while True:
                with suppress(httpx.TransportError):
                    if (await client.get(f"{url}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    async def _keep(self, part: Part, url: str) -> None:
        while True:
            code = await part.child.wait()
            _log.warning("ended by itself, starts again", part=part.name, exit_code=code)
            while True:
                await asyncio.sleep(RESTART_SECONDS)
                try:
                    await part.start()
                    break
                except (ChildError, OSError) as error:
                    _log.error("does not start", part=part.name, error=str(error))
            self._write_run(url)

    def _write_run(self, url: str) -> None:
        """Where everything is, for tools on this machine; no secrets."""
        facts = {
            "api": url,
            "janus": self._config.janus.url,
            "temporal": self._config.temporal.address,
            "pids": {"up": os.getpid()} | {part.name: part.child.pid for part in self._parts.values()},
        }
        running.write(self._data, facts)

    async def _end(self) -> None:
        """In order: first the node, so that recordings end and upload while the rest still answers; control sends their last callbacks."""
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for name in STOP_ORDER:
            if name in self._parts:
                await self._parts[name].child.stop()
                _log.info("stopped", part=name)
        (self._data / running.RUN_FILE).unlink(missing_ok=True)


def _at(section: S, port: int) -> S:
    """The section with that port where it leaves it open."""
    return section if section.port else section.model_copy(update={"port": port})


def _in_memory(text: str) -> int:
    """A descriptor of a file that exists in memory only."""
    fd = os.memfd_create("rokuga-config")
    os.write(fd, text.encode())
    return fd


async def up(config: Config, data: Path) -> int:
    """Run everything until SIGTERM or SIGINT; the answer is the exit code. Raises ChildError, ConfigError."""
    supervisor = Supervisor(config, data)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.signalled)
    return await supervisor.run()
