"""The envelope: whatever comes in, and whatever happens behind it."""

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from rokuga.api import actions, endpoint, protocol, usersig
from rokuga.api.server import build_app, listening
from rokuga.config import Config
from rokuga.errors import ApiError, Fault, StoreError
from rokuga.folders import DataFolder

from .calls import APP, TASK, USER_SIG_KEY, call, code, create_body, envelope, signed_headers
from .conftest import Running
from .memory import MemoryBucket, MemoryTasks

pytestmark = pytest.mark.live

DESCRIBE = {"SdkAppId": APP, "TaskId": TASK}
INTERNAL = "InternalError.CRInternalError"


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=False, trust_env=False, timeout=30)


@pytest.mark.parametrize("path", ["/", "/api", "/%00%ff", "//x?a=1", "/healthz/x", "/mediax", "/a/../b", "*"])
async def test_any_method_and_path_gets_the_envelope(api: Running, path: str) -> None:
    async with client() as http:
        for method, expected in [
            ("POST", "AuthFailure.InvalidAuthorization"),
            ("GET", "AuthFailure.InvalidAuthorization"),
            *[(method, "UnsupportedProtocol") for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "FOO")],
        ]:
            answer = await http.request(method, api.url + "/", extensions={"target": path.encode()}, content=b"{}")
            assert code(envelope(answer)) == expected
        head = await http.head(api.url + "/")
        assert (head.status_code, head.headers["content-type"]) == (200, "application/json")


def header(length: int) -> bytes:
    """A well-formed request whose header has so many bytes."""
    frame = b"GET /?X= HTTP/1.1\r\nHost: x\r\n\r\n"
    return frame.replace(b"X=", b"X=" + b"x" * (length - len(frame)))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "AuthFailure.InvalidAuthorization"),
        (b"GET http://a/x HTTP/1.1\r\nHost: http://a\r\n\r\n", "AuthFailure.InvalidAuthorization"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "AuthFailure.InvalidAuthorization"),
        (b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "AuthFailure.InvalidAuthorization"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", "RequestSizeLimitExceeded"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "RequestSizeLimitExceeded"),
        (header(60_000), "AuthFailure.InvalidAuthorization"),
        (header(400_000), "RequestSizeLimitExceeded"),
        (b"GET / HTTP/1.1\r\n\r\n", "InvalidRequest"),
        (b"nonsense\r\n\r\n", "InvalidRequest"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "InvalidRequest"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "InvalidRequest"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "InvalidRequest"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "UnsupportedProtocol"),
    ],
    ids=range(14),
)
async def test_all_that_comes_gets_the_envelope(api: Running, sent: bytes, expected: str, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    # To CONNECT a 200 would be an open tunnel.
    assert head.startswith("http/1.1 405 " if sent.startswith(b"CONNECT") else "http/1.1 200 ")
    assert "\r\ncontent-type: application/json\r\n" in head
    length = int(re.search(r"content-length: (\d+)", head)[1])  # type: ignore[index]
    members = json.loads(await reader.readexactly(length))["Response"]
    assert (members["Error"]["Code"], len(members["RequestId"])) == (expected, 36)
    writer.transport.abort()
    # Nor may it be an error of the server's.
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


async def test_every_answer_has_an_id_of_its_own(api: Running) -> None:
    ids = {(await call(api.url, "DescribeCloudRecording", DESCRIBE))["RequestId"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-TC-Action": ""}, "MissingParameter"),
        ({"X-TC-Action": "StopEverything"}, "InvalidAction"),
        ({"X-TC-Action": "é"}, "InvalidAction"),
        ({"X-TC-Version": ""}, "MissingParameter"),
        ({"X-TC-Version": "2017-03-12"}, "NoSuchVersion"),
        ({"X-TC-Region": "nowhere"}, "ResourceNotFound"),
    ],
)
async def test_common_parameters(api: Running, headers: dict[str, str], expected: str) -> None:
    body = b'{"SdkAppId": %d, "TaskId": "%s"}' % (APP, TASK.encode())
    sent = signed_headers(api.url.split("//")[1], "DescribeCloudRecording", body) | headers
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    async with client() as http:
        assert code(envelope(await http.post(api.url, content=body, headers=raw))) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "MissingParameter.SdkAppId"),
        (b" ", "MissingParameter.SdkAppId"),
        (b"{}", "MissingParameter.SdkAppId"),
        (b"{", "InvalidParameter"),
        (b"[]", "InvalidParameter"),
        (b"null", "InvalidParameter"),
        (b"SdkAppId=1", "InvalidParameter"),
        (b"\xff\xfe", "InvalidParameter"),
        (b'{"SdkAppId": NaN}', "InvalidParameter"),
        (b'{"SdkAppId": 1' + b"0" * 5000 + b"}", "InvalidParameter"),
        (b'{"TaskId": "\\ud800"}', "InvalidParameter"),
        (b'{"SdkAppId":' + b"[" * 100_000, "InvalidParameter"),
        (b'{"SdkAppId":' + b"[" * 150 + b"]" * 150 + b"}", "InvalidParameter.SdkAppId"),
    ],
    ids=range(13),
)
async def test_bodies_that_are_no_request(api: Running, body: bytes, expected: str) -> None:
    assert code(await call(api.url, "DescribeCloudRecording", body)) == expected


async def test_null_counts_as_absent(api: Running) -> None:
    body = create_body() | {"MixLayoutParams": None, "RoomIdType": None, "ResourceExpiredHour": None}
    body["RecordParams"]["SubscribeStreamUserIds"] = {"SubscribeAudioUserIds": None}
    assert code(await call(api.url, "CreateCloudRecording", body)) == ""
    body["UserId"] = None
    assert code(await call(api.url, "CreateCloudRecording", body)) == "MissingParameter.UserId"


async def test_task_ids(api: Running) -> None:
    ids = {actions.new_task_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{31,}", one) for one in ids)


async def test_the_body_limit(api: Running) -> None:
    for size, expected in [
        (endpoint.BODY_BYTES, "InvalidParameter"),
        (endpoint.BODY_BYTES + 1, "RequestSizeLimitExceeded"),
        (5_000_000, "RequestSizeLimitExceeded"),
    ]:
        assert code(await call(api.url, "DescribeCloudRecording", b"x" * size)) == expected


async def test_an_endless_body_is_cut_off(api: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    answer = asyncio.create_task(reader.read(100_000))
    try:
        while not answer.done():
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    assert b"RequestSizeLimitExceeded" in await answer
    writer.transport.abort()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123", b"InvalidRequest"),
        (b"POST / HTTP/1.1\r\nHost", b""),
        (b"", b""),
    ],
    ids=["body", "header", "nothing"],
)
async def test_a_slow_request(api: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes, expected: bytes) -> None:
    monkeypatch.setattr(endpoint, "ARRIVE_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "ARRIVE_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
    writer.write(sent)
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert expected in answer
    assert bool(answer) == bool(expected)
    writer.close()
    await writer.wait_closed()
    assert code(await call(api.url, "DescribeCloudRecording", DESCRIBE)) == "ResourceNotFound"


async def test_header_and_body_share_their_time(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "ARRIVE_SECONDS", 1.0)
    monkeypatch.setattr(protocol, "ARRIVE_SECONDS", 1.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
    began = time.monotonic()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le")
    await asyncio.sleep(0.7)
    writer.write(b"ngth: 10\r\n\r\n123")
    assert b"InvalidRequest" in await reader.read()
    assert time.monotonic() - began < 1.6
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_leaves_in_the_middle(api: Running) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
    await writer.drain()
    with structlog.testing.capture_logs() as logs:
        writer.transport.abort()
        async with asyncio.timeout(20):
            while not any("client left" in line["event"] for line in logs):
                await asyncio.sleep(0.01)
    assert code(await call(api.url, "DescribeCloudRecording", DESCRIBE)) == "ResourceNotFound"


async def test_keep_alive_serves_request_after_request(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "ARRIVE_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(api.url).port)
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
        # Longer than a header may take: the pause between two requests is no slow request.
        await asyncio.sleep(0.4)
    writer.close()
    await writer.wait_closed()


def test_time_limits_leave_room_below_six_seconds() -> None:
    assert actions.PROBE_SECONDS + 3 <= endpoint.ANSWER_SECONDS <= 5.5


@pytest.mark.parametrize("action", ["CreateCloudRecording", "DescribeCloudRecording", "ModifyCloudRecording", "DeleteCloudRecording"])
async def test_everything_hangs(api: Running, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    monkeypatch.setattr(endpoint, "ANSWER_SECONDS", 0.5)
    api.tasks.hang = True
    answer = await call(api.url, action, create_body() if action.startswith("Create") else DESCRIBE)
    assert code(answer) == INTERNAL
    # The tasks' client learns of it, so that it can end what it may have started.
    assert len(api.tasks.cancelled) == action.startswith("Create")


async def test_a_bucket_that_hangs_does_not_stop_a_recording(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "PROBE_SECONDS", 0.2)
    api.bucket.hang = True
    answer = await call(api.url, "CreateCloudRecording", create_body())
    assert list(api.tasks.tasks) == [answer["TaskId"]]


async def test_a_bucket_that_says_no(api: Running) -> None:
    api.bucket.error = StoreError("SignatureDoesNotMatch", "The request signature we calculated does not match.", refused=True)
    answer = await call(api.url, "CreateCloudRecording", create_body())
    assert code(answer) == "FailedOperation"
    assert answer["Error"]["Message"].startswith("SignatureDoesNotMatch: The request signature we calculated does not match.")
    assert not api.tasks.tasks
    api.bucket.error = StoreError("SlowDown", "busy", refused=False)
    answer = await call(api.url, "CreateCloudRecording", create_body())
    assert list(api.tasks.tasks) == [answer["TaskId"]]


async def test_an_unforeseen_fault_says_nothing_of_the_request(api: Running) -> None:
    for error in (ValueError("store-secret"), ApiError(INTERNAL, "not now", Fault.SERVICE)):
        api.tasks.error = error
        with structlog.testing.capture_logs() as logs:
            answer = await call(api.url, "CreateCloudRecording", create_body())
        assert code(answer) == INTERNAL
        assert [line["log_level"] for line in logs if line["event"].startswith("request ")] == ["error"]
        assert "store-secret" not in str(logs) + str(answer)


async def test_no_secret_is_logged(api: Running) -> None:
    body = create_body(Unknown=1)
    with structlog.testing.capture_logs() as logs:
        await call(api.url, "CreateCloudRecording", body)
        await call(api.url, "CreateCloudRecording", create_body(UserSig="a-wrong-sig"))
    text = str(logs)
    assert "'fields': ['Unknown']" in text
    assert not [secret for secret in ("store-key", "store-secret", body["UserSig"], "a-wrong-sig", "EXAMPLEKEY") if secret in text]


async def test_too_many_under_way(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUESTS_MAX", 0)
    assert code(await call(api.url, "DescribeCloudRecording", DESCRIBE)) == "RequestLimitExceeded"


async def test_the_rate_limit_is_per_action_and_secret_id(config: Config, tmp_path: Path) -> None:
    app = build_app(config, DataFolder(tmp_path), MemoryTasks(), MemoryBucket().probe, rate=2)
    async with listening(config, app) as url:
        codes = [code(await call(url, "DescribeCloudRecording", DESCRIBE)) for _ in range(12)]
        assert codes[:2] == ["ResourceNotFound"] * 2
        assert "RequestLimitExceeded" in codes[2:]
        assert code(await call(url, "DeleteCloudRecording", DESCRIBE)) == "ResourceNotFound"
        assert code(await call(url, "DescribeCloudRecording", DESCRIBE, secret_id="AKIDOTHER", secret_key="OTHERKEY")) == "ResourceNotFound"


async def test_private_map_key(config: Config, tmp_path: Path) -> None:
    strict = config.model_copy(update={"apps": (config.apps[0].model_copy(update={"private_map_key": True, "callback_url": "http://x/"}),)})
    tasks = MemoryTasks()
    async with listening(strict, build_app(strict, DataFolder(tmp_path), tasks, MemoryBucket().probe)) as url:
        right = usersig.make_room_key(APP, "recorder_1", USER_SIG_KEY, int(time.time()), "3560", 1)
        wrong = usersig.make_room_key(APP, "recorder_1", USER_SIG_KEY, int(time.time()), "3561", 1)
        cases: list[tuple[Any, str]] = [
            (None, "MissingParameter"),
            ("", "MissingParameter"),
            (wrong, "InvalidParameter"),
            ("x", "InvalidParameter"),
            (right, ""),
        ]
        for ticket, expected in cases:
            assert code(await call(url, "CreateCloudRecording", create_body(PrivateMapKey=ticket))) == expected
        [task] = tasks.tasks.values()
        assert task.callbacks is True
