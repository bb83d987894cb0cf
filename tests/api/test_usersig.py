import base64
import json
import zlib
from typing import Any

import pytest

from rokuga.api import usersig
from rokuga.api.usersig import TicketError

APP, KEY, USER, TIME, EXPIRE = 1400000001, "0123456789abcdef", "recorder_1", 1700000000, 86400
# Computed with the official library.
KNOWN = (
    "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkilKT84tSUoviDWHyxSnZiQUFmSlAWUMTAwgwhMqlVhRkFqUCZSzMgFJQwZLMXJCQoTlUMUy8ODMdZENQ"
    "ZJFvUJiBZ1hYmH9YXqCFZ1JBsYdjUmG5q6tFRmG5l4l5RWGYmbe5R7mrrVItAD4xM8k_"
)


def packed(fields: Any) -> str:
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return base64.b64encode(zlib.compress(text)).decode().translate(str.maketrans("+/=", "*-_"))


def unpacked(ticket: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(ticket.translate(str.maketrans("*-_", "+/=")))))
    return fields


def test_known_answer() -> None:
    made = usersig.make(APP, USER, KEY, TIME, EXPIRE)
    # Compared unpacked: another zlib may compress otherwise.
    assert unpacked(made) == unpacked(KNOWN)
    assert unpacked(made)["TLS.sig"] == "RYrMRV0IVVVOVnQ8IbpsHAbqwEE8hqwJ47xqV6K7HwE="
    usersig.verify(KNOWN, APP, USER, KEY, TIME + EXPIRE)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"app": APP + 1}, "another SdkAppId"),
        ({"user": "recorder_2"}, "another UserId"),
        ({"key": "fedcba9876543210"}, "another key"),
        ({"now": TIME + EXPIRE + 5}, "expired 5 seconds ago"),
    ],
)
def test_a_ticket_for_something_else(change: dict[str, Any], why: str) -> None:
    asked: dict[str, Any] = {"app": APP, "user": USER, "key": KEY, "now": TIME} | change
    with pytest.raises(TicketError, match=why):
        usersig.verify(KNOWN, asked["app"], asked["user"], asked["key"], asked["now"])


@pytest.mark.parametrize("field", ["TLS.time", "TLS.expire"])
def test_a_changed_field_is_noticed(field: str) -> None:
    fields = unpacked(KNOWN)
    fields[field] += 1
    with pytest.raises(TicketError, match="another key"):
        usersig.verify(packed(fields), APP, USER, KEY, TIME)


@pytest.mark.parametrize(
    "ticket",
    [
        "",
        "x",
        "é",
        "\udc80",
        KNOWN[:-4],
        KNOWN[:40],
        packed(b"not json"),
        packed(b"[" * 8000),
        packed([]),
        packed({}),
        packed({**unpacked(KNOWN), "TLS.expire": "86400"}),
        packed({**unpacked(KNOWN), "TLS.sig": "\ud800"}),
        packed({**unpacked(KNOWN), "TLS.userbuf": 5}),
        base64.b64encode(zlib.compress(b"0" * 100_000_000)).decode(),
    ],
)
def test_damaged_tickets(ticket: str) -> None:
    with pytest.raises(TicketError):
        usersig.verify(ticket, APP, USER, KEY, TIME)


def test_room_keys_known_answers() -> None:
    text = unpacked(usersig.make_room_key(APP, USER, KEY, TIME, "room?1", 0, EXPIRE))
    expected = "01000a7265636f726465725f3153724e010000000065554280000000ff000000000006726f6f6d3f31"
    assert base64.b64decode(text["TLS.userbuf"]).hex() == expected
    assert text["TLS.sig"] == "JZ7b9HtvpBVIoILGTCoBqd/A9kgSv+fy0QpCTu1US1I="
    number = unpacked(usersig.make_room_key(APP, USER, KEY, TIME, "3560", 1, EXPIRE))
    assert base64.b64decode(number["TLS.userbuf"]).hex() == "00000a7265636f726465725f3153724e0100000de865554280000000ff00000000"


@pytest.mark.parametrize(("room", "kind"), [("room?1", 0), ("3560", 1)])
def test_room_keys(room: str, kind: int) -> None:
    enough = usersig.make_room_key(APP, USER, KEY, TIME, room, kind, EXPIRE, privileges=42)
    usersig.verify_room_key(enough, APP, USER, KEY, TIME, room, kind)
    too_few = usersig.make_room_key(APP, USER, KEY, TIME, room, kind, EXPIRE, privileges=10)
    for ticket, asked_room, asked_kind, now, why in [
        (enough, "3561", 1, TIME, "another room"),
        (enough, room, 1 - kind, TIME, "another room"),
        (enough, room, kind, TIME + EXPIRE + 1, "expired"),
        (too_few, room, kind, TIME, "must grant"),
        (KNOWN, room, kind, TIME, "is a UserSig"),
        (usersig.make(APP, USER, KEY, TIME, EXPIRE, b"\x00"), room, kind, TIME, "damaged"),
        (usersig.make(APP, USER, KEY, TIME, EXPIRE, b"\x01\xff\xff"), room, kind, TIME, "damaged"),
    ]:
        with pytest.raises(TicketError, match=why):
            usersig.verify_room_key(ticket, APP, USER, KEY, now, asked_room, asked_kind)
    with pytest.raises(TicketError, match="is a PrivateMapKey"):
        usersig.verify(enough, APP, USER, KEY, TIME)
