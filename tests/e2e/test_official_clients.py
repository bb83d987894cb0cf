"""Tencent's official clients over TLS, in all of their ways to send and to sign: each runs a recording from Create to Delete.

Some of the recordings run side by side.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
import pytest_asyncio
from pydantic import SecretStr

from rokuga.publish import Publisher
from tests.kit.certificates import certificate
from tests.kit.clients import ClientError, PythonSdk, Tccli, node_sdk
from tests.kit.media_checks import playlist, playlists, watch
from tests.kit.people import person, prepare
from tests.kit.running import SDK_APP_ID, Running, until

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SIGNS = ("TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256")
PYTHON = [f"python {method} {sign}" for sign in SIGNS for method in ("POST", "GET")]
CLIENTS = [*PYTHON, "node POST", "node GET", "tccli"]
AT_A_TIME = 4


class Client(Protocol):
    async def call(self, action: str, **params: object) -> dict[str, object]: ...


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    prepare("alice")
    folder = tmp_path_factory.mktemp("system")
    cert, key = certificate(folder)
    server = {"tls_cert": str(cert), "tls_key": str(key)}
    async with Running(folder, server=server, recorder={"segment_seconds": 2}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(system: Running) -> AsyncIterator[Publisher]:
    async with person(system.janus, "room", "alice") as publisher:
        yield publisher


@asynccontextmanager
async def client(which: str, system: Running, folder: Path) -> AsyncIterator[Client]:
    endpoint, app, ca = f"localhost:{system.api.rpartition(':')[2]}", system.config.apps[0], system.folder / "cert.pem"
    if which == "tccli":
        yield Tccli(endpoint, app, ca, folder)
    elif which.startswith("python"):
        yield PythonSdk(endpoint, app, ca, *which.split()[1:])
    else:
        async with node_sdk(endpoint, app, ca, which.split()[1]) as sdk:
            yield sdk


def wanted(system: Running, which: str) -> dict[str, Any]:
    return system.recording_of("room", "bot_" + which.replace(" ", "_")[:28])


async def from_create_to_delete(system: Running, which: str, folder: Path) -> None:
    async with client(which, system, folder) as customer:
        created = await customer.call("CreateCloudRecording", **wanted(system, which))
        task_id = str(created["TaskId"])
        task = {"SdkAppId": SDK_APP_ID, "TaskId": task_id}
        store = system.store(task_id)
        await until(lambda: len(list(playlists(store))) == 2)

        async def listed() -> list[dict[str, object]] | None:
            told = await customer.call("DescribeCloudRecording", **task)
            assert told["Status"] == "InProgress"
            files = told["StorageFileList"]
            assert isinstance(files, list)
            return files if len(files) == 2 else None

        files = await until(listed, every=0.5)
        assert {(file["UserId"], file["TrackType"]) for file in files} == {("alice", "audio"), ("alice", "video")}
        lists = {"SubscribeStreamUserIds": {"UnSubscribeVideoUserIds": ["alice"]}}
        assert (await customer.call("ModifyCloudRecording", **task, **lists))["TaskId"] == task_id
        # Without her picture the playlist of it ends, that of her sound goes on.
        audio, video = playlists(store)
        before = len(playlist(audio).entries)
        await until(lambda: len(playlist(audio).entries) >= before + 2)
        assert (await customer.call("DeleteCloudRecording", **task))["TaskId"] == task_id
        await until(lambda: playlist(audio).closed and playlist(video).closed)
        assert playlist(video).seconds < playlist(audio).seconds - 1
        for path in (audio, video):
            assert watch(path).problems == [], path.name
        with pytest.raises(ClientError, match="ResourceNotFound"):
            await customer.call("DescribeCloudRecording", SdkAppId=SDK_APP_ID, TaskId="t" + 32 * "x")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recordings(
    system: Running, alice: Publisher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Each one's end, awaited by its test."""
    some = asyncio.Semaphore(AT_A_TIME)

    async def play(which: str) -> None:
        async with some:
            await from_create_to_delete(system, which, tmp_path_factory.mktemp("client"))

    playing = {which: asyncio.create_task(play(which)) for which in CLIENTS}
    yield playing
    for task in playing.values():
        task.cancel()
    await asyncio.gather(*playing.values(), return_exceptions=True)


@pytest.mark.parametrize("which", CLIENTS)
async def test_from_create_to_delete(recordings: dict[str, asyncio.Task[None]], which: str) -> None:
    await recordings[which]


@pytest.mark.parametrize("which", PYTHON)
async def test_a_wrong_key_and_a_wrong_clock(system: Running, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    endpoint, app, ca = f"localhost:{system.api.rpartition(':')[2]}", system.config.apps[0], system.folder / "cert.pem"

    async def refused(off: int = 0, **changes: Any) -> list[str]:
        """By what codes the four actions are refused; all but the first are about a task that there is not."""
        monkeypatch.setattr("tencentcloud.common.abstract_client.time", SimpleNamespace(time=lambda: time.time() + off))
        customer = PythonSdk(endpoint, app.model_copy(update=changes), ca, *which.split()[1:])
        task = {"SdkAppId": SDK_APP_ID, "TaskId": "t" + 32 * "x"}
        codes = []
        for action in ("Create", "Describe", "Modify", "Delete"):
            fields = task if action != "Create" else wanted(system, which) | ({"UserSig": "none"} if abs(off) < 300 and not changes else {})
            with pytest.raises(ClientError) as caught:
                await customer.call(f"{action}CloudRecording", **fields)
            codes.append(str(caught.value).partition(":")[0])
        return codes

    assert await refused(secret_key=SecretStr("wrong")) == ["AuthFailure.SignatureFailure"] * 4
    assert await refused(secret_id="AKIDNOBODY") == ["AuthFailure.SecretIdNotFound"] * 4
    for off in (-310, 310):
        assert await refused(off) == ["AuthFailure.SignatureExpire"] * 4
    for off in (-280, 280):
        assert await refused(off) == ["InvalidParameter.UserSig", *["ResourceNotFound"] * 3]
