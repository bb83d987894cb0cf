"""Whatever hangs behind it, the API answers within six seconds, and a Create that answered an error has left nothing behind."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rokuga.publish import Publisher
from tests.kit.media_checks import playlists, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.room_user import room_user
from tests.kit.running import Running, until

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

LIMIT = 6.0
MAX_TASKS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> AsyncIterator[Running]:
    prepare("alice")
    app, recorder = {"max_tasks": MAX_TASKS}, {"segment_seconds": 2}
    async with Running(tmp_path_factory.mktemp("system"), callback_url=receiver.url, app=app, recorder=recorder) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def alice(system: Running) -> AsyncIterator[Publisher]:
    async with person(system.janus, "room", "alice") as publisher:
        yield publisher
    # The next one of that name may come only when the server knows that this one has gone.
    await until(lambda: _left(system, "room", "alice"))


@contextmanager
def hanging(system: Running, part: str) -> Iterator[None]:
    """The process of that part stands still meanwhile."""
    os.kill(system.pids[part], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(system.pids[part], signal.SIGCONT)


async def answered(call: Any) -> str:
    """The TaskId or the error's code; within six seconds in any case."""
    begin = time.monotonic()
    try:
        answer = await call
    except TencentCloudSDKException as error:
        answer = error.get_code()
    took = time.monotonic() - begin
    assert took < LIMIT, f"{answer} after {took:.1f} s"
    return str(answer)


async def participants(system: Running, room: str) -> list[dict[str, Any]]:
    async with room_user(system.janus, room, "counter") as counter:
        listed: list[dict[str, Any]] = (await counter.request(request="listparticipants"))["participants"]
        return listed


async def bots(system: Running, room: str) -> list[str]:
    return [one["id"] for one in await participants(system, room) if one["display"].startswith("rokuga-bot:")]


async def _left(system: Running, room: str, user_id: str) -> bool:
    return user_id not in [one["id"] for one in await participants(system, room)]


@pytest.mark.parametrize("part", ["temporal", "control", "node", "janus"])
async def test_every_call_answers_and_the_recording_goes_on(system: Running, receiver: Receiver, alice: Publisher, part: str) -> None:
    task_id = await system.create("room")
    await until(lambda: len(list(playlists(system.store(task_id)))) == 2)
    with hanging(system, part):
        calls = system.create("room", bot="recorder_2"), system.describe(task_id), system.modify(task_id)
        # Of the users who are there none is concerned: they must be there for the rest.
        rooms = (
            system.call("RemoveUserByStrRoomId", RoomId="room", UserIds=["nobody"]),
            system.call("RemoveUser", RoomId=1, UserIds=["nobody"]),
            system.call("DismissRoom", RoomId=1),
            system.call("DismissRoomByStrRoomId", RoomId="nowhere"),
        )
        created, described, modified, *acted = await asyncio.gather(*map(answered, (*calls, *rooms)))
        for answer in (described, modified):
            assert "Error" not in answer or answer.startswith("InternalError"), answer
        if part == "janus":
            assert acted == ["InternalError.CRInternalError"] * 4
        else:
            assert acted == ["FailedOperation", *["FailedOperation.RoomNotExist"] * 3]
    if created.startswith("InternalError"):
        # Nothing is left of it: a further task fits below the app's limit, and only the two bots are there.
        async def fits() -> str:
            again = await answered(system.create("room", bot="recorder_3"))
            assert again.partition(".")[0] in ("FailedOperation", "InternalError") or "." not in again, again
            return "" if "." in again else again

        created = await until(fits, 90, every=1)
    second = created
    assert "." not in second, second

    # The second one records too, or has told that it could not (the room's server hung while it should have joined).
    async def decided() -> bool:
        start = [event for event in receiver.events(second) if event.type == 301]
        return bool(start) and (start[0].payload == {"Status": 1} or len(list(playlists(system.store(second)))) == 2)

    await until(decided, 90)
    running = [task_id] if receiver.events(second)[0].payload == {"Status": 1} else [task_id, second]
    await until(lambda: _count(system, len(running)), 30)
    for one in running:
        assert (await system.describe(one))["Status"] == "InProgress"
        await system.delete(one)
        await receiver.wait_for(305, task_id=one)
        for path in playlists(system.store(one)):
            assert watch(path).problems == []


async def _count(system: Running, count: int) -> bool:
    return len(await bots(system, "room")) == count


async def test_who_is_to_be_told_hangs(system: Running, receiver: Receiver, alice: Publisher) -> None:
    """Nobody is sent out who could not be told that it is our customer's doing."""
    task_id = await system.create("room")
    await receiver.wait_for(301, task_id=task_id)
    for part in ("temporal", "control"):
        with hanging(system, part):
            bot = system.call("RemoveUserByStrRoomId", RoomId="room", UserIds=["recorder_1"])
            room = system.call("DismissRoomByStrRoomId", RoomId="room")
            assert set(await asyncio.gather(answered(bot), answered(room))) == {"InternalError.CRInternalError"}
    assert await bots(system, "room") == ["recorder_1"]
    await system.call("RemoveUserByStrRoomId", RoomId="room", UserIds=["recorder_1"])
    (out,) = await receiver.wait_for(302, task_id=task_id)
    assert out.payload == {"LeaveCode": 1}
    await receiver.wait_for(305, task_id=task_id)


async def test_a_recorder_that_cannot_start_is_told_and_frees_its_slot(system: Running, receiver: Receiver) -> None:
    with hanging(system, "janus"):
        failed = [await answered(system.create("dead", bot=f"bot_{number}")) for number in range(MAX_TASKS)]
        assert await answered(system.create("dead", bot="bot_9")) == "FailedOperation.RestrictedConcurrency"
        for task_id in failed:
            (start,) = await receiver.wait_for(301, task_id=task_id, seconds=120)
            assert start.payload == {"Status": 1}

        async def gone() -> bool:
            return all([await answered(system.describe(task_id)) == "ResourceNotFound" for task_id in failed])

        await until(gone, 90, every=1)
    async with person(system.janus, "alive", "alice", "audio"):
        tasks = [await system.create("alive", bot=f"bot_{number}") for number in range(MAX_TASKS)]
        await until(lambda: all(list(playlists(system.store(task_id))) for task_id in tasks))
        for task_id in tasks:
            await system.delete(task_id)
            await receiver.wait_for(305, task_id=task_id)
    await asyncio.sleep(1)
    for task_id in failed:
        assert receiver.types(task_id) == [301]
    assert await bots(system, "dead") == []
