"""Composition roots: what each role is made of. A role runs until SIGTERM or SIGINT and ends in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from rokuga.config import Config

_log = structlog.get_logger(__name__)

Main = Callable[[Config, Path], Awaitable[None]]


async def until_signal(main: Main, config: Config, data: Path) -> None:
    """Run a role's ``main``; the first SIGTERM or SIGINT cancels it, later ones change nothing."""
    task = asyncio.ensure_future(main(config, data))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise


async def api(config: Config, data: Path) -> None:
    """HTTP in, tasks out."""
    raise NotImplementedError


async def control(config: Config, data: Path) -> None:
    """Workflows and callbacks."""
    raise NotImplementedError


async def node(config: Config, data: Path) -> None:
    """Recordings."""
    raise NotImplementedError


ROLES: dict[str, Main] = {"api": api, "control": control, "node": node}
