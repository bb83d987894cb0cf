"""What Temporal stores of ours cannot be read without the key."""

import base64
import dataclasses
import os

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from rokuga.control.codec import AesGcm, PayloadError, data_converter, payload_key
from rokuga.control.model import Params, Report, StoreTarget, TaskInput
from rokuga.control.state import TaskState
from rokuga.deliver.events import Sender, body, upload_error
from rokuga.deliver.queue import MAX_WAITING, Queue
from rokuga.errors import ConfigError
from rokuga.hls.naming import encode_id

KEY = bytes(range(32))
TASK = TaskInput("t", Params(1, "room", 0, "bot"), StoreTarget(0, "r", "b", "the-access-key", "the-secret-key"), "the-user-sig")


async def test_a_payload_comes_back_and_says_nothing_meanwhile() -> None:
    converter = data_converter(KEY)
    (stored,) = await converter.encode([TASK])
    raw = stored.SerializeToString()
    for word in (b"the-access-key", b"the-secret-key", b"the-user-sig", b"json"):
        assert word not in raw
    assert await converter.decode([stored], [TaskInput]) == [TASK]
    (again,) = await converter.encode([TASK])
    assert again.data != stored.data


async def test_what_a_long_task_carries_over_is_within_temporals_limit() -> None:
    """2 MB a payload; past it a workflow can neither continue as new nor be asked."""
    limit = 2 * 1024 * 1024
    converter = data_converter(KEY)
    task = TaskState()
    for number in range(5000):
        user = encode_id(f"user-{number:05d}-of-32-characters-name")
        name = f"1400000001_{encode_id('a room with a name of many words')}__UserId_s_{user}__UserId_e_main_video.m3u8"
        about = {"file": name, "user_id": user, "track_type": "video", "begin_ms": 1_700_000_000_000 + number}
        task.report(Report(0, f"sliced/{name}", "sliced", 1_700_000_000_000, about), 0)
    queue, sender = Queue(), Sender("t" + "x" * 32, 1400000001, "room" * 16, "bot")
    for number in range(MAX_WAITING):
        event = upload_error(1_700_000_000_000, 0, f"upload_error/AccessDenied/{number}", "AccessDenied", "バケットに書き込めません" * 40)
        queue.add(event)
        queue.items[-1].body = body(event, sender, number)
    for carried in (dataclasses.asdict(task), dataclasses.asdict(queue)):
        (plain,) = DataConverter.default.payload_converter.to_payloads([carried])
        assert len(plain.data) > limit
        (stored,) = await converter.encode([carried])
        assert len(stored.SerializeToString()) < limit / 2
        assert await converter.decode([stored]) == [carried]


@pytest.mark.parametrize("damage", [{"compression": b""}, {"compression": b"other"}])
async def test_the_compression_mark_is_authentic(damage: dict[str, bytes]) -> None:
    (stored,) = await AesGcm(KEY).encode([Payload(data=bytes(100_000))])
    assert len(stored.data) < 1000
    with pytest.raises(PayloadError):
        await AesGcm(KEY).decode([Payload(metadata={**stored.metadata, **damage}, data=stored.data)])


async def test_failures_are_sealed_but_for_their_type() -> None:
    converter = data_converter(KEY)
    failure = Failure()
    await converter.encode_failure(ApplicationError("the-secret-key is wrong", type="StartFailed"), failure)
    assert b"the-secret-key" not in failure.SerializeToString()
    back = await converter.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert (back.message, back.type) == ("the-secret-key is wrong", "StartFailed")


async def test_another_key_or_a_flipped_bit_is_an_error() -> None:
    (stored,) = await AesGcm(KEY).encode([Payload(data=b"x")])
    with pytest.raises(PayloadError):
        await AesGcm(os.urandom(32)).decode([stored])
    for place in (0, len(stored.data) - 1):
        damaged = bytearray(stored.data)
        damaged[place] ^= 1
        with pytest.raises(PayloadError):
            await AesGcm(KEY).decode([Payload(metadata=stored.metadata, data=bytes(damaged))])
    with pytest.raises(PayloadError):
        await AesGcm(KEY).decode([Payload(metadata=stored.metadata, data=b"")])


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(bytes(31)).decode(), "ä" * 32])
def test_a_key_must_be_32_bytes(text: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        payload_key(text)
    assert "temporal.payload_key" in wrong.value.problems[0]
    assert text not in wrong.value.problems[0] or not text


def test_a_good_key() -> None:
    assert payload_key(base64.b64encode(KEY).decode()) == KEY
