"""A Janus with integer ids: users are who their display says, and a recording goes and ends as in any other room.

All recordings run side by side, each in a room of its own.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rokuga.client import CallError, Client
from tests.e2e.test_leave_codes import BOT, TOLERANCE, Ended, during, end_of
from tests.kit.media_checks import playlist, playlists, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.room_user import room_user
from tests.kit.running import SDK_APP_ID, Running, until

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

AT_A_TIME = 4


@dataclass(frozen=True)
class Place:
    """``calls`` tries again as a customer does: all of it begins at once, on any machine."""

    system: Running
    calls: Client
    receiver: Receiver


@asynccontextmanager
async def recorded(place: Place, room: int) -> AsyncIterator[str]:
    """A task records alice, and a file of it is in the store."""
    async with person(place.system.janus, str(room), "alice", "audio"):
        task_id = await place.system.create(str(room), room_id_type=1)
        await until(lambda: len(list(place.system.store(task_id).glob("*.ts"))) > 1)
        yield task_id


async def by_api(place: Place, room: int, action: str, **fields: object) -> Ended:
    async with recorded(place, room) as task_id:
        return await during(task_id, place.calls.call(action, {"RoomId": room, **fields}))


async def by_somebody_else(place: Place, room: int, request: str) -> Ended:
    """Whoever speaks to Janus itself, where a bot is a number like everybody else."""
    async with recorded(place, room) as task_id, room_user(place.system.janus, room, "somebody") as somebody:
        listed = (await somebody.request(request="listparticipants"))["participants"]
        (bot,) = [one["id"] for one in listed if one["display"] == f"rokuga-bot:{BOT}"]
        assert isinstance(bot, int)
        return await during(task_id, somebody.request(request=request, **({"id": bot} if request == "kick" else {})))


async def deleted(place: Place) -> Ended:
    async with recorded(place, 1000) as task_id:
        return await during(task_id, place.calls.delete(task_id))


async def removed(place: Place) -> Ended:
    return await by_api(place, 1001, "RemoveUser", UserIds=["nobody", BOT])


async def dismissed(place: Place) -> Ended:
    return await by_api(place, 1002, "DismissRoom")


async def kicked(place: Place) -> Ended:
    return await by_somebody_else(place, 1003, "kick")


async def destroyed(place: Place) -> Ended:
    return await by_somebody_else(place, 1004, "destroy")


async def replaced(place: Place) -> Ended:
    async with recorded(place, 1101) as task_id:
        second: list[str] = []

        async def replace() -> None:
            second.append(await place.system.create("1101", room_id_type=1))
            await place.receiver.wait_for(301, task_id=second[0])

        ended = await during(task_id, replace())
        await place.system.delete(second[0])
        return ended


def named(room: int, user: str, kind: str) -> str:
    who = base64.b64encode(user.encode()).decode().replace("=", ".")
    return f"{SDK_APP_ID}_{room}__UserId_s_{who}__UserId_e_main_{kind}.m3u8"


async def two_users(place: Place) -> None:
    """Lists, files and Describe go by display; of bob only the sound is asked for, and later nothing."""
    system, room = place.system, 4294967294
    async with person(system.janus, str(room), "alice"), person(system.janus, str(room), "bob"):
        lists = {"SubscribeAudioUserIds": ["alice", "bo.*$"], "UnSubscribeVideoUserIds": ["bob"]}
        task_id = await system.create(str(room), room_id_type=1, record={"SubscribeStreamUserIds": lists})
        expected = {("alice", "audio"), ("alice", "video"), ("bob", "audio")}
        await system.recording(task_id, len(expected))
        told = await system.describe(task_id)
        assert told["Status"] == "InProgress"
        files = {(file["UserId"], file["TrackType"]): file["FileName"] for file in told["StorageFileList"]}
        assert files == {who: named(room, *who) for who in expected}
        await system.modify(task_id, SubscribeStreamUserIds={"UnSubscribeAudioUserIds": ["bob"], "SubscribeVideoUserIds": ["ali.*$"]})
        at = {who: system.store(task_id) / name for who, name in files.items()}
        before = len(playlist(at["alice", "audio"]).entries)
        await until(lambda: len(playlist(at["alice", "audio"]).entries) > before + 2)
        await system.delete(task_id)
        (last,) = await place.receiver.wait_for(305, task_id=task_id)
        assert last.payload == {"Status": 0}
    assert set(playlists(system.store(task_id))) == set(at.values())
    assert {who: watch(path).problems for who, path in at.items()} == {who: [] for who in expected}
    assert end_of(at["bob", "audio"]) < end_of(at["alice", "audio"]) - 2
    assert abs(end_of(at["alice", "video"]) - end_of(at["alice", "audio"])) < TOLERANCE
    assert {event.info["RoomId"] for event in place.receiver.events(task_id)} == {str(room)}


async def rooms_of_text(place: Place) -> None:
    """There can be none."""
    for action, fields in (("RemoveUserByStrRoomId", {"UserIds": [BOT]}), ("DismissRoomByStrRoomId", {})):
        with pytest.raises(CallError, match=r"InvalidParameter\.RoomId"):
            await place.calls.call(action, {"RoomId": "text", **fields})
    with pytest.raises(TencentCloudSDKException, match=r"InvalidParameter\.RoomId"):
        await place.system.create("1000", room_id_type=0)


Scenario = Callable[[Place], Awaitable[Ended]]
CODES: dict[Scenario, int] = {deleted: 0, removed: 1, dismissed: 2, kicked: 3, destroyed: 4, replaced: 101}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    prepare("alice", "bob")
    settings: dict[str, Any] = {"janus": {"room_ids": "integer"}, "recorder": {"segment_seconds": 2}}
    async with Receiver() as receiver, Running(tmp_path_factory.mktemp("system"), callback_url=receiver.url, **settings) as system:
        app = system.config.apps[0]
        async with Client(system.api, app.secret_id, app.secret_key.get_secret_value(), app.sdk_app_id) as calls:
            yield Place(system, calls, receiver)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenarios(place: Place) -> AsyncIterator[dict[Any, asyncio.Task[Any]]]:
    """Each one's end, awaited by its test."""
    most = asyncio.Semaphore(AT_A_TIME)

    async def play(scenario: Callable[[Place], Awaitable[Any]]) -> Any:
        async with most:
            return await scenario(place)

    playing = {scenario: asyncio.create_task(play(scenario)) for scenario in (two_users, *CODES, rooms_of_text)}
    yield playing
    for task in playing.values():
        task.cancel()
    await asyncio.gather(*playing.values(), return_exceptions=True)


@pytest.mark.parametrize("scenario", CODES, ids=lambda scenario: scenario.__name__)
async def test_the_leave_code_and_the_file_s_end(place: Place, scenarios: dict[Scenario, asyncio.Task[Ended]], scenario: Scenario) -> None:
    ended = await scenarios[scenario]
    (uploaded,) = await place.receiver.wait_for(305, task_id=ended.task_id, seconds=90)
    (out,) = [event for event in place.receiver.events(ended.task_id) if event.type == 302]
    assert out.payload == {"LeaveCode": CODES[scenario]}
    assert uploaded.payload == {"Status": 0}
    (path,) = playlists(place.system.store(ended.task_id))
    assert playlist(path).closed
    assert ended.earliest - TOLERANCE < end_of(path) < ended.latest + TOLERANCE


async def test_two_users_are_told_apart_by_their_display(scenarios: dict[Any, asyncio.Task[Any]]) -> None:
    await scenarios[two_users]


async def test_rooms_of_text_cannot_exist_there(scenarios: dict[Any, asyncio.Task[Any]]) -> None:
    await scenarios[rooms_of_text]
