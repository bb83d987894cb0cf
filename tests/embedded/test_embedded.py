"""The real servers come up, answer, and survive a kill on the same ports."""

import asyncio
import json
from pathlib import Path

import pytest
from temporalio.client import Client
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from rokuga.embedded import EmbeddedJanus, EmbeddedTemporal

pytestmark = pytest.mark.live


async def janus_info(url: str) -> dict[str, object]:
    async with connect(url, subprotocols=[Subprotocol("janus-protocol")]) as socket:
        await socket.send(json.dumps({"janus": "info", "transaction": "t"}))
        answer: dict[str, object] = json.loads(await socket.recv())
        return answer


async def test_janus_answers_again_after_a_kill(tmp_path: Path) -> None:
    async with EmbeddedJanus(tmp_path / "janus") as janus:
        info = await janus_info(janus.config.url)
        assert info["name"] == "Janus WebRTC Server"
        plugins = info["plugins"]
        assert isinstance(plugins, dict)
        assert list(plugins) == ["janus.plugin.videoroom"]
        await janus.child.kill()
        with pytest.raises(OSError):  # noqa: PT011 - any refusal will do
            await janus_info(janus.config.url)
        await janus.start()
        assert (await janus_info(janus.config.url))["name"] == "Janus WebRTC Server"


async def test_temporal_keeps_what_it_knows_over_a_kill(tmp_path: Path) -> None:
    async with EmbeddedTemporal(tmp_path / "temporal") as temporal:
        client = await Client.connect(temporal.address, namespace="rokuga")
        await client.start_workflow("Nothing", id="one", task_queue="none")
        await temporal.child.kill()
        await temporal.start()
        client = await Client.connect(temporal.address, namespace="rokuga")
        async with asyncio.timeout(30):
            found = await client.get_workflow_handle("one").describe()
        assert found.id == "one"
