"""Recording into a real S3 server: both ways of addressing, playlists that are true at every moment, stores that refuse or hang."""

import asyncio
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rokuga.config import Store
from rokuga.folders import DataFolder
from tests.api.wire import Key, Wire, tc3, v1
from tests.kit.bucket import Bucket
from tests.kit.media_checks import Playlist, playlist, playlists, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.running import Running
from tests.kit.seaweed import Seaweed, free_ports
from tests.kit.secrets import Secrets

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

RECORDED_SECONDS = 22
SIX_SECONDS = 6.0
"""An API call's limit, by the seed."""


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Takes connections (the kernel does) and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def read_at_random(bucket: Bucket, prefix: str, until: float) -> int:
    """Read playlists at random moments and check that each listed segment is there, whole; how many were read."""
    dice = random.Random(1)
    read = 0
    while time.monotonic() < until:
        await asyncio.sleep(dice.uniform(0.05, 0.6))
        names = [name for name in await bucket.names(prefix) if name.endswith(".m3u8")]
        if not names:
            continue
        index = Playlist((await bucket.read(f"{prefix}/{dice.choice(names)}")).decode())
        assert index.entries
        for entry in index.entries:
            data = await bucket.read(f"{prefix}/{entry.name}")
            assert len(data) == int(entry.tags["EXT-X-TRTC-FILE-ATTR"].split(",")[1])
            assert len(data) % 188 == 0
        read += 1
    return read


@pytest.mark.parametrize("virtual", [False, True], ids=["path-style", "virtual-hosted"])
async def test_a_recording_in_s3(tmp_path: Path, virtual: bool) -> None:
    prepare("alice", "bob")
    async with Seaweed(tmp_path / "weed", virtual) as seaweed, Receiver() as receiver:
        async with Running(tmp_path / "rokuga", stores=[seaweed.section], callback_url=receiver.url) as system:
            storage = {
                "Bucket": seaweed.bucket,
                "AccessKey": seaweed.access_key,
                "SecretKey": seaweed.secret_key,
                "FileNamePrefix": ["meetings", "today"],
            }
            bucket = Bucket(seaweed)
            async with person(system.janus, "42", "alice"), person(system.janus, "42", "bob", "audio"):
                task = await system.create("42", room_id_type=1, storage=storage)
                prefix = f"meetings/today/{task}"
                assert await read_at_random(bucket, prefix, time.monotonic() + RECORDED_SECONDS) > 5
                await system.delete(task)
                (last,) = await receiver.wait_for(305, task_id=task)
            assert last.payload == {"Status": 0}
        names = await bucket.fetch(prefix, tmp_path / "copy")
        indexes = list(playlists(tmp_path / "copy"))
        # A numeric room stands in the name as it is.
        assert len(indexes) == 3
        assert all(path.name.startswith("1400000001_42__UserId_s_") for path in indexes)
        listed = {path.name for path in indexes}
        for path in indexes:
            index = playlist(path)
            assert index.closed
            assert watch(path).problems == []
            listed |= {entry.name for entry in index.entries}
        assert set(names) == listed
        events = receiver.events(task)
        cut = {e.payload["FileName"]: e.info["EventMsTs"] for e in events if e.type == 307}
        stored = {e.payload["FileList"]: e.info["EventMsTs"] for e in events if e.type == 304}
        assert cut.keys() == stored.keys() == {path.name for path in indexes}
        assert all(0 <= stored[name] - cut[name] <= 3000 for name in cut)


class Looking:
    """Requests as they are put on the wire; in nothing that comes of them any of the secrets may stand."""

    def __init__(self, system: Running, seaweed: Seaweed) -> None:
        app = system.config.apps[0]
        self._system, self._key = system, Key(app.secret_id, app.secret_key.get_secret_value())
        self.secrets = Secrets(AccessKey=seaweed.access_key, SecretKey=seaweed.secret_key, ApiSecretKey=self._key.secret_key)
        self._wrong = self.secrets.add("WrongKey", token_hex(16))
        self._good = {"Bucket": seaweed.bucket, "AccessKey": seaweed.access_key, "SecretKey": seaweed.secret_key}

    def wanted(self, bot: str, **storage: Any) -> dict[str, Any]:
        sig = self.secrets.add("UserSig", self._system.user_sig(bot))
        return self._system.recording_of("room", bot, self._good | storage, user_sig=sig)

    async def sent(self, request: bytes) -> dict[str, Any]:
        wire = await Wire.open(self._system.api)
        answer = await wire.send(request)
        await wire.close()
        assert self.secrets.within("an answer", json.dumps(answer)) == []
        return answer

    async def recorded(self) -> list[str]:
        """Tasks whose secrets stood in the address of a GET."""
        create, endpoint = "CreateCloudRecording", self._system.api.removeprefix("http://")
        for wrong, code in (({"SecretKey": self._wrong}, "SignatureDoesNotMatch"), ({"AccessKey": self._wrong}, "InvalidAccessKeyId")):
            with pytest.raises(TencentCloudSDKException) as refused:
                await self._system.create("room", storage=self._good | wrong)
            assert code in str(refused.value.get_message())
            assert self.secrets.within("an error", str(refused.value)) == []
            answer = await self.sent(v1(endpoint, create, self.wanted("refused", **wrong), method="GET", key=self._key))
            assert answer["Error"]["Code"] == "FailedOperation"
        # Refused for their form: what is wrong is told, but not repeated.
        for field, value in (("SecretKey", [self._wrong]), ("AccessKey", self._wrong + " "), ("Bucket", self._wrong + "/")):
            answer = await self.sent(tc3(endpoint, create, self.wanted("refused", **{field: value}), key=self._key))
            assert answer["Error"]["Code"] == "InvalidParameter"
        get = tc3(endpoint, create, self.wanted("by_get"), method="GET", key=self._key)
        assert (await self.sent(get.replace(b"by_get", b"by_GET")))["Error"]["Code"] == "AuthFailure.SignatureFailure"
        old = v1(endpoint, create, self.wanted("by_v1"), method="GET", key=self._key)
        no_http = old.replace(b" HTTP/1.1", b" of nobody", 1)
        assert (await self.sent(no_http))["Error"]["Code"] == "InvalidRequest"
        return [str((await self.sent(request))["TaskId"]) for request in (get, old)]

    async def metrics(self, node: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            for page, known in ((self._system.api, "rokuga_api_requests_total"), (f"http://{node}", "rokuga_recordings")):
                told = (await client.get(f"{page}/metrics")).text
                assert known in told
                assert self.secrets.within("metrics", told) == []

    def processes(self, task: str) -> None:
        """All of the system's, capture and render among them."""
        generation = DataFolder(self._system.data).generation(task, 0).folder
        children = {int((generation / f"{name}.pid").read_text()) for name in ("capture", "render")}
        pids = set(self._system.processes())
        assert children < pids
        assert self.secrets.in_processes(pids) == []


async def test_a_store_that_says_no_fails_create_and_one_that_hangs_does_not(tmp_path: Path, black_hole: str) -> None:
    """Nor is anything secret written or told of all that."""
    prepare("alice")
    async with Seaweed(tmp_path / "weed") as seaweed, Receiver() as receiver:
        stores = [Store(region="hole", endpoint=black_hole, addressing="path"), seaweed.section]
        recorder = {"shutdown_seconds": 1, "metrics": f"127.0.0.1:{free_ports(1)[0]}"}
        async with Running(tmp_path / "rokuga", stores=stores, callback_url=receiver.url, recorder=recorder) as system:
            looking = Looking(system, seaweed)
            async with person(system.janus, "room", "alice", "audio"):
                good = await looking.recorded()
                began = time.monotonic()
                asked = looking.wanted("recorder_1", Region="hole")
                task = str((await system.call("CreateCloudRecording", **asked))["TaskId"])
                assert time.monotonic() - began < SIX_SECONDS
                (started,) = await receiver.wait_for(301, task_id=task)
                assert started.payload == {"Status": 0}
                (error,) = await receiver.wait_for(308, task_id=task, seconds=90)
                assert error.payload["Code"]
                assert (await system.describe(task))["Status"] == "InProgress"
                await looking.metrics(str(recorder["metrics"]))
                looking.processes(task)
                for one in good:
                    await system.delete(one)
                    (last,) = await receiver.wait_for(305, task_id=one)
                    assert last.payload == {"Status": 0}
        # None of the refused Creates has left a trace.
        assert {event.task_id for event in receiver.events() if event.type == 301} == {task, *good}
        # What could not be uploaded is still there, for the next start.
        assert list((system.data / "tasks" / task).rglob("*.ts"))
        for request in receiver.requests:
            assert looking.secrets.within("a callback", request.body + str(request.headers).encode()) == []
        # The configuration alone knows what its user wrote there.
        (system.folder / "rokuga.toml").unlink()
        assert looking.secrets.in_folder(system.folder) == []
