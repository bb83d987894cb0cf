"""Everything dies at once while nobody listens: nothing that was received or is due may be lost."""

import asyncio
import time
from pathlib import Path

import pytest

from rokuga.folders import DataFolder
from rokuga.publish import Publisher, generate, look_of
from rokuga.publish.run import cache_folder
from rokuga.storage.spool import Segment, read_manifest
from tests.kit.bucket import Bucket, holding
from tests.kit.media_checks import playlist, playlists, watch
from tests.kit.receiver import Receiver, Request
from tests.kit.running import Running
from tests.kit.seaweed import Seaweed

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

RECORDED_SECONDS = 20
IDLE_SECONDS = 5


def about(request: Request) -> tuple[int, str, str]:
    """What makes an event the same event."""
    payload = request.payload
    return request.type, str(payload.get("FileName") or payload.get("FileList") or payload.get("Code") or ""), request.info["TaskId"]


async def test_kill_9_of_everything_with_bucket_and_receiver_refusing(tmp_path: Path) -> None:
    clip = await asyncio.to_thread(generate, look_of("alice"), cache_folder())
    async with Seaweed(tmp_path / "weed") as seaweed, Receiver(status=503) as receiver:
        async with Running(tmp_path / "rokuga", stores=[seaweed.section], callback_url=receiver.url) as system:
            storage = {"Bucket": seaweed.bucket, "AccessKey": seaweed.access_key, "SecretKey": seaweed.secret_key}
            bot = "recorder_1"
            secrets = {"AccessKey": seaweed.access_key, "SecretKey": seaweed.secret_key}
            async with (
                Publisher(system.janus, "room", "alice", clip),
                Publisher(system.janus, "room", "bob", clip, sources=("audio",)),
            ):
                signature = system.user_sig(bot)
                secrets["UserSig"] = signature
                created = time.time()
                task = await system.create("room", bot=bot, storage=storage, record={"MaxIdleTime": IDLE_SECONDS}, user_sig=signature)
                await seaweed.stop()
                began = await system.recording(task, 3)
                await asyncio.sleep(RECORDED_SECONDS)  # the recording itself takes this long
                needles = {name: value.encode() for name, value in secrets.items()}
                assert holding(system.folder, needles) == []
                killed = time.time()
                assert await system.kill_everything() > 5
                dead = time.time()
            spool = DataFolder(system.data).generation(task, 0).spool
            cut = {entry.name for _, entry in read_manifest(spool) if isinstance(entry, Segment)}
            assert len(cut) >= 3
            refused = list(receiver.requests)
            # In order: as long as nobody takes the first, nothing else is tried (nor lost).
            assert {r.type for r in refused} == {301}
            assert len(refused) >= 3
            assert holding(system.folder, needles) == []

            receiver.status = 200
            await seaweed.start()
            await system.start()
            await receiver.wait_for(305, task_id=task, seconds=180)
            assert await system.stop() == 0
            assert holding(system.folder, needles) == []

        taken = receiver.events(task)
        # Nothing comes behind the last one, and each event is taken once.
        assert taken[-1].type == 305
        assert taken[-1].payload == {"Status": 0}
        assert len({about(r) for r in taken if r.type != 308}) == len([r for r in taken if r.type != 308])
        assert all(r.signed(system.callback_key) for r in receiver.requests)
        # The body of the first try, byte for byte, whatever died in between.
        accepted = {r.body for r in taken}
        assert {r.body for r in refused} <= accepted
        first: dict[tuple[int, str, str], bytes] = {}
        for request in receiver.requests:
            if request.type != 308:
                assert first.setdefault(about(request), request.body) == request.body
        types = [r.type for r in taken]
        assert types.count(301) == types.count(302) == types.count(303) == types.count(305) == 1
        assert types.count(306) == 1
        (out,) = [r for r in taken if r.type == 302]
        assert out.payload == {"LeaveCode": 99}

        names = await Bucket(seaweed).fetch(task, tmp_path / "bucket")
        assert cut <= set(names)
        indexes = list(playlists(tmp_path / "bucket"))
        assert {r.payload["FileList"] for r in taken if r.type == 304} == {p.name for p in indexes}
        assert {r.payload["FileName"] for r in taken if r.type == 307} == {p.name for p in indexes}
        assert len(indexes) == 3  # the room was empty when the second generation came
        for path in indexes:
            index = playlist(path)
            assert index.closed
            assert {entry.name for entry in index.entries} <= set(names)
            seen = watch(path)
            assert seen.problems == []
            # What was received within the last second before the kill may be missing.
            assert killed - began - 1 <= index.seconds <= dead - created
