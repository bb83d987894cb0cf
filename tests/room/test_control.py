"""Sending users out and ending rooms, on a Janus with string ids and on one with integer ids, directly and through the API."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from rokuga.api import usersig
from rokuga.api.server import build_app, listening
from rokuga.config import App, Config, Janus, Server, Temporal
from rokuga.embedded import EmbeddedJanus
from rokuga.errors import RoomError
from rokuga.folders import DataFolder
from rokuga.room.control import Occupant, RoomControl, occupants
from rokuga.room.janus import open_room
from rokuga.room.protocol import Gone
from tests.api.calls import APP, OTHER_APP, OTHER_ID, OTHER_KEY, SECRET_ID, SECRET_KEY, USER_SIG_KEY, call, code, create_body
from tests.api.memory import MemoryBucket, MemoryTasks
from tests.kit.room_user import RoomUser, room_user
from tests.room.watch import watching

SECRET = "ours"


@dataclass
class Scene:
    """A Janus of one kind and an API in front of it. ``room``: as the Janus says it; ``form``: what the actions' names end in."""

    janus: Janus
    url: str
    tasks: MemoryTasks
    form: str

    def name(self, number: int) -> str | int:
        return f"room {number}" if self.janus.room_ids == "string" else number

    async def call(self, action: str, room: object, **fields: Any) -> str:
        """The error's code."""
        return code(await call(self.url, action + self.form, {"SdkAppId": APP, "RoomId": room, **fields}))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["string", "integer"])
async def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder, tasks = tmp_path_factory.mktemp(request.param), MemoryTasks()
    wanted = Janus(room_ids=request.param, room_secret=SecretStr(SECRET), api_secret=SecretStr("api"))
    async with EmbeddedJanus(folder / "janus", wanted) as janus:
        apps = (
            App(sdk_app_id=APP, secret_id=SECRET_ID, secret_key=SecretStr(SECRET_KEY), user_sig_key=SecretStr(USER_SIG_KEY)),
            App(sdk_app_id=OTHER_APP, secret_id=OTHER_ID, secret_key=SecretStr(OTHER_KEY), user_sig_key=SecretStr(USER_SIG_KEY)),
        )
        config = Config(server=Server(port=0), temporal=Temporal(payload_key=SecretStr("x")), apps=apps, janus=janus.config)
        async with listening(config, build_app(config, DataFolder(folder), tasks, MemoryBucket().probe, rate=10000)) as url:
            yield Scene(janus.config, url, tasks, "ByStrRoomId" if request.param == "string" else "")


live = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]


def marked(test: Any) -> Any:
    for mark in live:
        test = mark(test)
    return test


async def names(user: RoomUser) -> set[str]:
    listed = (await user.request(request="listparticipants"))["participants"]
    return {one["display"] for one in listed}


@marked
async def test_users_are_sent_out_with_all_their_feeds_and_nobody_else(scene: Scene) -> None:
    room = scene.name(1)
    scene.tasks.foretold.clear()
    async with AsyncExitStack() as stack:
        users = {}
        for name in ("alice", "alice#aux", "bob", "carol"):
            users[name] = await stack.enter_async_context(room_user(scene.janus, room, name))
        assert await scene.call("RemoveUser", room, UserIds=["alice", "carol", "nobody"]) == ""
        assert await names(users["bob"]) == {"bob"}
        assert await scene.call("RemoveUser", room, UserIds=["alice"]) == "FailedOperation"
        assert await names(users["bob"]) == {"bob"}
    assert scene.tasks.foretold == [], "no bot was concerned"


@marked
async def test_a_bot_s_recording_is_told_before_it_is_sent_out(scene: Scene) -> None:
    room = scene.name(2)
    scene.tasks.foretold.clear()
    kind = 0 if isinstance(room, str) else 1
    async with open_room(scene.janus, str(room), kind, "bot") as bot, watching(bot) as watch:
        async with open_room(scene.janus, str(room), kind, "other") as other, watching(other) as others:
            scene.tasks.error = RuntimeError("the tasks cannot be told")
            try:
                assert await scene.call("RemoveUser", room, UserIds=["bot"]) == "InternalError.CRInternalError"
                assert await scene.call("DismissRoom", room) == "InternalError.CRInternalError"
            finally:
                scene.tasks.error = None
            assert (watch.gone, others.gone) == (None, None), "who cannot be told is not sent out"
            assert await scene.call("RemoveUser", room, UserIds=["bot"]) == ""
            await watch.until(lambda w: w.gone)
            assert watch.gone == Gone("kicked")
            assert await scene.call("DismissRoom", room) == ""
            await others.until(lambda w: w.gone)
            assert others.gone == Gone("destroyed")
    assert scene.tasks.foretold == [(APP, str(room), ("bot",), 1), (APP, str(room), ("other",), 2)]
    assert await scene.call("DismissRoom", room) == "FailedOperation.RoomNotExist"


@marked
async def test_a_room_is_ended_for_everybody(scene: Scene) -> None:
    room = scene.name(3)
    async with open_room(scene.janus, str(room), 0 if isinstance(room, str) else 1, "bot"), room_user(scene.janus, room, "alice") as alice:
        assert await scene.call("DismissRoom", room) == ""
        with pytest.raises(RoomError) as caught:
            await alice.request(request="listparticipants")
        assert caught.value.code == 426


@marked
async def test_a_recording_s_bot_needs_an_id_that_no_user_has(scene: Scene) -> None:
    """In a room that is not there yet everybody may be the bot, and another recorder's bot makes way."""
    room = scene.name(6)
    kind = 0 if isinstance(room, str) else 1

    async def create(bot: str, kind: int = kind) -> str:
        sig = usersig.make(APP, bot, USER_SIG_KEY, int(time.time()))
        body = create_body(RoomId=str(room), RoomIdType=kind, UserId=bot, UserSig=sig)
        return code(await call(scene.url, "CreateCloudRecording", body))

    before = len(scene.tasks.tasks)
    assert await create("alice") == ""
    async with room_user(scene.janus, room, "alice"), open_room(scene.janus, str(room), kind, "bot"):
        assert await create("alice") == "InvalidParameter.UserId"
        assert await create("bot") == ""
        assert await create("carol") == ""
    assert len(scene.tasks.tasks) == before + 3
    # "room 6" is no number, and a Janus with integer ids has no string rooms.
    assert await create("carol", 1 - kind) == "InvalidParameter.RoomId"


@marked
async def test_what_cannot_be_done_is_told(scene: Scene) -> None:
    room, foreign = scene.name(4), scene.name(5)
    assert await scene.call("RemoveUser", room, UserIds=["alice"]) == "FailedOperation.RoomNotExist"
    assert await scene.call("DismissRoom", room) == "FailedOperation.RoomNotExist"
    async with room_user(scene.janus, room, "owner") as owner:
        await owner.handle.request({"request": "create", "room": foreign, "secret": "theirs"})
        async with room_user(scene.janus, foreign, "alice"):
            assert await scene.call("RemoveUser", foreign, UserIds=["alice"]) == "UnauthorizedOperation"
            assert await scene.call("DismissRoom", foreign) == "UnauthorizedOperation"
            nothing = RoomControl(scene.janus.model_copy(update={"room_secret": SecretStr("")}))
            kind = 0 if isinstance(foreign, str) else 1
            with pytest.raises(RoomError) as caught:
                await nothing.dismiss(str(foreign), kind, _told)
            assert caught.value.code in (429, 433)
    silent = RoomControl(scene.janus.model_copy(update={"url": "ws://127.0.0.1:1"}))
    with pytest.raises(RoomError) as caught:
        await silent.dismiss("1", 1, _told)
    assert caught.value.code == 0


@marked
@pytest.mark.parametrize("action", ["RemoveUser", "DismissRoom"])
async def test_a_string_room_cannot_be_on_a_janus_of_integers(scene: Scene, action: str) -> None:
    users = {"UserIds": ["a"]} if action == "RemoveUser" else {}
    answer = code(await call(scene.url, f"{action}ByStrRoomId", {"SdkAppId": APP, "RoomId": "77", **users}))
    assert answer == ("FailedOperation.RoomNotExist" if scene.form else "InvalidParameter.RoomId")
    # A numeric room is a room of that text where ids are texts.
    assert code(await call(scene.url, action, {"SdkAppId": APP, "RoomId": 77, **users})) == "FailedOperation.RoomNotExist"


@marked
async def test_fields(scene: Scene) -> None:
    room: dict[str, Any] = {"SdkAppId": APP, "RoomId": 1001}
    cases = [
        ("RemoveUser", {**room, "UserIds": ["a"], "SdkAppId": OTHER_APP}, "InvalidParameter.SdkAppId"),
        ("RemoveUser", {"SdkAppId": APP, "UserIds": ["a"]}, "MissingParameter.RoomId"),
        ("RemoveUser", {"RoomId": 1, "UserIds": ["a"]}, "MissingParameter.SdkAppId"),
        ("RemoveUser", room, "MissingParameter.UserIds"),
        ("RemoveUser", {**room, "UserIds": []}, "MissingParameter.UserIds"),
        ("RemoveUser", {**room, "UserIds": [f"u{n}" for n in range(11)]}, "InvalidParameter.UserIds"),
        ("RemoveUser", {**room, "UserIds": "a"}, "InvalidParameter.UserIds"),
        ("RemoveUser", {**room, "UserIds": [1]}, "InvalidParameter"),
        ("RemoveUser", {**room, "UserIds": ["a"], "RoomId": "1001"}, "InvalidParameter.RoomId"),
        ("RemoveUser", {**room, "UserIds": ["a"], "RoomId": 4294967295}, "InvalidParameter.RoomId"),
        ("RemoveUserByStrRoomId", {**room, "UserIds": ["a"]}, "InvalidParameter.RoomId"),
        ("RemoveUserByStrRoomId", {**room, "UserIds": ["a"], "RoomId": "x" * 65}, "InvalidParameter.RoomId"),
        ("DismissRoom", {**room, "RoomId": 0}, "InvalidParameter.RoomId"),
        ("DismissRoom", {"SdkAppId": OTHER_APP, "RoomId": 1}, "InvalidParameter.SdkAppId"),
        ("DismissRoomByStrRoomId", {**room, "RoomId": "é"}, "InvalidParameter.RoomId"),
        ("DismissRoomByStrRoomId", {**room, "RoomId": ""}, "MissingParameter.RoomId"),
    ]
    assert [(action, body, code(await call(scene.url, action, body))) for action, body, _ in cases] == cases


def test_whose_feeds_there_are() -> None:
    listed: list[dict[str, Any]] = [
        {"id": "alice", "display": "Alice in Tokyo"},
        {"id": "alice#aux", "display": ""},
        {"id": "bot", "display": "rokuga-bot:bot"},
        {"id": "eve", "display": "rokuga-bot:bot"},
        {"id": "#aux"},
    ]
    assert occupants(listed, by_display=False) == [
        Occupant("alice", "alice", "alice", False),
        Occupant("alice#aux", "alice", "alice", False),
        Occupant("bot", "bot", "bot", True),
        Occupant("eve", "eve", "eve", False),
        Occupant("#aux", "#aux", "#aux", False),
    ]
    numbered: list[dict[str, Any]] = [
        {"id": 1, "display": "alice"},
        {"id": 2, "display": "alice"},
        {"id": 3, "display": "alice#aux"},
        {"id": 4, "display": "rokuga-bot:bot"},
        {"id": 5},
    ]
    assert occupants(numbered, by_display=True) == [
        Occupant(1, "alice", "alice#1", False),
        Occupant(2, "alice", "alice#2", False),
        Occupant(3, "alice", "alice#3", False),
        Occupant(4, "bot", "bot#4", True),
        Occupant(5, "5", "5#5", False),
    ]


async def _told(bots: frozenset[str]) -> None:
    return None
