"""Who is in a room of a real Janus, and how we come and go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rokuga.config import Janus
from rokuga.embedded import EmbeddedJanus
from rokuga.errors import BotStays, RoomError
from rokuga.room.janus import open_room
from rokuga.room.model import Seating
from rokuga.room.protocol import Gone, UserLeft
from rokuga.room.session import open_session
from tests.kit.room_user import room_user
from tests.kit.running import until
from tests.room.watch import watching

pytestmark = pytest.mark.live

NAMES = ["mia", "zoe", "bob", "yan", "adam", "kim"]
"""Six users in an order that is not the alphabet's."""
SEATS = {name: place for place, name in enumerate(NAMES)}


@pytest.fixture
async def janus(tmp_path: Path) -> AsyncIterator[EmbeddedJanus]:
    async with EmbeddedJanus(tmp_path / "janus") as running:
        yield running


def changed(config: Janus, **fields: Any) -> Janus:
    return config.model_copy(update={k: SecretStr(v) if isinstance(v, str) and k != "admin_url" else v for k, v in fields.items()})


async def test_the_bot_joins_without_publishing_and_creates_the_room(janus: EmbeddedJanus) -> None:
    async with AsyncExitStack() as outlives_the_bot:
        async with open_room(janus.config, "new", 0, "bot") as room, watching(room) as watch:
            user = await outlives_the_bot.enter_async_context(room_user(janus.config, "new", "x"))
            await watch.until(lambda w: w.users)
            assert watch.users == {"x": 0}
            assert watch.streams == ()
            participants = (await user.request(request="listparticipants"))["participants"]
            assert {"id": "bot", "display": "rokuga-bot:bot", "publisher": False} in participants
            (made,) = (await user.request(request="list"))["list"]
            wanted = {
                "notify_joining": True,
                "videocodec": "h264,vp8,vp9,av1",
                "videoorient_ext": False,
                "playoutdelay_ext": False,
                "fir_freq": 0,
            }
            assert {key: made[key] for key in wanted} == wanted
            assert made["audiocodec"].startswith("opus")
            assert made["max_publishers"] >= 100

        async def alone() -> bool:
            return [p["id"] for p in (await user.request(request="listparticipants"))["participants"]] == ["x"]

        # Janus answers that a session is destroyed before its plugins have taken who was on it out of their rooms.
        await until(alone, 20)


async def test_users_before_us_are_in_the_order_in_which_they_came(janus: EmbeddedJanus) -> None:
    async with AsyncExitStack() as stack:
        for name in NAMES:
            await stack.enter_async_context(room_user(janus.config, "r", name))
        await stack.enter_async_context(room_user(janus.config, "another", "adam"))
        for bot in ("bot1", "bot2"):
            room = await stack.enter_async_context(open_room(janus.config, "r", 0, bot))
            watch = await stack.enter_async_context(watching(room))
            assert watch.users == SEATS


async def test_users_after_us_are_in_the_order_in_which_they_come(janus: EmbeddedJanus) -> None:
    async with AsyncExitStack() as stack:
        room = await stack.enter_async_context(open_room(janus.config, "r", 0, "bot"))
        watch = await stack.enter_async_context(watching(room))
        for name in NAMES:
            await stack.enter_async_context(room_user(janus.config, "r", name))
        await watch.until(lambda w: len(w.users) == len(NAMES))
        assert watch.users == SEATS


@pytest.mark.parametrize("broken", [{"admin_url": ""}, {"admin_secret": "wrong"}, {"admin_url": "ws://127.0.0.1:1"}])
async def test_without_the_admin_api_they_are_ordered_by_name(janus: EmbeddedJanus, broken: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        for name in NAMES:
            await stack.enter_async_context(room_user(janus.config, "r", name))
        room = await stack.enter_async_context(open_room(changed(janus.config, **broken), "r", 0, "bot"))
        watch = await stack.enter_async_context(watching(room))
        assert sorted(watch.users, key=lambda name: watch.users[name]) == sorted(NAMES)


async def test_users_leave_in_every_way_and_return_to_a_new_place(janus: EmbeddedJanus) -> None:
    async with AsyncExitStack() as stack:
        room = await stack.enter_async_context(open_room(janus.config, "r", 0, "bot"))
        watch = await stack.enter_async_context(watching(room))
        users = [await stack.enter_async_context(room_user(janus.config, "r", name)) for name in ("a", "b", "c", "d")]
        await watch.until(lambda w: len(w.users) == 4)
        await users[0].leave()
        await users[1].detach()
        await users[2].close_socket()
        await watch.until(lambda w: w.users == {"d": 3})
        await users[0].join()
        await watch.until(lambda w: w.users == {"d": 3, "a": 4})
        assert sum(isinstance(change, UserLeft) for change in watch.changes) == 3
        await users[0].request(request="kick", id="d")
        await watch.until(lambda w: w.users == {"a": 4})


async def test_somebody_else_s_room_that_tells_nothing_is_asked(janus: EmbeddedJanus) -> None:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(janus.config))
        user = await stack.enter_async_context(room_user(janus.config, "elsewhere", "owner"))
        await user.handle.request({"request": "create", "room": "r"})
        await stack.enter_async_context(room_user(janus.config, "r", "early"))
        room = await stack.enter_async_context(open_room(janus.config, "r", 0, "bot"))
        watch = await stack.enter_async_context(watching(room))
        assert watch.users == {"early": 0}
        late = await stack.enter_async_context(room_user(janus.config, "r", "late"))
        await watch.until(lambda w: w.users == {"early": 0, "late": 1})
        await late.leave()
        await watch.until(lambda w: w.users == {"early": 0})
        assert watch.joined("late") == 1
        assert session.id


async def test_other_bots_are_nobody_s_anchors(janus: EmbeddedJanus) -> None:
    async with open_room(janus.config, "r", 0, "bot1") as one, watching(one) as watch, open_room(janus.config, "r", 0, "bot2") as two:
        async with watching(two) as other, room_user(janus.config, "r", "x"):
            await watch.until(lambda w: w.users)
            await other.until(lambda w: w.users)
            assert watch.users == other.users == {"x": 0}
            assert watch.joined("bot2") == other.joined("bot1") == 0


async def test_destroyed(janus: EmbeddedJanus) -> None:
    async with room_user(janus.config, "r", "x") as user, open_room(janus.config, "r", 0, "bot") as room, watching(room) as watch:
        await user.request(request="destroy")
        await watch.until(lambda w: w.gone)
        assert watch.gone == Gone("destroyed")


async def test_kicked(janus: EmbeddedJanus) -> None:
    async with room_user(janus.config, "r", "x") as user, open_room(janus.config, "r", 0, "bot") as room, watching(room) as watch:
        await user.request(request="kick", id="bot")
        await watch.until(lambda w: w.gone)
        assert watch.gone == Gone("kicked")


async def test_a_janus_that_dies_is_a_lost_link_and_those_who_stay_keep_their_places(janus: EmbeddedJanus) -> None:
    seating = Seating()
    async with AsyncExitStack() as stack:
        for name in ("zoe", "mia", "adam"):
            await stack.enter_async_context(room_user(janus.config, "r", name))
        async with open_room(janus.config, "r", 0, "bot", seating=seating) as room, watching(room) as watch:
            await watch.until(lambda w: len(w.users) == 3)
            await janus.child.kill()
            await watch.until(lambda w: w.gone)
            assert watch.gone == Gone("link-lost")
    await janus.start()
    async with room_user(janus.config, "r", "adam"), room_user(janus.config, "r", "new"), room_user(janus.config, "r", "zoe"):
        async with open_room(janus.config, "r", 0, "bot", seating=seating) as room, watching(room) as watch:
            assert watch.users == {"zoe": 0, "adam": 2, "new": 3}


async def test_a_predecessor_s_session_is_removed(janus: EmbeddedJanus) -> None:
    # The room's secret is another's: only by its session can the predecessor be removed.
    async with room_user(janus.config, "elsewhere", "owner") as owner:
        await owner.handle.request({"request": "create", "room": "r", "secret": "theirs", "notify_joining": True})
    async with open_room(janus.config, "r", 0, "bot") as old, watching(old) as watch:
        with pytest.raises(RoomError) as caught:
            async with open_room(janus.config, "r", 0, "bot"):
                pass
        assert caught.value.code == 436
        async with open_room(janus.config, "r", 0, "bot", [old.session_id]) as new:
            await watch.until(lambda w: w.gone)
            assert watch.gone == Gone("replaced")
            assert new.session_id != old.session_id
    async with open_room(janus.config, "r", 0, "bot", [12345]) as room:
        assert room.session_id, "a session that is gone already is no error"


async def test_a_bot_that_rejoins_sends_nobody_away(janus: EmbeddedJanus) -> None:
    """Whoever has its id now is its successor; what it has left itself, also by a try that came to nothing, is removed."""
    config = changed(janus.config, room_secret="ours")
    sessions: list[int] = []
    async with open_room(config, "r", 0, "bot", sessions) as first:
        assert sessions == [first.session_id]
        async with open_room(config, "r", 0, "bot", sessions, ousts=False) as second, watching(second) as watch:
            assert sessions == [second.session_id] != [first.session_id]
            mine: list[int] = []
            with pytest.raises(BotStays, match="stays in the room") as caught:
                async with open_room(config, "r", 0, "bot", mine, ousts=False):
                    pass
            assert caught.value.code == 436
            assert len(mine) == 1
            assert watch.gone is None


async def test_a_bot_of_ours_that_holds_the_id_is_sent_away_but_not_a_user(janus: EmbeddedJanus) -> None:
    config = changed(janus.config, room_secret="ours")
    async with open_room(config, "r", 0, "bot") as old, watching(old) as watch, open_room(config, "r", 0, "bot") as new:
        await watch.until(lambda w: w.gone)
        assert watch.gone == Gone("replaced")
        async with watching(new) as other, room_user(janus.config, "r", "x"):
            await other.until(lambda w: w.users == {"x": 0})
            for ousts in (True, False):
                with pytest.raises(RoomError, match="x is a user in the room") as caught:
                    async with open_room(config, "r", 0, "x", ousts=ousts):
                        pass
                assert not isinstance(caught.value, BotStays)
            assert other.users == {"x": 0}


async def test_secrets(tmp_path: Path) -> None:
    secret = SecretStr("api")
    async with EmbeddedJanus(tmp_path / "janus", Janus(api_secret=secret, admin_key=SecretStr("key"))) as janus:
        config = changed(janus.config, room_pin="1234", room_secret="ours")
        async with open_room(config, "r", 0, "bot") as room, watching(room) as watch:
            assert watch.users == {}
            for wrong, code in (({"api_secret": "no"}, 403), ({"room_pin": "no"}, 433)):
                with pytest.raises(RoomError) as caught:
                    async with open_room(changed(config, **wrong), "r", 0, "bot2"):
                        pass
                assert caught.value.code == code
        with pytest.raises(RoomError):
            async with open_room(changed(config, admin_key="no"), "another", 0, "bot"):
                pass


async def test_integer_ids(tmp_path: Path) -> None:
    async with EmbeddedJanus(tmp_path / "janus", Janus(room_ids="integer")) as janus:
        with pytest.raises(RoomError):
            async with open_room(janus.config, "42", 0, "bot"):
                pass
        async with AsyncExitStack() as stack:
            for name in ("zoe", "adam"):
                await stack.enter_async_context(room_user(janus.config, 42, name))
            room = await stack.enter_async_context(open_room(janus.config, "42", 1, "bot"))
            watch = await stack.enter_async_context(watching(room))
            assert watch.users == {"zoe": 0, "adam": 1}
            await stack.enter_async_context(room_user(janus.config, 42, "zoe"))
            await watch.until(lambda w: len(w.users) == 3)
            assert any(name.startswith("zoe#") for name in watch.users)
            with pytest.raises(RoomError) as caught:
                async with open_room(janus.config, "42", 1, "adam"):
                    pass
            assert caught.value.code == 436
            async with open_room(janus.config, "42", 1, "bot"):
                await watch.until(lambda w: w.gone)


async def test_a_room_that_is_not_looked_at_gives_up_instead_of_growing(janus: EmbeddedJanus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rokuga.room.janus.INBOX", 8)
    async with open_room(janus.config, "r", 0, "bot") as room, room_user(janus.config, "r", "x") as user:
        for _ in range(8):
            await user.leave()
            await user.join()
        async with asyncio.timeout(10):
            changes = [change async for change in room.changes()]
        assert changes[-1] == Gone("link-lost")
