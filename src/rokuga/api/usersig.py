"""UserSig (TLSSigAPIv2) and PrivateMapKey: tickets that a TRTC app's backend hands out, made and verified without I/O.

Format: JSON, deflated (RFC 1950), base64 with ``+/=`` written as ``*-_``. The key is the app's SDKSecretKey, used as its text.
"""

import base64
import binascii
import hmac
import json
import struct
import zlib
from typing import Any

from rokuga.errors import RokugaError
from rokuga.words import Words

DEFAULT_EXPIRE = 180 * 86400
"""seconds, as in Tencent's libraries"""
INFLATED_MAX = 8192
"""bytes; a real ticket has about 300"""
ENTER_ROOM = 2
RECEIVE = 8 | 32
"""audio and video; with ENTER_ROOM all that a recorder needs"""

_TO_URL = str.maketrans("+/=", "*-_")
_FROM_URL = str.maketrans("*-_", "+/=")


class TicketError(RokugaError):
    """A UserSig or PrivateMapKey is not valid; ``why`` says it and holds no part of it."""

    def __init__(self, template: str, /, **values: object) -> None:
        self.why = Words(template, **values)
        super().__init__(str(self.why))


def make(sdk_app_id: int, user_id: str, key: str, now: int, expire: int = DEFAULT_EXPIRE, userbuf: bytes | None = None) -> str:
    """A UserSig of ``user_id``, valid for ``expire`` seconds from ``now`` (seconds since the epoch); with ``userbuf`` a PrivateMapKey."""
    buffer = None if userbuf is None else base64.b64encode(userbuf).decode()
    fields: dict[str, Any] = {
        "TLS.ver": "2.0",
        "TLS.identifier": user_id,
        "TLS.sdkappid": sdk_app_id,
        "TLS.expire": expire,
        "TLS.time": now,
    }
    if buffer is not None:
        fields["TLS.userbuf"] = buffer
    fields["TLS.sig"] = _signature(sdk_app_id, user_id, key, now, expire, buffer)
    return base64.b64encode(zlib.compress(json.dumps(fields).encode())).decode().translate(_TO_URL)


def verify(ticket: str, sdk_app_id: int, user_id: str, key: str, now: float) -> None:
    """Check a UserSig. Raises TicketError."""
    if _open(ticket, sdk_app_id, user_id, key, now) is not None:
        raise TicketError("it is a PrivateMapKey, not a UserSig")


def make_room_key(
    sdk_app_id: int, user_id: str, key: str, now: int, room_id: str, room_id_type: int, expire: int = DEFAULT_EXPIRE, privileges: int = 255
) -> str:
    """A PrivateMapKey: ``user_id`` may do ``privileges`` (a bit set) in one room. ``room_id_type``: 0 string, 1 number."""
    account = user_id.encode()
    number = int(room_id) if room_id_type == 1 else 0
    buffer = struct.pack(">BH", 1 - room_id_type, len(account)) + account
    buffer += struct.pack(">5I", sdk_app_id, number, now + expire, privileges, 0)
    if room_id_type == 0:
        buffer += struct.pack(">H", len(room_id.encode())) + room_id.encode()
    return make(sdk_app_id, user_id, key, now, expire, buffer)


def verify_room_key(ticket: str, sdk_app_id: int, user_id: str, key: str, now: float, room_id: str, room_id_type: int) -> None:
    """Check that a PrivateMapKey lets ``user_id`` enter this room and receive audio and video. Raises TicketError."""
    buffer = _open(ticket, sdk_app_id, user_id, key, now)
    if buffer is None:
        raise TicketError("it is a UserSig, not a PrivateMapKey")
    try:
        version, length = struct.unpack_from(">BH", buffer)
        account = buffer[3 : 3 + length]
        app, number, expires, privileges, _ = struct.unpack_from(">5I", buffer, 3 + length)
        room = str(number)
        if version == 1:
            (size,) = struct.unpack_from(">H", buffer, 23 + length)
            room = buffer[25 + length : 25 + length + size].decode()
    except (struct.error, UnicodeDecodeError):
        raise TicketError("its userbuf is damaged") from None
    if version != 1 - room_id_type or room != room_id:
        raise TicketError("it was made for another room")
    if account != user_id.encode() or app != sdk_app_id:
        raise TicketError("its userbuf was made for another user or app")
    if now > expires:
        raise TicketError("it has expired")
    if privileges & (needed := ENTER_ROOM | RECEIVE) != needed:
        raise TicketError(
            "it must grant the privileges {needed} (enter, receive audio, receive video), it grants {granted}",
            needed=needed,
            granted=privileges,
        )


def _open(ticket: str, sdk_app_id: int, user_id: str, key: str, now: float) -> bytes | None:
    """The verified ticket's userbuf, None if it has none."""
    fields = _parse(ticket)
    match fields:
        case {
            "TLS.identifier": str(identifier),
            "TLS.sdkappid": int(app),
            "TLS.time": int(time),
            "TLS.expire": int(expire),
            "TLS.sig": str(given),
        }:
            pass
        case _:
            raise TicketError("it lacks a field (version 2 has TLS.identifier, TLS.sdkappid, TLS.time, TLS.expire, TLS.sig)")
    buffer = fields.get("TLS.userbuf")
    if app != sdk_app_id:
        raise TicketError("it was made for another SdkAppId")
    if identifier != user_id:
        raise TicketError("it was made for another UserId")
    if buffer is not None and not isinstance(buffer, str):
        raise TicketError("its TLS.userbuf is not a string")
    expected = _signature(app, identifier, key, time, expire, buffer)
    if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        raise TicketError("its signature is wrong: it was made with another key than this app's")
    if now > time + expire:
        raise TicketError("it expired {seconds} seconds ago", seconds=int(now) - time - expire)
    try:
        return None if buffer is None else base64.b64decode(buffer, validate=True)
    except binascii.Error:
        raise TicketError("its TLS.userbuf is not base64") from None


def _parse(ticket: str) -> dict[str, Any]:
    try:
        packed = base64.b64decode(ticket.translate(_FROM_URL), validate=True)
        inflater = zlib.decompressobj()
        text = inflater.decompress(packed, INFLATED_MAX)
        fields = json.loads(text)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        raise TicketError("it is not a ticket of version 2 (JSON, deflated, in base64 with *-_)") from None
    if not inflater.eof or not isinstance(fields, dict):
        raise TicketError("it is not a ticket of version 2 (JSON, deflated, in base64 with *-_)")
    return fields


def _signature(sdk_app_id: int, user_id: str, key: str, time: int, expire: int, buffer: str | None) -> str:
    text = f"TLS.identifier:{user_id}\nTLS.sdkappid:{sdk_app_id}\nTLS.time:{time}\nTLS.expire:{expire}\n"
    if buffer is not None:
        text += f"TLS.userbuf:{buffer}\n"
    return base64.b64encode(hmac.digest(key.encode(), text.encode("utf-8", "replace"), "sha256")).decode()
