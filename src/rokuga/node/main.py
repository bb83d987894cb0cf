"""The node role: polls its queues, and supervises the generations that it records."""

import asyncio
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from rokuga.config import Config
from rokuga.control.model import NODES_QUEUE, node_queue
from rokuga.errors import ConfigError
from rokuga.folders import DataFolder
from rokuga.node import door
from rokuga.node.activities import Activities
from rokuga.node.node import Node
from rokuga.node.processes import Zygote
from rokuga.node.recorder import Services
from rokuga.storage.gate import Slots

ROOM_SECONDS = 0.25
BEAT = timedelta(seconds=1)
"""The SDK's own throttle (0.8 of the timeout) is too lazy."""
_log = structlog.get_logger(__name__)


async def run(config: Config, data: DataFolder, client: Client) -> None:
    """Until cancelled; recordings then end in order and what cannot be uploaded in time stays in the spool.

    Raises ConfigError if another node has the data folder, OSError if the folder refuses.
    """
    data.tasks.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(data.root / "node.lock"):
        node_id = own_id(data.root / "node-id")
        async with Zygote() as zygote:
            node = Node(node_id, Services(config, data, client, zygote, Slots()))
            async with door.opened(node, data.door):
                await serve(node, client)


async def serve(node: Node, client: Client) -> None:
    """Poll the queues for ``node`` until cancelled, then close it."""
    activities = Activities(node)
    own = Worker(
        client,
        task_queue=node_queue(node.node_id),
        activities=activities.own,
        max_concurrent_activities=1000,
        max_heartbeat_throttle_interval=BEAT,
        default_heartbeat_throttle_interval=BEAT,
    )
    _log.info("node begins", node=node.node_id)
    parts = [own.run(), _offer(node, client, activities), node.watch()]
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        # None ends by itself: an error of one of them ends this process, and the recordings go on and wait for the next.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except asyncio.CancelledError:
        await node.close()
        raise
    finally:
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, own.shutdown(), return_exceptions=True)


async def _offer(node: Node, client: Client, activities: Activities) -> None:
    """Poll for new recordings while there is room."""
    while True:
        while not node.room:
            await asyncio.sleep(ROOM_SECONDS)
        async with Worker(client, task_queue=NODES_QUEUE, activities=[activities.place], max_concurrent_activities=4):
            while node.room:
                await asyncio.sleep(ROOM_SECONDS)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the data folder for this node alone. Raises ConfigError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError([f"--data: {path.parent} is in use by another node"]) from None
        yield
    finally:
        os.close(fd)


def own_id(path: Path) -> str:
    """Who this node is: made once, for as long as its data folder lives. Raises OSError."""
    try:
        found = path.read_text().strip()
        if found:
            return found
    except FileNotFoundError:
        pass
    made = uuid.uuid4().hex[:12]
    fresh = path.with_suffix(".new")
    fresh.write_text(made + "\n")
    fresh.replace(path)
    return made
