"""The bodies of callback events 301 to 309, and their signature: pure.

Field types follow what production sends, not the table: ``EventTs`` is a string in 301, 302 and 307 and a number elsewhere,
``RoomId`` is always a string, 304's ``FileList`` is a string (callback section of TRTC's on-cloud recording guide).
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

EVENT_GROUP = 3
_TEXT_SECONDS = frozenset({301, 302, 307})


@dataclass(frozen=True)
class Event:
    """Something to tell the app's receiver. ``ms`` is when it happened, UTC; ``key`` tells doubles apart within a task."""

    type: int
    ms: int
    payload: dict[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Sender:
    """What every event of a task says about it; ``user_id`` is the bot's."""

    task_id: str
    sdk_app_id: int
    room_id: str
    user_id: str


def recorder_start(ms: int, status: int) -> Event:
    """301, once a task. ``status`` 0: the bot is in the room, 1: it could not start."""
    return Event(301, ms, {"Status": status}, "301")


def recorder_stop(ms: int, leave_code: int) -> Event:
    """302, once a task: its last generation is out."""
    return Event(302, ms, {"LeaveCode": leave_code}, "302")


def upload_start(ms: int, status: int) -> Event:
    """303, once a task. ``status`` 1: the store refuses."""
    return Event(303, ms, {"Status": status}, "303")


def file_info(ms: int, generation: int, file: str) -> Event:
    """304: the first version of a playlist is in the store."""
    return Event(304, ms, {"FileList": file}, f"304/{generation}/{file}")


def upload_stop(ms: int, status: int) -> Event:
    """305. ``status`` 0: all is in the store, 1: something is not, 2: now that is, too.

    A task says 0 or 1 once: if it has to decide again, because its worker was lost, the first word holds.
    """
    return Event(305, ms, {"Status": status}, "305/2" if status == 2 else "305")


def failover(ms: int, generation: int) -> Event:
    """306: that generation has taken over."""
    return Event(306, ms, {"Status": 0}, f"306/{generation}")


def file_slice(ms: int, generation: int, file: str, user_id: str, track_type: str, begin_ms: int) -> Event:
    """307: the first segment of a playlist was cut."""
    payload = {"FileName": file, "UserId": user_id, "TrackType": track_type, "BeginTimeStamp": begin_ms}
    return Event(307, ms, payload, f"307/{generation}/{file}")


def upload_error(ms: int, generation: int, key: str, code: str, message: str) -> Event:
    """308: the store's own words. ``key`` tells one such error from the next."""
    return Event(308, ms, {"Code": code, "Message": message}, f"308/{generation}/{key}")


def image_error(ms: int, generation: int, url: str) -> Event:
    """309: a background or watermark image could not be had or decoded."""
    return Event(309, ms, {"Url": url}, f"309/{generation}/{url}")


def body(event: Event, sender: Sender, callback_ms: int) -> str:
    """The JSON text of ``event``, first tried at ``callback_ms`` (UTC): the same arguments give the same bytes."""
    seconds = event.ms // 1000
    info = {
        "RoomId": sender.room_id,
        "EventTs": str(seconds) if event.type in _TEXT_SECONDS else seconds,
        "EventMsTs": event.ms,
        "UserId": sender.user_id,
        "TaskId": sender.task_id,
        "Payload": event.payload,
    }
    envelope = {"EventGroupId": EVENT_GROUP, "EventType": event.type, "CallbackTs": callback_ms, "EventInfo": info}
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False)


def sign(key: str, raw: bytes) -> str:
    """The ``Sign`` header: Base64(HMAC-SHA256(key, body))."""
    return base64.b64encode(hmac.new(key.encode(), raw, hashlib.sha256).digest()).decode()
