"""SIGTERM in the middle of a recording: it ends in order, its files are complete, its events have come."""

from pathlib import Path

import pytest

from rokuga.demo.client import Client
from rokuga.demo.receiver import Receiver
from rokuga.demo.system import System
from rokuga.demo.verify import verify
from rokuga.publish import Publisher, generate, look_of
from rokuga.publish.run import cache_folder

pytestmark = pytest.mark.live


async def test_a_recording_ends_in_order_with_the_system(tmp_path: Path) -> None:
    receiver = Receiver("key")
    environ = {
        "ROKUGA_SERVER__PORT": "0",
        "ROKUGA_APPS__0__CALLBACK_URL": receiver.url,
        "ROKUGA_APPS__0__CALLBACK_KEY": receiver.key,
    }
    clip = generate(look_of("alice", flash=False), cache_folder())
    async with receiver, System(tmp_path, environ) as system, Publisher(system.janus, "room", "alice", clip):
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
