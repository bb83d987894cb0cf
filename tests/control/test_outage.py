"""Temporal dies in the middle of a recording, while the receiver refuses; and what is on its disk."""

import asyncio
from pathlib import Path

import pytest

from rokuga.control.model import Lists
from tests.control.scripted_node import ScriptedNode
from tests.control.system import CALLBACK_KEY, SECRETS, System, until

pytestmark = [pytest.mark.live, pytest.mark.alone]


async def test_temporal_dies_and_nothing_is_lost(tmp_path: Path) -> None:
    async with System(tmp_path) as system:
        app = system.app()
        path = f"/{app}"
        task = system.task(app)
        key = (task.task_id, 0)
        system.receiver.status[path] = 503
        async with ScriptedNode(system.client, "survivor") as node:
            await system.tasks.create(task, 10, 72)
            await until(lambda: len(system.receiver.got) >= 2, 15, "two tries of 301")
            await node.report(key, "upload_started", status=0)
            sliced = await node.report(key, "sliced", file="a.m3u8", user_id="alice", track_type="audio", begin_ms=5)

            await system.temporal.child.kill()
            await asyncio.sleep(4)
            await system.temporal.start()

            before = len(system.receiver.got)
            await until(lambda: len(system.receiver.got) > before, 40, "callbacks go on")
            system.receiver.status[path] = 200
            await system.events(app, 307, 40)
            # A control worker that knows nothing yet: it replays.
            await system.stop_worker()
            system.start_worker()
            found = await system.tasks.describe(app, task.task_id)
            # Whether its heartbeat came back in time or it was asked and adopted: nothing is counted.
            assert (found.generation, len(found.files)) == (0, 1)
            assert {o.generation for o in node.of(task.task_id)} == {0}
            await system.tasks.modify(app, task.task_id, "m", Lists(audio_allow=["alice"]), {})
            await system.tasks.stop(app, task.task_id, "r")
            await system.events(app, 305)

        assert system.receiver.types(path) == [301, 303, 307, 302, 305]
        tries = [g for g in system.receiver.got if g.type == 301]
        assert len(tries) >= 3
        assert [g.status for g in tries] == [503] * (len(tries) - 1) + [200]
        assert len({(g.raw, g.headers["sign"]) for g in tries}) == 1
        assert system.receiver.taken(path)[2].body["EventInfo"]["EventMsTs"] == sliced.ms

    stored = b"".join(f.read_bytes() for f in sorted((tmp_path / "temporal").iterdir()) if f.is_file())
    assert task.task_id.encode() in stored
    for secret in (*SECRETS, CALLBACK_KEY):
        assert secret.encode() not in stored
