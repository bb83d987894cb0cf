"""What Temporal stores of ours cannot be read without the key."""

import base64
import os

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from rokuga.control.codec import AesGcm, PayloadError, data_converter, payload_key
from rokuga.control.model import Params, StoreTarget, TaskInput
from rokuga.errors import ConfigError

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
