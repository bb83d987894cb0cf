"""Callback bodies and their signature."""

import json

import pytest

from rokuga.deliver import events
from rokuga.deliver.events import Event, Sender, body, sign

SENDER = Sender("task-1", 1400000001, "1000000007", "recorder_1")


def test_the_signature_of_the_published_example() -> None:
    raw = (
        '{\n\t"EventGroupId":\t2,\n\t"EventType":\t204,\n\t"CallbackTs":\t1664209748188,\n\t"EventInfo":\t{\n\t\t"RoomId":\t8489,'
        '\n\t\t"EventTs":\t1664209748,\n\t\t"EventMsTs":\t1664209748180,\n\t\t"UserId":\t"user_85034614",\n\t\t"Reason":\t0\n\t}\n}'
    )
    assert sign("123654", raw.encode()) == "kkoFeO3Oh2ZHnjtg8tEAQhtXK16/KI05W3BQff8IvGA="


def test_bodies_as_production_sends_them() -> None:
    assert body(events.recorder_stop(1768910045351, 0), SENDER, 1768910045393) == (
        '{"EventGroupId":3,"EventType":302,"CallbackTs":1768910045393,"EventInfo":{"RoomId":"1000000007","EventTs":"1768910045",'
        '"EventMsTs":1768910045351,"UserId":"recorder_1","TaskId":"task-1","Payload":{"LeaveCode":0}}}'
    )
    assert body(events.upload_stop(1768910045384, 0), SENDER, 1768910045429) == (
        '{"EventGroupId":3,"EventType":305,"CallbackTs":1768910045429,"EventInfo":{"RoomId":"1000000007","EventTs":1768910045,'
        '"EventMsTs":1768910045384,"UserId":"recorder_1","TaskId":"task-1","Payload":{"Status":0}}}'
    )


@pytest.mark.parametrize(
    ("event", "number", "payload"),
    [
        (events.recorder_start(7999, 1), 301, {"Status": 1}),
        (events.recorder_stop(7999, 99), 302, {"LeaveCode": 99}),
        (events.upload_start(7999, 0), 303, {"Status": 0}),
        (events.file_info(7999, 0, "xx.m3u8"), 304, {"FileList": "xx.m3u8"}),
        (events.upload_stop(7999, 2), 305, {"Status": 2}),
        (events.failover(7999, 1), 306, {"Status": 0}),
        (
            events.file_slice(7999, 0, "xx.m3u8", "録画", "audio", 1622186279144),
            307,
            {"FileName": "xx.m3u8", "UserId": "録画", "TrackType": "audio", "BeginTimeStamp": 1622186279144},
        ),
        (
            events.upload_error(7999, 0, "k", "InvalidParameter", "AccessKey invalid"),
            308,
            {"Code": "InvalidParameter", "Message": "AccessKey invalid"},
        ),
        (events.image_error(7999, 0, "http://xx"), 309, {"Url": "http://xx"}),
    ],
)
def test_each_event(event: Event, number: int, payload: dict[str, object]) -> None:
    info = json.loads(body(event, SENDER, 8001))
    assert (info["EventGroupId"], info["EventType"], info["CallbackTs"]) == (3, number, 8001)
    assert info["EventInfo"]["Payload"] == payload
    assert list(info["EventInfo"]["Payload"]) == list(payload)
    assert info["EventInfo"]["EventMsTs"] == 7999
    assert info["EventInfo"]["EventTs"] == ("7" if number in (301, 302, 307) else 7)


def test_keys_tell_generations_and_files_apart() -> None:
    keys = [events.file_info(1, g, f).key for g in (0, 1) for f in ("a", "b")]
    keys += [events.file_slice(1, g, "a", "u", "audio", 1).key for g in (0, 1)]
    keys += [events.upload_error(1, g, k, "c", "m").key for g in (0, 1) for k in ("x", "y")]
    keys += [events.upload_stop(1, s).key for s in (0, 2)]
    assert len(set(keys)) == len(keys)
    assert events.upload_stop(1, 0).key == events.upload_stop(2, 1).key
    assert events.recorder_start(1, 0).key == events.recorder_start(2, 1).key
