"""Signed requests, and bodies that are right unless told otherwise."""

import json
import time
from typing import Any

import httpx

from rokuga.api import signature, usersig

APP, OTHER_APP = 1400000001, 1400000002
SECRET_ID, SECRET_KEY = "AKIDEXAMPLE", "EXAMPLEKEY"
OTHER_ID, OTHER_KEY = "AKIDOTHER", "OTHERKEY"
USER_SIG_KEY = "0123456789abcdef"
TASK = "t" + "x" * 32


def create_body(**changes: Any) -> dict[str, Any]:
    """CreateCloudRecording's parameters; ``changes`` are dotted names with `__` for the dot, None drops a field."""
    body: dict[str, Any] = {
        "SdkAppId": APP,
        "RoomId": "3560",
        "UserId": "recorder_1",
        "UserSig": usersig.make(APP, "recorder_1", USER_SIG_KEY, int(time.time())),
        "RecordParams": {"RecordMode": 1},
        "StorageParams": {
            "CloudStorage": {
                "Vendor": 0,
                "Region": "ap-shanghai",
                "Bucket": "test-1250000000",
                "AccessKey": "store-key",
                "SecretKey": "store-secret",
            }
        },
    }
    for name, value in changes.items():
        *parents, last = name.split("__")
        node = body
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return body


def signed_headers(
    host: str,
    action: str,
    body: bytes,
    secret_id: str = SECRET_ID,
    secret_key: str = SECRET_KEY,
    method: str = "POST",
    query: str = "",
    timestamp: int | None = None,
    content_type: str = "application/json",
) -> dict[str, str]:
    """Headers of a TC3 request as the Python SDK sends them."""
    at = int(time.time()) if timestamp is None else timestamp
    date = time.strftime("%Y-%m-%d", time.gmtime(at))
    headers = {"host": host, "content-type": content_type}
    hashed = signature.payload_hash(signature.SignedRequest(method, query, headers, body))
    canonical = signature.canonical_request(method, query, headers, hashed)
    scope = f"{date}/trtc/tc3_request"
    proof = signature.sign(signature.signing_key(secret_key, date, "trtc"), at, scope, canonical)
    return {
        "Host": host,
        "Content-Type": content_type,
        "X-TC-Action": action,
        "X-TC-Version": "2019-07-22",
        "X-TC-Timestamp": str(at),
        "Authorization": f"TC3-HMAC-SHA256 Credential={secret_id}/{scope}, SignedHeaders=content-type;host, Signature={proof}",
    }


async def call(url: str, action: str, data: Any, **signing: Any) -> dict[str, Any]:
    """POST an action; the members of ``Response``. ``data`` is sent as JSON, bytes as they are."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    # verify=False: loading the certificate authorities, of no use here, takes longer than the call.
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as client:
        answer = await client.post(url, content=body, headers=signed_headers(url.split("//")[1], action, body, **signing))
    return envelope(answer)


def envelope(answer: httpx.Response) -> dict[str, Any]:
    """Check what every answer must be."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    members: dict[str, Any] = answer.json()["Response"]
    assert len(members["RequestId"]) == 36
    return members


def code(members: dict[str, Any]) -> str:
    """The error's code, empty for a success."""
    text: str = members.get("Error", {}).get("Code", "")
    return text
