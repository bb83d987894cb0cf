"""A node on the real parts: it records, and it survives what can happen to it and its children."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rokuga.storage import spool
from tests.node.system import NodeSystem, check_closed, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[NodeSystem]:
    async with NodeSystem(tmp_path) as running:
        yield running


async def test_a_recording_reaches_the_bucket(system: NodeSystem) -> None:
    async with system.publisher("room", "alice"):
        task_id = await system.create("room")
        generation = system.data.generation(task_id, 0)
        first = await until(lambda: [e for _, e in spool.read_manifest(generation.spool)], 60, "a first segment")
        assert first
        await asyncio.sleep(6)
        assert (await system.describe(task_id)).status == "InProgress"
        await system.stop_task(task_id)
    await until(lambda: b'"done": true' in generation.order.read_bytes(), 60, "everything uploaded")
    objects = await system.objects(task_id)
    check_closed(objects)
    assert {name.split("_")[-1] for name in objects if name.endswith(".m3u8")} == {"audio.m3u8", "video.m3u8"}
    assert not list(generation.spool.glob("*.ts"))
