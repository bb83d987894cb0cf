"""Every LeaveCode of event 302 by its real cause, and the recording's file ends at that moment.

The rooms have a pin and a secret, the server an API secret; a recorder reaches it through a wire that can be cut for one room. All
recordings run side by side, since one of them takes as long as a link must be lost for.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rokuga.client import CallError, Client
from rokuga.config import Janus
from rokuga.embedded import EmbeddedJanus
from rokuga.journal.records import Params
from rokuga.publish import Publisher
from rokuga.room.session import open_session
from tests.kit.journals import records
from tests.kit.media_checks import playlist, playlists
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.running import SDK_APP_ID, Running, until
from tests.kit.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

TOLERANCE = 1.0
SECRETS = {"room_secret": "theirs", "room_pin": "1234", "api_secret": "of the server"}
BOT = "recorder_1"


@dataclass(frozen=True)
class Place:
    """``janus`` is the users' own way to it. ``calls`` tries again as a customer does: all of it begins at once, on any machine.

    ``others`` are another app's.
    """

    system: Running
    calls: Client
    others: Client
    receiver: Receiver
    janus: Janus
    wire: Wire


@dataclass(frozen=True)
class Ended:
    """A recording, and between which two moments (UTC, seconds) it was ended."""

    task_id: str
    earliest: float
    latest: float


@asynccontextmanager
async def recorded(place: Place, room: str, kind: int = 0, idle: int = 30) -> AsyncIterator[tuple[str, Publisher]]:
    """A task records alice, and a file of it is in the store."""
    async with person(place.janus, room, "alice", "audio") as alice:
        task_id = await place.system.create(room, room_id_type=kind, record={"MaxIdleTime": idle})
        await until(lambda: len(list(place.system.store(task_id).glob("*.ts"))) > 1)
        yield task_id, alice


async def during(task_id: str, act: Awaitable[object]) -> Ended:
    earliest = time.time()
    await act
    return Ended(task_id, earliest, time.time())


async def by_api(place: Place, room: str, kind: int, action: str, others: bool = False, **fields: object) -> Ended:
    async with recorded(place, room, kind) as (task_id, _):
        calls, room_id = place.others if others else place.calls, int(room) if kind else room
        return await during(task_id, calls.call(action, {"RoomId": room_id, **fields}))


async def by_somebody_else(place: Place, room: str, request: str, **more: object) -> Ended:
    """Whoever knows the room's secret and speaks to Janus itself."""
    async with recorded(place, room) as (task_id, _), open_session(place.janus) as session:
        handle = await session.attach(_Deaf())
        return await during(task_id, handle.request({"request": request, "room": room, "secret": SECRETS["room_secret"], **more}))


async def deleted(place: Place) -> Ended:
    async with recorded(place, "deleted") as (task_id, _):
        return await during(task_id, place.calls.delete(task_id))


async def removed_by_text(place: Place) -> Ended:
    return await by_api(place, "removed", 0, "RemoveUserByStrRoomId", UserIds=["nobody", BOT])


async def removed_by_number(place: Place) -> Ended:
    return await by_api(place, "1001", 1, "RemoveUser", UserIds=[BOT])


async def dismissed_by_text(place: Place) -> Ended:
    return await by_api(place, "dismissed", 0, "DismissRoomByStrRoomId")


async def dismissed_by_number(place: Place) -> Ended:
    return await by_api(place, "1002", 1, "DismissRoom")


async def removed_by_another_app(place: Place) -> Ended:
    return await by_api(place, "removed by others", 0, "RemoveUserByStrRoomId", others=True, UserIds=[BOT])


async def dismissed_by_another_app(place: Place) -> Ended:
    return await by_api(place, "dismissed by others", 0, "DismissRoomByStrRoomId", others=True)


async def kicked(place: Place) -> Ended:
    return await by_somebody_else(place, "kicked", "kick", id=BOT)


async def destroyed(place: Place) -> Ended:
    return await by_somebody_else(place, "destroyed", "destroy")


async def left_alone(place: Place) -> Ended:
    async with recorded(place, "empty", idle=5) as (task_id, alice):
        return await during(task_id, alice.leave())


async def cut_off(place: Place) -> Ended:
    """The recorder's link to this room is cut and stays so; Janus, the user and all other rooms go on."""
    async with recorded(place, "lost") as (task_id, _):
        now = time.time()
        assert place.wire.forbid(b'"room":"lost"') == 1
        await place.receiver.wait_for(302, task_id=task_id, seconds=90)
        return Ended(task_id, now, now)


async def replaced(place: Place) -> Ended:
    async with recorded(place, "same") as (task_id, _):
        earliest = time.time()
        second = await place.system.create("same")
        (start,) = await place.receiver.wait_for(301, task_id=second)
        await place.system.delete(second)
        return Ended(task_id, earliest, start.info["EventMsTs"] / 1000)


async def guest_removed(place: Place) -> None:
    async with recorded(place, "guests") as (task_id, _), person(place.janus, "guests", "bob", "audio"):
        await until(lambda: len(list(playlists(place.system.store(task_id)))) == 2)
        earliest = time.time()
        await place.calls.remove_users("guests", ["bob"])
        latest = time.time()
        bobs, alices = sorted(playlists(place.system.store(task_id)), key=lambda path: playlist(path).tag("EXT-X-TRTC-USER-ID") != "bob")
        count = len(playlist(alices).entries)
        await until(lambda: len(playlist(alices).entries) > count + 1)
        await place.system.delete(task_id)
        await place.receiver.wait_for(305, task_id=task_id)
    assert earliest - TOLERANCE < end_of(bobs) < latest + TOLERANCE
    assert end_of(alices) > latest + TOLERANCE


async def another_app_s_task(place: Place) -> None:
    """Its TaskId is known to those whom it does not concern."""
    async with recorded(place, "apart") as (task_id, _):
        for sdk_app_id in (SDK_APP_ID, SDK_APP_ID + 1):
            for action in ("Describe", "Modify", "Delete"):
                with pytest.raises(CallError, match="ResourceNotFound"):
                    await place.others.call(f"{action}CloudRecording", {"SdkAppId": sdk_app_id, "TaskId": task_id})
        # Nor does our own key help where the app is another one.
        with pytest.raises(CallError, match="ResourceNotFound"):
            await place.calls.call("DescribeCloudRecording", {"SdkAppId": SDK_APP_ID + 1, "TaskId": task_id})
        with pytest.raises(CallError, match=r"InvalidParameter\.SdkAppId"):
            await place.others.call("CreateCloudRecording", place.system.recording_of("apart", "recorder_2"))
        assert (await place.calls.describe(task_id)).status == "InProgress"
        assert [record.version for record in records(place.system.data, task_id) if isinstance(record, Params)] == [1]
        await place.calls.delete(task_id)
        (out,) = await place.receiver.wait_for(302, task_id=task_id)
        assert out.payload == {"LeaveCode": 0}


async def foreign_room(place: Place) -> None:
    """Its secret is another's."""
    async with open_session(place.janus) as session:
        handle = await session.attach(_Deaf())
        await handle.request({"request": "create", "room": "foreign", "secret": "not ours", "pin": SECRETS["room_pin"]})
        async with recorded(place, "foreign") as (task_id, _):
            for action, fields in (("RemoveUserByStrRoomId", {"UserIds": [BOT]}), ("DismissRoomByStrRoomId", {})):
                with pytest.raises(CallError, match="UnauthorizedOperation"):
                    await place.calls.call(action, {"RoomId": "foreign", **fields})
            assert (await place.system.describe(task_id))["Status"] == "InProgress"
            await place.system.delete(task_id)
            (out,) = await place.receiver.wait_for(302, task_id=task_id)
            assert out.payload == {"LeaveCode": 0}


Scenario = Callable[[Place], Awaitable[Ended]]
CODES: dict[Scenario, int] = {
    cut_off: 100,  # first, since it takes longest
    deleted: 0,
    removed_by_text: 1,
    removed_by_number: 1,
    dismissed_by_text: 2,
    dismissed_by_number: 2,
    kicked: 3,
    removed_by_another_app: 3,
    destroyed: 4,
    dismissed_by_another_app: 4,
    left_alone: 99,
    replaced: 101,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    prepare("alice")
    folder = tmp_path_factory.mktemp("system")
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        wanted = Janus.model_validate(SECRETS)
        janus = await stack.enter_async_context(EmbeddedJanus(folder / "janus", wanted))
        wire = Wire(janus.config.port)
        await wire.mend()
        stack.push_async_callback(wire.cut)
        ours = {"url": f"ws://127.0.0.1:{wire.port}", **SECRETS}
        settings: dict[str, Any] = {"recorder": {"segment_seconds": 2}, "app": {"max_tasks": 20}, "other_apps": 1}
        system = await stack.enter_async_context(Running(folder, callback_url=receiver.url, janus=ours, **settings))
        calls, others = [
            await stack.enter_async_context(Client(system.api, app.secret_id, app.secret_key.get_secret_value(), app.sdk_app_id))
            for app in system.config.apps
        ]
        yield Place(system, calls, others, receiver, janus.config, wire)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenarios(place: Place) -> AsyncIterator[dict[Any, asyncio.Task[Any]]]:
    """Each one's end, awaited by its test."""

    most = asyncio.Semaphore(4)

    async def play(scenario: Callable[[Place], Awaitable[Any]]) -> Any:
        async with most:
            return await scenario(place)

    playing = {scenario: asyncio.create_task(play(scenario)) for scenario in (*CODES, guest_removed, foreign_room, another_app_s_task)}
    yield playing
    for task in playing.values():
        task.cancel()
    await asyncio.gather(*playing.values(), return_exceptions=True)


@pytest.mark.parametrize("scenario", list(reversed(CODES)), ids=lambda scenario: scenario.__name__)
async def test_the_leave_code_and_the_file_s_end(place: Place, scenarios: dict[Scenario, asyncio.Task[Ended]], scenario: Scenario) -> None:
    ended = await scenarios[scenario]
    (uploaded,) = await place.receiver.wait_for(305, task_id=ended.task_id, seconds=90)
    (out,) = [event for event in place.receiver.events(ended.task_id) if event.type == 302]
    assert out.payload == {"LeaveCode": CODES[scenario]}
    assert uploaded.payload == {"Status": 0}
    (path,) = playlists(place.system.store(ended.task_id))
    assert playlist(path).closed
    assert ended.earliest - TOLERANCE < end_of(path) < ended.latest + TOLERANCE


async def test_a_user_is_removed_and_the_recording_goes_on(scenarios: dict[Any, asyncio.Task[Any]]) -> None:
    await scenarios[guest_removed]


async def test_where_our_api_cannot_act_it_says_so_and_the_recording_goes_on(scenarios: dict[Any, asyncio.Task[Any]]) -> None:
    await scenarios[foreign_room]


async def test_an_app_sees_and_touches_nothing_of_another_s_task(scenarios: dict[Any, asyncio.Task[Any]]) -> None:
    await scenarios[another_app_s_task]


def end_of(path: Path) -> float:
    """When the last segment ends, UTC in seconds."""
    last = playlist(path).entries[-1]
    return datetime.fromisoformat(last.tags["EXT-X-PROGRAM-DATE-TIME"]).timestamp() + last.seconds


class _Deaf:
    """A handle's owner who is not interested."""

    def message(self, message: object) -> None:
        return None

    def lost(self, error: Exception) -> None:
        return None
