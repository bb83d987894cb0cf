"""Whatever hangs behind it, the API answers within six seconds, and a Create that answered an error has left nothing behind."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rokuga.config import Store
from rokuga.control.app import AppWorkflow
from rokuga.control.signals import app_id
from rokuga.folders import DataFolder
from rokuga.publish import Publisher
from tests.api.wire import Key, tc3
from tests.kit.media_checks import playlists, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.room_user import room_user
from tests.kit.running import SDK_APP_ID, Running, until

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

LIMIT = 6.0
MAX_TASKS = 2
CREATE, INTERNAL = "CreateCloudRecording", "InternalError.CRInternalError"
ANSWERS: dict[str, tuple[str, str, str]] = {
    # What hangs: the codes of a Create, a Describe and a Modify, "" for a success. What a task that records is and shall do its own
    # node says and takes at its door, but only Temporal keeps a Modify for good.
    "temporal": (INTERNAL, "", INTERNAL),
    "control": (INTERNAL, "", ""),
    "node": ("", "", ""),
    "janus": ("", "", ""),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


@pytest.fixture(scope="module")
def black_hole() -> Iterator[str]:
    """Takes connections (the kernel does) and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, black_hole: str) -> AsyncIterator[Running]:
    prepare("alice")
    stores = [Store(region="hole", endpoint=black_hole, addressing="path"), Store(region="local", endpoint="file")]
    app, recorder = {"max_tasks": MAX_TASKS}, {"segment_seconds": 2}
    folder = tmp_path_factory.mktemp("system")
    async with Running(folder, stores=stores, callback_url=receiver.url, app=app, recorder=recorder) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orchestrator(system: Running) -> Client:
    return await system.orchestrator()


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


async def answered(call: Awaitable[Any]) -> tuple[str, Any]:
    """The error's code, or "" and what was told; within six seconds in any case."""
    begin = time.monotonic()
    code, told = "", None
    try:
        told = await call
    except TencentCloudSDKException as error:
        code = str(error.get_code())
    took = time.monotonic() - begin
    assert took < LIMIT, f"{code or told} after {took:.1f} s"
    return code, told


async def codes(*calls: Awaitable[Any]) -> list[str]:
    """Of all of them at once."""
    return [code for code, _ in await asyncio.gather(*map(answered, calls))]


@dataclass(frozen=True)
class There:
    """What a Create may leave: workflows that are open, processes, slots that are held, bots in the room."""

    workflows: frozenset[str]
    processes: frozenset[int]
    slots: frozenset[str]
    bots: frozenset[str]


async def there(system: Running, orchestrator: Client, room: str) -> There:
    workflows = [one.id async for one in orchestrator.list_workflows("ExecutionStatus = 'Running'")]
    try:
        slots = await orchestrator.get_workflow_handle(app_id(SDK_APP_ID)).query(AppWorkflow.slots)
    except RPCError:  # none has recorded so far
        slots = []
    seen = frozenset(await bots(system, room))
    app = {app_id(SDK_APP_ID)}
    return There(frozenset(workflows) - app, frozenset(system.processes()), frozenset(slots), seen)


def nothing_but(system: Running, orchestrator: Client, room: str, expected: There) -> Callable[[], Awaitable[bool]]:
    async def only_that() -> bool:
        return await there(system, orchestrator, room) == expected

    return only_that


async def hung_up(system: Running) -> str:
    """A Create whose caller closes the connection while it is carried out; its TaskId, once the API has answered it with an error."""
    bucket, app = "of-somebody-who-hangs-up", system.config.apps[0]
    body = system.recording_of("room", "recorder_9", {"Bucket": bucket})
    host, _, port = system.api.removeprefix("http://").partition(":")
    failed = await failures(system)
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(tc3(f"{host}:{port}", CREATE, body, key=Key(app.secret_id, app.secret_key.get_secret_value())))
    # Its test write has made this folder: only orders to Temporal come after it.
    folder = DataFolder(system.data).store / bucket
    (task,) = await until(lambda: list(folder.iterdir()) if folder.exists() else [])
    writer.close()
    await writer.wait_closed()
    await until(lambda: _failed_more(system, failed), LIMIT)
    task.rmdir()
    return str(task.name)


async def _failed_more(system: Running, before: float) -> bool:
    return await failures(system) > before


async def failures(system: Running) -> float:
    """How many Creates the API has answered with an InternalError."""
    async with httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"{system.api}/metrics")).text
    name = f'rokuga_api_requests_total{{action="{CREATE}",code="{INTERNAL}"}} '
    return sum(float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name))


async def participants(system: Running, room: str) -> list[dict[str, Any]]:
    # The one who counted before may not have been taken out of the room yet: a name of one's own each time.
    async with room_user(system.janus, room, f"counter_{uuid4()}") as counter:
        listed: list[dict[str, Any]] = (await counter.request(request="listparticipants"))["participants"]
        return listed


async def bots(system: Running, room: str) -> list[str]:
    return [one["id"] for one in await participants(system, room) if one["display"].startswith("rokuga-bot:")]


async def _left(system: Running, room: str, user_id: str) -> bool:
    return user_id not in [one["id"] for one in await participants(system, room)]


@pytest.mark.parametrize("part", list(ANSWERS))
async def test_every_call_answers_and_the_recording_goes_on(
    system: Running, orchestrator: Client, receiver: Receiver, alice: Publisher, part: str
) -> None:
    empty = await there(system, orchestrator, "room")
    assert empty.workflows == empty.slots == empty.bots == frozenset()
    task_id = await system.create("room")
    await until(lambda: len(list(playlists(system.store(task_id)))) == 2)
    recording = await there(system, orchestrator, "room")
    assert recording.slots == {task_id}
    assert recording.bots == {"recorder_1"}
    known = {event.task_id for event in receiver.events()}
    gone = ""
    with hanging(system, part):
        if ANSWERS[part][0]:
            hanging_up = asyncio.create_task(hung_up(system))
        calls = answered(system.create("room", bot="recorder_2")), codes(system.describe(task_id), system.modify(task_id))
        # Of the users who are there none is concerned: they must be there for the rest.
        rooms = (
            system.call("RemoveUserByStrRoomId", RoomId="room", UserIds=["nobody"]),
            system.call("RemoveUser", RoomId=1, UserIds=["nobody"]),
            system.call("DismissRoom", RoomId=1),
            system.call("DismissRoomByStrRoomId", RoomId="nowhere"),
        )
        (created, second), (described, modified), acted = await asyncio.gather(*calls, codes(*rooms))
        assert (created, described, modified) == ANSWERS[part]
        if part == "janus":
            assert acted == [INTERNAL] * 4
        else:
            assert acted == ["FailedOperation", *["FailedOperation.RoomNotExist"] * 3]
        if created:
            gone = await hanging_up
    if created:
        # Nothing is left of either: neither a workflow, a process, a bot, nor a slot.
        await until(nothing_but(system, orchestrator, "room", recording))
        second = await system.create("room", bot="recorder_3")

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
    await until(nothing_but(system, orchestrator, "room", empty))
    assert receiver.types(gone or "nobody") == []
    assert {event.task_id for event in receiver.events()} - known <= {task_id, second}


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
            assert await codes(bot, room) == [INTERNAL] * 2
    assert await bots(system, "room") == ["recorder_1"]
    await system.call("RemoveUserByStrRoomId", RoomId="room", UserIds=["recorder_1"])
    (out,) = await receiver.wait_for(302, task_id=task_id)
    assert out.payload == {"LeaveCode": 1}
    await receiver.wait_for(305, task_id=task_id)


async def test_a_recorder_that_cannot_start_is_told_and_frees_its_slot(system: Running, receiver: Receiver) -> None:
    with hanging(system, "janus"):
        failed = [await system.create("dead", bot=f"bot_{number}") for number in range(MAX_TASKS)]
        assert await codes(system.create("dead", bot="bot_9")) == ["FailedOperation.RestrictedConcurrency"]
        for task_id in failed:
            (start,) = await receiver.wait_for(301, task_id=task_id, seconds=120)
            assert start.payload == {"Status": 1}

        async def gone() -> bool:
            return await codes(*map(system.describe, failed)) == ["ResourceNotFound"] * MAX_TASKS

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


async def test_a_bucket_that_hangs_stops_nothing_and_one_that_refuses_leaves_nothing(
    system: Running, orchestrator: Client, receiver: Receiver
) -> None:
    empty = await there(system, orchestrator, "hole")
    assert await codes(system.create("hole", storage={"Region": "elsewhere"})) == ["FailedOperation"]
    code, task_id = await answered(system.create("hole", storage={"Region": "hole"}))
    assert code == ""
    (start,) = await receiver.wait_for(301, task_id=task_id)
    assert start.payload == {"Status": 0}
    assert (await there(system, orchestrator, "hole")).slots == {task_id}
    assert await codes(system.describe(task_id), system.modify(task_id)) == ["", ""]
    assert await codes(system.delete(task_id)) == [""]
    await receiver.wait_for(305, task_id=task_id)
    await until(nothing_but(system, orchestrator, "hole", empty))
