"""Each official SDK's requests, with the endpoint overridden, over real HTTP: how they differ is in `wire.STYLES`."""

from typing import Any

import pytest

from .calls import APP, OTHER_ID, OTHER_KEY, TASK, create_body
from .conftest import Running
from .wire import FORM, KEY, STYLES, Key, Style, Wire, http, tc3, v1

pytestmark = pytest.mark.live

DESCRIBE: dict[str, Any] = {"SdkAppId": APP, "TaskId": TASK}
NESTED = create_body(
    RoomId="a room & more",
    RoomIdType=0,
    RecordParams__RecordMode=2,
    RecordParams__SubscribeStreamUserIds={"SubscribeAudioUserIds": ["a b+c", "é", "1.*$"]},
    MixLayoutParams={"MixLayoutMode": 3, "PureAudioDisableLayout": True},
)
METHODS = pytest.mark.parametrize("method", ["POST", "GET"])
DIGESTS = pytest.mark.parametrize("digest", ["HmacSHA1", "HmacSHA256"])
FAILURE = "AuthFailure.SignatureFailure"


def check_nested(api: Running) -> None:
    """The one task is the one that NESTED orders."""
    [task] = api.tasks.tasks.values()
    assert task.params.room_id == "a room & more"
    assert task.params.lists.audio_allow == ["a b+c", "é", "1.*$"]
    assert task.params.layout["PureAudioDisableLayout"] is True


@METHODS
@pytest.mark.parametrize("endpoint", ["127.0.0.1:{port}", "localhost:{port}", "trtc.example.com:{port}", "trtc.example.com"])
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
async def test_every_sdk(api: Running, wire: Wire, style: Style, endpoint: str, method: str) -> None:
    named = endpoint.format(port=wire.endpoint.split(":")[1])
    assert await wire.code(tc3(named, "CreateCloudRecording", NESTED, style, method)) == ""
    check_nested(api)
    right = tc3(named, "DescribeCloudRecording", DESCRIBE, style, method)
    assert await wire.code(right) == "ResourceNotFound"
    assert await wire.code(right.replace(TASK.encode(), TASK[:-1].encode() + b"y")) == FAILURE
    assert await wire.code(tc3(named, "DescribeCloudRecording", DESCRIBE, style, method, Key(secret_key="wrong"))) == FAILURE


@METHODS
@DIGESTS
@pytest.mark.parametrize("port", [True, False])
async def test_signature_v1(api: Running, wire: Wire, digest: str, method: str, port: bool) -> None:
    named = wire.endpoint if port else wire.endpoint.split(":")[0]
    assert await wire.code(v1(wire.endpoint, "CreateCloudRecording", NESTED, digest, method)) == ""
    check_nested(api)
    right = v1(named, "DescribeCloudRecording", DESCRIBE, digest, method).replace(
        f"Host: {named}".encode(), f"Host: {wire.endpoint}".encode()
    )
    assert await wire.code(right) == "ResourceNotFound"
    assert await wire.code(right.replace(TASK.encode(), TASK[:-1].encode() + b"y")) == FAILURE
    assert await wire.code(v1(named, "DescribeCloudRecording", DESCRIBE, digest, method, Key(secret_key="wrong"))) == FAILURE


@METHODS
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Key(secret_id="AKIDNOBODY"), "AuthFailure.SecretIdNotFound"),
        (Key(off=-310), "AuthFailure.SignatureExpire"),
        (Key(off=310), "AuthFailure.SignatureExpire"),
        (Key(off=280), "ResourceNotFound"),
        (Key(OTHER_ID, OTHER_KEY), "ResourceNotFound"),
    ],
)
async def test_other_keys_and_clocks(wire: Wire, key: Key, method: str, expected: str) -> None:
    assert await wire.code(tc3(wire.endpoint, "DescribeCloudRecording", DESCRIBE, method=method, key=key)) == expected
    assert await wire.code(v1(wire.endpoint, "DescribeCloudRecording", DESCRIBE, method=method, key=key)) == expected


@pytest.mark.parametrize(
    ("common", "expected"),
    [
        ({"Action": ""}, "MissingParameter"),
        ({"Action": "StopEverything"}, "InvalidAction"),
        ({"Version": ""}, "MissingParameter"),
        ({"Version": "2017-03-12"}, "NoSuchVersion"),
        ({"Timestamp": ""}, "MissingParameter"),
        ({"Timestamp": "soon"}, "InvalidParameter"),
        ({"Nonce": ""}, "MissingParameter"),
        ({"Nonce": "-1"}, "InvalidParameter"),
        ({"SecretId": ""}, "MissingParameter"),
        ({"SignatureMethod": "HmacMD5"}, "InvalidParameter"),
        ({"SignatureMethod": ""}, FAILURE),
        ({"Token": "t"}, "AuthFailure.TokenFailure"),
        ({"Region": ""}, "ResourceNotFound"),
    ],
)
async def test_common_parameters_of_signature_v1(wire: Wire, common: dict[str, str], expected: str) -> None:
    assert await wire.code(v1(wire.endpoint, "DescribeCloudRecording", DESCRIBE, key=KEY, **common)) == expected


async def test_signature_v1_is_hmac_sha1_unless_it_says_otherwise(wire: Wire) -> None:
    assert await wire.code(v1(wire.endpoint, "DescribeCloudRecording", DESCRIBE, "HmacSHA1", SignatureMethod="")) == "ResourceNotFound"


@METHODS
async def test_unsigned_payload_and_further_signed_headers(wire: Wire, method: str) -> None:
    unsigned = {"X-TC-Content-SHA256": "UNSIGNED-PAYLOAD"}
    sent = tc3(wire.endpoint, "DescribeCloudRecording", DESCRIBE, method=method, more=unsigned)
    assert await wire.code(sent) == "ResourceNotFound"
    if method == "POST":
        assert await wire.code(sent.replace(TASK.encode(), TASK[:-1].encode() + b"y")) == "ResourceNotFound"
    action = "DescribeCloudRecording"
    for signs in ({"x-tc-action": action.lower()}, {"x-tc-action": action}, {"x-tc-action": action.lower(), "x-tc-version": "2019-07-22"}):
        sent = tc3(wire.endpoint, action, DESCRIBE, method=method, signs=signs)
        assert await wire.code(sent) == "ResourceNotFound"
        assert await wire.code(sent.replace(b"X-TC-Action: Describe", b"X-TC-Action: Delete")) == FAILURE
    assert (
        await wire.code(tc3(wire.endpoint, action, DESCRIBE, method=method, signs={"x-absent": ""})) == "AuthFailure.InvalidAuthorization"
    )


async def test_endpoints_with_a_scheme_or_a_path(wire: Wire) -> None:
    """Python's SDK sends as Host whatever it was given as endpoint."""
    for endpoint in (f"http://{wire.endpoint}", f"{wire.endpoint}/api"):
        sent = tc3(endpoint, "DescribeCloudRecording", DESCRIBE)
        assert await wire.code(sent.replace(b"POST / ", b"POST /api ")) == "ResourceNotFound"


async def test_temporary_credentials_are_refused(wire: Wire) -> None:
    sent = tc3(wire.endpoint, "DescribeCloudRecording", DESCRIBE, more={"X-TC-Token": "t"})
    assert await wire.code(sent) == "AuthFailure.TokenFailure"


async def test_a_large_form(wire: Wire) -> None:
    assert await wire.code(v1(wire.endpoint, "DescribeCloudRecording", {**DESCRIBE, "New": "é" * 50_000})) == "ResourceNotFound"


async def test_neither_signature(wire: Wire) -> None:
    for request in (
        http("GET", "/?SdkAppId=1", {"Host": "x"}),
        http("POST", "/", {"Host": "x", "Content-Type": FORM}, b"SdkAppId=1"),
        http("POST", "/", {"Host": "x", "Content-Type": "application/json"}, b"Signature=x"),
        http("POST", "/?Signature=x", {"Host": "x"}),
    ):
        assert await wire.code(request) == "AuthFailure.InvalidAuthorization"


async def test_forms_that_say_nothing(wire: Wire) -> None:
    for form in (b"Signature=x&A=%ff", b"Signature=x&Signature=y", b"&".join(b"A%d=" % n for n in range(2001))):
        assert await wire.code(http("POST", "/", {"Host": "x", "Content-Type": f"{FORM}; charset=utf-8"}, form)) == "InvalidParameter"
    both = v1(wire.endpoint, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK, "TaskId.0": "x"})
    assert await wire.code(both) == "InvalidParameter"
