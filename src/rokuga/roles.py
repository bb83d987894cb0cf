"""Composition roots: what each role is made of. A role runs until it is cancelled and ends in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rokuga.config import Config
from rokuga.folders import DataFolder

Main = Callable[[Config, Path], Coroutine[Any, Any, None]]


async def until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` and cancel it at the first SIGTERM or SIGINT; further ones change nothing. Raises what ends it before."""
    working = asyncio.create_task(work)
    stopping = asyncio.Event()

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            working.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await working
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise


async def api(config: Config, data: Path) -> None:
    """HTTP in, tasks out."""
    from rokuga.api.server import serve
    from rokuga.control.client import TaskClient
    from rokuga.control.codec import connect
    from rokuga.control.model import CONTROL_QUEUE, StoreTarget
    from rokuga.control.near import Near
    from rokuga.health import polled
    from rokuga.storage import stores

    client = await connect(config.temporal, config.temporal.address)

    async def probe(target: StoreTarget, task_id: str) -> None:
        await stores.probe(target, task_id, config.stores, data)

    async def ready() -> bool:
        return await polled(client, CONTROL_QUEUE, "workflow")

    async with Near(DataFolder(data)) as near:
        tasks = TaskClient(client, near)
        try:
            await serve(config, DataFolder(data), tasks, probe, ready)
        finally:
            await tasks.settle()


async def control(config: Config, data: Path) -> None:
    """Workflows and callbacks."""
    from rokuga.control.codec import connect
    from rokuga.control.worker import run_worker

    await run_worker(config, await connect(config.temporal, config.temporal.address), DataFolder(data))


async def node(config: Config, data: Path) -> None:
    """Recordings."""
    from rokuga.control.codec import connect
    from rokuga.node.main import run

    if config.recorder.metrics:
        from prometheus_client import start_http_server

        host, _, port = config.recorder.metrics.rpartition(":")
        start_http_server(int(port), host.strip("[]"))
    await run(config, DataFolder(data), await connect(config.temporal, config.temporal.address))


ROLES: dict[str, Main] = {"api": api, "control": control, "node": node}
