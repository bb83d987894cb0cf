"""Transactions over a WebSocket whose other end does what it should not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from rokuga.config import Janus
from rokuga.embedded.process import free_port
from rokuga.errors import RoomError
from rokuga.room.janus import room_number
from rokuga.room.link import Message, open_link


@asynccontextmanager
async def server(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    port = free_port()
    async with serve(handler, "127.0.0.1", port, subprotocols=[Subprotocol("janus-protocol")]):
        yield f"ws://127.0.0.1:{port}"


async def read(socket: ServerConnection) -> Message:
    message: Message = json.loads(await socket.recv())
    return message


async def test_answers_find_their_questions_in_any_order_and_events_go_elsewhere() -> None:
    async def handler(socket: ServerConnection) -> None:
        first, second = await read(socket), await read(socket)
        assert first["apisecret"] == "s"
        await socket.send(json.dumps({"janus": "ack", "transaction": first["transaction"]}))
        await socket.send(json.dumps({"janus": "success", "transaction": second["transaction"], "of": second["n"]}))
        await socket.send(json.dumps({"janus": "event", "sender": 1, "transaction": first["transaction"], "of": first["n"]}))
        await socket.send(json.dumps({"janus": "event", "sender": 1}))
        await socket.wait_closed()

    events: list[Message] = []
    async with server(handler) as url, open_link(url, "janus-protocol", {"apisecret": "s"}, events.append) as link:
        replies = await asyncio.gather(*(link.call({"janus": "message", "n": n}) for n in (1, 2)))
        assert [r["of"] for r in replies] == [1, 2]
        async with asyncio.timeout(5):
            while len(events) < 2:
                await asyncio.sleep(0.01)
        assert [e.get("of") for e in events] == [1, None]


async def test_an_acknowledgement_is_enough_where_nothing_else_follows() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"janus": "ack", "transaction": (await read(socket))["transaction"]}))
        await socket.wait_closed()

    async with server(handler) as url, open_link(url, "janus-protocol", {}) as link:
        assert (await link.call({"janus": "keepalive"}, ack=True))["janus"] == "ack"


async def test_an_error_has_its_code() -> None:
    async def handler(socket: ServerConnection) -> None:
        error = {"code": 403, "reason": "Unauthorized request"}
        await socket.send(json.dumps({"janus": "error", "transaction": (await read(socket))["transaction"], "error": error}))
        await socket.wait_closed()

    async with server(handler) as url, open_link(url, "janus-protocol", {}) as link:
        with pytest.raises(RoomError) as caught:
            await link.call({"janus": "create"})
        assert (caught.value.code, caught.value.message) == (403, "Unauthorized request")


async def test_no_answer_is_an_error_in_time() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with server(handler) as url, open_link(url, "janus-protocol", {}) as link:
        with pytest.raises(RoomError, match="no answer to create"):
            await link.call({"janus": "create"}, timeout=0.1)
        assert link.lost is None


async def test_a_closed_socket_fails_all_that_wait_and_all_that_come() -> None:
    async def handler(socket: ServerConnection) -> None:
        await read(socket)
        await read(socket)
        socket.transport.abort()

    lost: list[RoomError] = []
    async with server(handler) as url, open_link(url, "janus-protocol", {}, on_lost=lost.append) as link:
        start = time.monotonic()
        results = await asyncio.gather(*(link.call({"janus": "message"}) for _ in range(2)), return_exceptions=True)
        assert time.monotonic() - start < 3, "must not wait for the time limit of 5 s"
        assert [r.code for r in results if isinstance(r, RoomError)] == [0, 0]
        with pytest.raises(RoomError):
            await link.call({"janus": "message"})
        assert len(lost) == 1


async def test_a_server_of_another_kind() -> None:
    async def handler(socket: ServerConnection) -> None:
        await read(socket)
        await socket.send("hello")
        await socket.wait_closed()

    async with server(handler) as url, open_link(url, "janus-protocol", {}) as link:
        with pytest.raises(RoomError, match="does not speak"):
            await link.call({"janus": "create"})


async def test_an_event_that_a_listener_chokes_on_is_a_lost_link_and_no_more() -> None:
    async def handler(socket: ServerConnection) -> None:
        await read(socket)
        await socket.send(json.dumps({"janus": "event", "sender": 1}))
        await socket.wait_closed()

    lost: list[RoomError] = []
    async with server(handler) as url, open_link(url, "janus-protocol", {}, lambda message: message["plugindata"], lost.append) as link:
        with pytest.raises(RoomError, match="cannot be understood"):
            await link.call({"janus": "create"})
    assert len(lost) == 1


async def test_nobody_there() -> None:
    with pytest.raises(RoomError, match="no Janus at ws://127"):
        async with open_link(f"ws://127.0.0.1:{free_port()}", "janus-protocol", {}):
            pass


def test_room_numbers() -> None:
    assert room_number(Janus(), "12", 1) == "12"
    integer = Janus(room_ids="integer")
    assert room_number(integer, "12", 1) == 12
    for room_id, room_id_type in (("12", 0), ("x", 1), ("", 1)):
        with pytest.raises(RoomError):
            room_number(integer, room_id, room_id_type)
