"""The roles run apart, as on several machines: a Temporal and a Janus of one's own, a data folder each, a shared store."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from rokuga.config import App
from rokuga.demo.client import Client
from rokuga.demo.verify import verify
from rokuga.embedded import EmbeddedJanus, EmbeddedTemporal
from rokuga.embedded.process import die_with_parent, free_port
from rokuga.publish import Publisher, generate, look_of
from rokuga.publish.run import cache_folder

pytestmark = pytest.mark.live

CONFIG = """
[server]
port = {port}
[[apps]]
sdk_app_id = 1400000001
secret_id = "id"
secret_key = "key"
user_sig_key = "sig"
[janus]
url = "{janus}"
[temporal]
address = "{temporal}"
payload_key = "{key}"
[recorder]
metrics = "127.0.0.1:{metrics}"
[[stores]]
endpoint = "file"
shared = true
"""


@asynccontextmanager
async def role(name: str, config: Path, data: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rokuga", name, "--config", str(config), "--data", str(data), preexec_fn=die_with_parent, env=os.environ
    )
    try:
        yield
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_ready(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(60):
        while True:
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


async def test_api_control_and_node_apart(tmp_path: Path) -> None:
    clip = generate(look_of("alice", flash=False), cache_folder())
    port, metrics = free_port(), free_port()
    config = tmp_path / "rokuga.toml"
    for folder in ("api", "control", "node", "store"):
        (tmp_path / folder).mkdir()
    for folder in ("api", "node"):
        (tmp_path / folder / "store").symlink_to(tmp_path / "store")
    async with EmbeddedTemporal(tmp_path / "temporal") as temporal, EmbeddedJanus(tmp_path / "janus") as janus:
        key = base64.b64encode(os.urandom(32)).decode()
        config.write_text(CONFIG.format(port=port, metrics=metrics, janus=janus.config.url, temporal=temporal.address, key=key))
        async with (
            role("node", config, tmp_path / "node"),
            role("control", config, tmp_path / "control"),
            role("api", config, tmp_path / "api"),
            Publisher(janus.config, "room", "alice", clip),
        ):
            await until_ready(f"http://127.0.0.1:{port}")
            app = App.model_validate({"sdk_app_id": 1400000001, "secret_id": "id", "secret_key": "key", "user_sig_key": "sig"})
            client = Client(f"http://127.0.0.1:{port}", app)
            task_id = await client.create("room", "bucket")
            async with asyncio.timeout(60):
                while len((await client.describe(task_id))["StorageFileList"]) < 2:
                    await asyncio.sleep(0.3)
            async with httpx.AsyncClient(trust_env=False) as http:
                page = (await http.get(f"http://127.0.0.1:{metrics}/metrics")).text
            assert "rokuga_recordings 1.0" in page
            (lag,) = [float(line.split()[1]) for line in page.splitlines() if line.startswith("rokuga_render_lag_seconds ")]
            assert 0 < lag < 5
            await client.delete(task_id)
            recorded = tmp_path / "store" / "bucket" / task_id
            async with asyncio.timeout(60):
                while sum("#EXT-X-ENDLIST" in p.read_text() for p in recorded.glob("*.m3u8")) < 2:
                    await asyncio.sleep(0.3)
    for playlist in recorded.glob("*.m3u8"):
        assert verify(playlist, 5).problems == []
    for name in ("api", "control", "node"):
        lines = [json.loads(line) for line in (tmp_path / name / "log" / f"{name}.log").read_text().splitlines()]
        assert [line for line in lines if line["level"] == "error"] == []
