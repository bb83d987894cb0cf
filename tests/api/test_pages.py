"""What is served beside the API, and the API over TLS."""

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models, trtc_client

from rokuga.api.protocol import TimedProtocol
from rokuga.api.server import build_app, listening, serve, url_of
from rokuga.config import Config, Server
from rokuga.errors import ConfigError
from rokuga.folders import DataFolder
from tests.kit.certificates import certificate

from .calls import APP, SECRET_ID, SECRET_KEY, TASK, call
from .conftest import Running
from .memory import MemoryBucket, MemoryTasks


async def test_health_and_metrics(api: Running) -> None:
    await call(api.url, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK})
    async with httpx.AsyncClient(verify=False, trust_env=False) as http:
        assert (await http.get(api.url + "/healthz")).text == "ok"
        assert (await http.get(api.url + "/readyz")).status_code == 200
        text = (await http.get(api.url + "/metrics")).text
    assert 'rokuga_api_requests_total{action="DescribeCloudRecording",code="ResourceNotFound"} 1.0' in text
    assert 'rokuga_api_seconds_count{action="DescribeCloudRecording"} 1.0' in text


@pytest.mark.parametrize("hangs", [False, True])
async def test_not_ready(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    monkeypatch.setattr("rokuga.api.server.READY_SECONDS", 0.2)

    async def ready() -> bool:
        if hangs:
            await asyncio.Event().wait()
        return False

    async with listening(config, build_app(config, DataFolder(tmp_path), MemoryTasks(), MemoryBucket().probe, ready)) as url:
        async with httpx.AsyncClient(verify=False, trust_env=False) as http:
            assert (await http.get(url + "/readyz")).status_code == 503


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (Server(), "http://127.0.0.1:9"),
        (Server(host="0.0.0.0"), "http://127.0.0.1:9"),
        (Server(host="::1", tls_cert="c"), "https://[::1]:9"),
        (Server(public_url="https://rec.example/"), "https://rec.example"),
    ],
)
def test_url(server: Server, url: str) -> None:
    assert url_of(server, 9) == url


async def test_answers_do_not_wait_for_acknowledgements(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    real = TimedProtocol.connection_made

    def connection_made(self: TimedProtocol, transport: asyncio.Transport) -> None:
        found.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        real(self, transport)

    monkeypatch.setattr(TimedProtocol, "connection_made", connection_made)
    await call(api.url, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK})
    assert found == [1]


async def test_a_taken_port_is_an_error(api: Running) -> None:
    taken = Config(server=Server(port=httpx.URL(api.url).port or 0), temporal=api.config.temporal)
    with pytest.raises(OSError, match="in use"):
        async with listening(taken, build_app(taken, api.data, api.tasks, api.bucket.probe)):
            pass


async def test_serve_until_cancelled(config: Config, tmp_path: Path) -> None:
    tasks, url = MemoryTasks(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(config, DataFolder(tmp_path), tasks, MemoryBucket().probe, on_ready=url.set_result))
    address = await url
    assert (await call(address, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK}))["Error"]["Code"] == "ResourceNotFound"
    # A request under way is answered before the end.
    tasks.hang = True
    last = asyncio.create_task(call(address, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK}))
    async with asyncio.timeout(20):
        while not tasks.waiting:
            await asyncio.sleep(0.01)
    running.cancel()
    tasks.go.set()
    assert (await last)["Error"]["Code"] == "ResourceNotFound"
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(httpx.ConnectError):
        await call(address, "DescribeCloudRecording", {})


async def test_no_media_links_without_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="payload_key"):
        build_app(Config(), DataFolder(tmp_path), MemoryTasks(), MemoryBucket().probe)


async def test_tls(config: Config, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    secure = config.model_copy(update={"server": Server(port=0, tls_cert=str(cert), tls_key=str(key))})
    async with listening(secure, build_app(secure, DataFolder(tmp_path), MemoryTasks(), MemoryBucket().probe)) as url:
        assert url.startswith("https://127.0.0.1:")
        http = HttpProfile(endpoint=f"localhost:{httpx.URL(url).port}", certification=str(cert))
        client = trtc_client.TrtcClient(credential.Credential(SECRET_ID, SECRET_KEY), "ap-singapore", ClientProfile(httpProfile=http))
        request = models.DescribeCloudRecordingRequest()
        request.from_json_string(json.dumps({"SdkAppId": APP, "TaskId": TASK}))
        with pytest.raises(TencentCloudSDKException) as caught:
            await asyncio.to_thread(client.DescribeCloudRecording, request)
        assert caught.value.get_code() == "ResourceNotFound"
