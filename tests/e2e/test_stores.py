"""Recording into a real S3 server: both ways of addressing, playlists that are true at every moment, stores that refuse or hang."""

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rokuga.config import Store
from tests.kit.bucket import Bucket
from tests.kit.media_checks import Playlist, playlist, playlists, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.running import Running
from tests.kit.seaweed import Seaweed

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


async def test_a_store_that_says_no_fails_create_and_one_that_hangs_does_not(tmp_path: Path, black_hole: str) -> None:
    prepare("alice")
    async with Seaweed(tmp_path / "weed") as seaweed, Receiver() as receiver:
        stores = [Store(region="hole", endpoint=black_hole, addressing="path"), seaweed.section]
        async with Running(tmp_path / "rokuga", stores=stores, callback_url=receiver.url, recorder={"shutdown_seconds": 1}) as system:
            good = {"Bucket": seaweed.bucket, "AccessKey": seaweed.access_key, "SecretKey": seaweed.secret_key}
            for wrong, code in (({"SecretKey": "wrong"}, "SignatureDoesNotMatch"), ({"AccessKey": "nobody"}, "InvalidAccessKeyId")):
                with pytest.raises(TencentCloudSDKException) as refused:
                    await system.create("room", storage=good | wrong)
                assert code in str(refused.value.get_message())
                assert seaweed.secret_key not in str(refused.value)
            async with person(system.janus, "room", "alice", "audio"):
                began = time.monotonic()
                task = await system.create("room", storage=good | {"Region": "hole"})
                assert time.monotonic() - began < SIX_SECONDS
                (started,) = await receiver.wait_for(301, task_id=task)
                assert started.payload == {"Status": 0}
                (error,) = await receiver.wait_for(308, task_id=task, seconds=90)
                assert error.payload["Code"]
                assert (await system.describe(task))["Status"] == "InProgress"
        # Neither refused Create has left a trace: no 301 but the one.
        assert receiver.types().count(301) == 1
        # What could not be uploaded is still there, for the next start.
        assert list((system.data / "tasks" / task).rglob("*.ts"))
