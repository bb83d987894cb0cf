"""What a recording makes of the end of its system: in order, and by force."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from rokuga.demo.client import Client
from rokuga.demo.receiver import Receiver
from rokuga.demo.system import System
from rokuga.demo.verify import verify
from rokuga.publish import Clip, Publisher, generate, look_of
from rokuga.publish.run import cache_folder
from rokuga.running import RUN_FILE

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def clip() -> Clip:
    return generate(look_of("alice", flash=False), cache_folder())


def environ(receiver: Receiver) -> dict[str, str]:
    return {
        "ROKUGA_SERVER__PORT": "0",
        "ROKUGA_APPS__0__CALLBACK_URL": receiver.url,
        "ROKUGA_APPS__0__CALLBACK_KEY": receiver.key,
    }


async def test_a_recording_ends_in_order_with_the_system(tmp_path: Path, clip: Clip) -> None:
    receiver = Receiver("key")
    async with receiver, System(tmp_path, environ(receiver)) as system, Publisher(system.janus, "room", "alice", clip):
        client = Client(system.api, system.app)
        task_id = await client.create("room", "bucket")
        assert await receiver.wait(307, seconds=60)
        assert await system.stop() == 0
        # The receiver is still there: what came after the stop has come by now.
        ends = [(event.type, event.payload) for event in receiver.events if event.type in (302, 305)]
    assert ends == [(302, {"LeaveCode": 3}), (305, {"Status": 0})]
    playlists = sorted((tmp_path / "store" / "bucket" / task_id).glob("*.m3u8"))
    assert len(playlists) == 2
    for playlist in playlists:
        assert verify(playlist, 5).problems == []


async def test_a_recording_outlives_the_supervisor(tmp_path: Path, clip: Clip) -> None:
    receiver = Receiver("key")
    async with receiver:
        async with System(tmp_path, environ(receiver)) as system, Publisher(system.janus, "room", "alice", clip):
            client = Client(system.api, system.app)
            task_id = await client.create("room", "bucket")
            assert await receiver.wait(307, seconds=60)
            os.kill(json.loads((tmp_path / RUN_FILE).read_text())["pids"]["up"], signal.SIGKILL)
        async with System(tmp_path, environ(receiver)) as system, Publisher(system.janus, "room", "alice", clip):
            # On the earlier port, so the same client; Janus is new, and its room is that of the bot, which has joined again.
            async with asyncio.timeout(60):
                while (await described(client, task_id)) != "InProgress":
                    await asyncio.sleep(0.2)
            await asyncio.sleep(8)
            await client.delete(task_id)
            assert await receiver.wait(305, seconds=60)
    kinds = [event.type for event in receiver.events]
    assert (kinds.count(301), kinds.count(306), kinds.count(302), kinds.count(305)) == (1, 0, 1, 1)
    playlists = sorted((tmp_path / "store" / "bucket" / task_id).glob("*.m3u8"))
    assert len(playlists) == 2
    for playlist in playlists:
        text = playlist.read_text()
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        # Nothing else is wrong than that the time without a Janus is missing.
        (problem,) = verify(playlist, 10).problems
        assert "its playlist says" in problem


async def described(client: Client, task_id: str) -> str:
    from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

    try:
        return str((await client.describe(task_id))["Status"])
    except TencentCloudSDKException as error:
        # Right after the start a workflow may still wait for the worker that is gone.
        if error.get_code() != "InternalError.CRInternalError":
            raise
        return ""
