"""Whatever is sent, the answer is the envelope with a TRTC code, and never an internal error."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rokuga.api.server import Api, build_app
from rokuga.api.signature_v1 import COMMON
from rokuga.config import Config
from rokuga.folders import DataFolder

from .calls import APP, TASK, code, create_body, envelope, signed_headers
from .memory import MemoryBucket, MemoryTasks
from .wire import FORM, v1

pytestmark = pytest.mark.live

HOST = "127.0.0.1:1"
ROOMS = ["RemoveUser", "RemoveUserByStrRoomId", "DismissRoom", "DismissRoomByStrRoomId"]
ACTIONS = ["CreateCloudRecording", "DescribeCloudRecording", "ModifyCloudRecording", "DeleteCloudRecording", *ROOMS]
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

numbers = st.one_of(
    st.integers(), st.sampled_from([0, 1, -1, 2**31, 2**32, 2**63, 2**64, 10**30]), st.floats(allow_nan=False, allow_infinity=False)
)
leaves = st.one_of(
    st.none(), st.booleans(), numbers, st.text(max_size=40), st.sampled_from(["", "a", "é", "../..", "\0", "1.*$", "t" * 5000])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)


def paths(node: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a request."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield (*prefix, key)
        yield from paths(child, (*prefix, key))


def whole_request(action: str) -> dict[str, Any]:
    """A request with every object that there is."""
    lists = {"SubscribeAudioUserIds": ["a"], "UnSubscribeVideoUserIds": ["b.*$"]}
    mark = {"Top": 0, "Left": 0, "Width": 1, "Height": 1}
    marks = [
        {"WaterMarkType": 0, "WaterMarkImage": mark | {"WaterMarkUrl": "https://h/m.png"}},
        {"WaterMarkType": 1, "WaterMarkChar": mark | {"Chars": "x", "FontColor": "0xFFFFFF"}},
        {"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 0, "TimeZone": 8}},
    ]
    cell = {"Top": 0, "Left": 0, "Width": 9, "Height": 9, "UserId": "a", "SubBackgroundImage": "https://h/i.png"}
    layout = {"MixLayoutMode": 4, "MixLayoutList": [cell], "BackGroundColor": "#FF0000", "WaterMarkList": marks}
    if action in ROOMS:
        return {"SdkAppId": APP, "RoomId": "room" if "Str" in action else 1001, "UserIds": ["a", "b"]}
    if not action.startswith("Create"):
        return {"SdkAppId": APP, "TaskId": TASK, "SubscribeStreamUserIds": lists, "MixLayoutParams": layout}
    body = create_body(RecordParams__SubscribeStreamUserIds=lists, MixLayoutParams=layout)
    body["StorageParams"]["CloudStorage"]["FileNamePrefix"] = ["p"]
    video = {"Width": 9, "Height": 9, "Fps": 15, "BitRate": 64000, "Gop": 10}
    body["MixTranscodeParams"] = {"VideoParams": video, "AudioParams": {"SampleRate": 1, "Channel": 1, "BitRate": 32000}}
    return body


@pytest.fixture
def app(config: Config, tmp_path: Path) -> Api:
    return build_app(config, DataFolder(tmp_path), MemoryTasks(), MemoryBucket().probe, rate=1e9)


@asynccontextmanager
async def connected(app: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://{HOST}") as http:
        yield http


def ask(app: Api, **request: Any) -> str:
    """Send one request past the socket; the answer's code. Nothing may have failed inside, and no traceback be told."""

    async def send() -> str:
        async with connected(app) as http:
            answer = await http.request(**request)
            assert b"Traceback" not in answer.content
            return code(envelope(answer))

    with structlog.testing.capture_logs() as logs:
        answered = asyncio.run(send())
    # There is no Janus here for the actions on rooms, which is the server's fault and logged as one.
    assert [line for line in logs if line["log_level"] == "error" and line.get("code") != "UnsupportedOperation"] == []
    return answered


def form_parts(request: bytes) -> tuple[str, str, bytes]:
    """Method, target and body of a request's bytes."""
    head, _, body = request.partition(b"\r\n\r\n")
    method, target, _ = head.decode().split("\r\n")[0].split(" ")
    return method, target, body


@FUZZ
@given(action=st.sampled_from(ACTIONS), mixed=st.booleans(), data=st.data())
def test_signed_requests_with_wrong_values(app: Api, action: str, mixed: bool, data: st.DataObject) -> None:
    body = copy.deepcopy(whole_request(action))
    if action.startswith("Create") and mixed:
        body["RecordParams"]["RecordMode"] = 2
    for path in data.draw(st.lists(st.sampled_from(list(paths(body))), max_size=3)):
        node = body
        try:
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = data.draw(values)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    raw = json.dumps(body).encode()
    answered = ask(app, method="POST", url="/", content=raw, headers=signed_headers(HOST, action, raw))
    assert not answered.startswith(("InternalError", "AuthFailure")), answered


@FUZZ
@given(action=st.sampled_from(ACTIONS), body=st.one_of(st.binary(max_size=200), values.map(lambda value: json.dumps(value).encode())))
def test_signed_bodies_of_any_kind(app: Api, action: str, body: bytes) -> None:
    answered = ask(app, method="POST", url="/", content=body, headers=signed_headers(HOST, action, body))
    assert answered.startswith(("InvalidParameter", "MissingParameter"))


@FUZZ
@given(
    action=st.sampled_from(ACTIONS), query=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=80)
)
def test_signed_queries_of_any_kind(app: Api, action: str, query: str) -> None:
    sent = httpx.URL(f"http://{HOST}/?{query}").query.decode()
    headers = signed_headers(HOST, action, b"", method="GET", query=sent, content_type="application/x-www-form-urlencoded")
    answered = ask(app, method="GET", url=f"/?{query}", headers=headers)
    assert answered.startswith(("InvalidParameter", "MissingParameter"))


@FUZZ
@given(
    action=st.sampled_from(ACTIONS),
    method=st.sampled_from(["POST", "GET"]),
    digest=st.sampled_from(["HmacSHA1", "HmacSHA256"]),
    fields=st.dictionaries(
        st.one_of(
            st.sampled_from(["SdkAppId", "TaskId", "RecordParams.RecordMode", "StorageParams", "A.0", "A.1.b", "."]), st.text(max_size=8)
        ),
        st.text(max_size=20),
        max_size=4,
    ),
)
def test_signed_forms_of_any_kind(app: Api, action: str, method: str, digest: str, fields: dict[str, str]) -> None:
    sent = {name: value for name, value in fields.items() if name not in COMMON}
    verb, target, body = form_parts(v1(HOST, action, sent, digest, method))
    answered = ask(app, method=verb, url=target, content=body, headers={"Host": HOST, "Content-Type": FORM})
    assert answered.startswith(("InvalidParameter", "MissingParameter", "ResourceNotFound")), answered


@FUZZ
@given(
    method=st.sampled_from(["POST", "GET"]),
    pairs=st.dictionaries(st.one_of(st.sampled_from(sorted(COMMON)), st.text(max_size=5)), st.text(max_size=12), max_size=9),
    raw=st.binary(max_size=20),
)
def test_forms_of_any_kind(app: Api, method: str, pairs: dict[str, str], raw: bytes) -> None:
    form = urlencode({"Signature": "x"} | pairs).encode() + raw
    if method == "GET":
        query = "".join(chr(byte) for byte in form if 33 <= byte <= 126 and byte != ord("#"))
        answered = ask(app, method="GET", url=f"/?{query}", headers={"Host": HOST})
    else:
        answered = ask(app, method="POST", url="/", content=form, headers={"Host": HOST, "Content-Type": FORM})
    assert answered.startswith(("AuthFailure", "InvalidParameter", "MissingParameter")), answered


header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
near = st.one_of(
    header_text,
    st.sampled_from(["TC3-HMAC-SHA256 Credential=a/2023-01-01/b/tc3_request, SignedHeaders=content-type;host, Signature=" + "0" * 64]),
)


@FUZZ
@given(
    method=st.sampled_from(["POST", "GET", "PUT", "X"]),
    path=st.sampled_from(["/", "/a", "/%ff", "/healthz/"]),
    headers=st.dictionaries(
        st.sampled_from(
            ["Authorization", "X-TC-Action", "X-TC-Version", "X-TC-Timestamp", "X-TC-Token", "Content-Type", "X-TC-Content-SHA256"]
        ),
        near,
    ),
    body=st.binary(max_size=50),
)
def test_unsigned_requests_of_any_kind(app: Api, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert not ask(app, method=method, url=path, headers=raw, content=body).startswith("InternalError")
