"""`rokuga.client` against the API's real server: what it tries again, when, and with what."""

from dataclasses import replace
from typing import Any

import pytest

from rokuga.client import CallError, Client, NotFound, RecordedFile, TooManyRecordings, Unavailable, WrongParameter, error_of
from rokuga.control.model import FileInfo
from rokuga.errors import ApiError, Fault

from .calls import APP, SECRET_ID, SECRET_KEY, create_body
from .conftest import Running

pytestmark = pytest.mark.live

BROKEN = ApiError("InternalError.CRInternalError", "no answer", Fault.SERVICE)
STORAGE = create_body()["StorageParams"]["CloudStorage"]
SIG = create_body()["UserSig"]


class Waiting:
    """Instead of sleeping: notes how long, and mends the API after so many times."""

    def __init__(self, api: Running, mended_after: int) -> None:
        self.seconds: list[float] = []
        self._api = api
        self._left = mended_after

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._left -= 1
        if self._left == 0:
            self._api.tasks.error = None


def client(api: Running, waiting: Waiting, url: str = "", key: str = SECRET_KEY) -> Client:
    return Client(url or api.url, SECRET_ID, key, APP, sleep=waiting)


async def test_internal_error_is_tried_again_after_3_6_and_12_seconds(api: Running) -> None:
    waiting = Waiting(api, 3)
    api.tasks.error = BROKEN
    async with client(api, waiting) as calls:
        task_id = await calls.create("my room", "recorder_1", SIG, STORAGE, {"MaxIdleTime": 77}, ResourceExpiredHour=7)
    assert waiting.seconds == [3, 6, 12]
    (task,) = api.tasks.tasks.values()
    assert task.task_id == task_id
    assert (task.params.room_id, task.params.room_id_type, task.params.max_idle_time) == ("my room", 0, 77)
    assert api.tasks.expire_hours == 7
    # Each try asked for the same.
    assert len({replace(target, prefix=[]).access_key for target, _ in api.bucket.probed}) == 1
    assert len(api.bucket.probed) == 4


async def test_it_has_an_end(api: Running) -> None:
    waiting = Waiting(api, 99)
    api.tasks.error = BROKEN
    async with client(api, waiting) as calls:
        with pytest.raises(Unavailable, match=r"InternalError.*RequestId") as caught:
            await calls.create(20015, "recorder_1", SIG, STORAGE)
    assert caught.value.code == BROKEN.code
    assert waiting.seconds == [3, 6, 12]
    assert len(api.bucket.probed) == 4


async def test_where_nobody_answers_it_is_the_same(api: Running) -> None:
    waiting = Waiting(api, 99)
    async with client(api, waiting, "http://127.0.0.1:1") as calls:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            await calls.describe("t" * 33)
    assert waiting.seconds == [3, 6, 12]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"user_sig": "no"}, "InvalidParameter.UserSig"),
        ({"record": {"RecordMode": 3}}, "InvalidParameter.OutOfRange"),
        ({"cloud_storage": {}}, "MissingParameter.Vendor"),
    ],
)
async def test_a_wrong_parameter_is_given_up(api: Running, wrong: dict[str, Any], code: str) -> None:
    waiting = Waiting(api, 0)
    async with client(api, waiting) as calls:
        with pytest.raises(WrongParameter) as caught:
            await calls.create("room", "recorder_1", **({"user_sig": SIG, "cloud_storage": STORAGE} | wrong))
    assert caught.value.code == code
    assert waiting.seconds == []


async def test_a_recording_s_life(api: Running) -> None:
    waiting = Waiting(api, 0)
    api.tasks.files = [FileInfo("a.m3u8", "alice", "audio", 1622186279144)]
    async with client(api, waiting) as calls:
        tasks = [await calls.create(number, "recorder_1", SIG, STORAGE) for number in (1, 2)]
        with pytest.raises(TooManyRecordings):
            await calls.create(3, "recorder_1", SIG, STORAGE)
        found = await calls.describe(tasks[0])
        assert (found.status, found.files) == ("InProgress", (RecordedFile("a.m3u8", "alice", "audio", 1622186279144),))
        await calls.modify(tasks[0], {"SubscribeAudioUserIds": ["alice"]})
        assert api.tasks.modified[0][0].audio_allow == ["alice"]
        await calls.delete(tasks[0])
        with pytest.raises(NotFound):
            await calls.delete(tasks[0])
    assert waiting.seconds == []
    async with client(api, waiting, key="wrong") as calls:
        with pytest.raises(CallError, match=r"AuthFailure\.SignatureFailure"):
            await calls.describe(tasks[1])


async def test_a_delete_whose_answer_was_lost_is_no_error(api: Running) -> None:
    waiting = Waiting(api, 1)
    async with client(api, waiting) as calls:
        task_id = await calls.create(1, "recorder_1", SIG, STORAGE)
        # It ends, and the answer is an error all the same.
        del api.tasks.tasks[task_id]
        api.tasks.error = BROKEN
        await calls.delete(task_id)
    assert waiting.seconds == [3]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InvalidParameter.SdkAppId", WrongParameter),
        ("InValidParameter", WrongParameter),
        ("MissingParameter.RoomId", WrongParameter),
        ("InternalError", Unavailable),
        ("InternalError.CRInternalError", Unavailable),
        ("FailedOperation.RestrictedConcurrency", TooManyRecordings),
        ("FailedOperation.RoomNotExist", CallError),
        ("RequestLimitExceeded", CallError),
        ("ResourceNotFound", NotFound),
    ],
)
def test_kinds_of_errors(code: str, kind: type[CallError]) -> None:
    assert type(error_of(code, "why")) is kind
