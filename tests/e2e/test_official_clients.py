"""Tencent's official clients that are no part of our own tests' daily tools, over TLS: each runs a recording from Create to Delete."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from rokuga.publish import Publisher
from tests.kit.certificates import certificate
from tests.kit.clients import ClientError, Tccli, node_sdk
from tests.kit.media_checks import playlist, playlists, watch
from tests.kit.people import person, prepare
from tests.kit.running import BUCKET, SDK_APP_ID, Running, until

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


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
    else:
        async with node_sdk(endpoint, app, ca, which.split()[1]) as sdk:
            yield sdk


@pytest.mark.parametrize("which", ["node POST", "node GET", "tccli"])
async def test_from_create_to_delete(system: Running, alice: Publisher, tmp_path: Path, which: str) -> None:
    cloud = {"Vendor": 0, "Region": "local", "Bucket": BUCKET, "AccessKey": "none", "SecretKey": "none"}
    bot = "bot_" + which.replace(" ", "_")
    async with client(which, system, tmp_path) as customer:
        created = await customer.call(
            "CreateCloudRecording",
            SdkAppId=SDK_APP_ID,
            RoomId="room",
            RoomIdType=0,
            UserId=bot,
            UserSig=system.user_sig(bot),
            RecordParams={"RecordMode": 1},
            StorageParams={"CloudStorage": cloud},
        )
        task_id = str(created["TaskId"])
        task = {"SdkAppId": SDK_APP_ID, "TaskId": task_id}
        folder = system.store(task_id)
        await until(lambda: len(list(playlists(folder))) == 2)

        async def listed() -> list[dict[str, object]] | None:
            told = await customer.call("DescribeCloudRecording", **task)
            assert told["Status"] == "InProgress"
            files = told["StorageFileList"]
            assert isinstance(files, list)
            return files if len(files) == 2 else None

        files = await until(listed)
        assert {(file["UserId"], file["TrackType"]) for file in files} == {("alice", "audio"), ("alice", "video")}
        lists = {"SubscribeStreamUserIds": {"UnSubscribeVideoUserIds": ["alice"]}}
        assert (await customer.call("ModifyCloudRecording", **task, **lists))["TaskId"] == task_id
        # Without her picture the playlist of it ends, that of her sound goes on.
        audio, video = playlists(folder)
        before = len(playlist(audio).entries)
        await until(lambda: len(playlist(audio).entries) >= before + 2)
        assert (await customer.call("DeleteCloudRecording", **task))["TaskId"] == task_id
        await until(lambda: playlist(audio).closed and playlist(video).closed)
        assert playlist(video).seconds < playlist(audio).seconds - 1
        for path in (audio, video):
            assert watch(path).problems == [], path.name
        with pytest.raises(ClientError, match="ResourceNotFound"):
            await customer.call("DescribeCloudRecording", SdkAppId=SDK_APP_ID, TaskId="t" + 32 * "x")
