"""Requests as TRTC's clients put them on the wire, byte for byte, made without Rokuga's own signing; and a connection that sends them.

Each `Style` is one official SDK with its endpoint overridden, as its source says; the rules are those of Tencent Cloud's pages
"Signature v3" and "Signature v1".
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from .calls import SECRET_ID, SECRET_KEY

JSON, JSON_UTF8, FORM = "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"
VERSION = "2019-07-22"


def whole(endpoint: str) -> str:
    return endpoint


def without_port(endpoint: str) -> str:
    return endpoint.rsplit(":", 1)[0]


def trtc(_: str) -> str:
    return "trtc"


def first_label(endpoint: str) -> str:
    return endpoint.split(".")[0]


@dataclass(frozen=True)
class Style:
    """How one SDK sends and signs: content types of a POST, the host and service it signs, spaces and truth in a query."""

    sent: str = JSON
    signed: str = JSON
    host: Callable[[str], str] = whole
    service: Callable[[str], str] = trtc
    escape: Callable[[str], str] = quote_plus
    true: str = "true"


STYLES = {
    "Python": Style(true="True"),
    "Go": Style(),
    "Node": Style(host=without_port, service=first_label, escape=lambda text: quote(text, safe="")),
    "Java": Style(JSON_UTF8, JSON_UTF8, service=first_label),
    "PHP": Style(service=first_label),
    ".NET": Style(signed=JSON_UTF8, service=first_label),
}
PYTHON = STYLES["Python"]


@dataclass(frozen=True)
class Key:
    """A caller's key pair and clock."""

    secret_id: str = SECRET_ID
    secret_key: str = SECRET_KEY
    off: int = 0
    """seconds"""

    def now(self) -> int:
        return int(time.time()) + self.off


KEY = Key()


def flat(node: Any, true: str = "True", path: str = "") -> list[tuple[str, str]]:
    """Parameters flattened with dots and indices; nulls are left out."""
    if node is None:
        return []
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        return [pair for key, value in items for pair in flat(value, true, f"{path}.{key}" if path else str(key))]
    if isinstance(node, bool):
        return [(path, true if node else true.replace("rue", "alse").replace("T", "F").replace("t", "f"))]
    return [(path, str(node))]


def tc3(
    endpoint: str,
    action: str,
    body: Mapping[str, Any],
    style: Style = PYTHON,
    method: str = "POST",
    key: Key = KEY,
    signs: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    version: str = VERSION,
) -> bytes:
    """A request with signature v3. ``signs``: values of further signed headers as the client signs them; ``more``: headers to send."""
    post = method == "POST"
    query = "" if post else "&".join(f"{name}={style.escape(value)}" for name, value in flat(body, style.true))
    payload = json.dumps(body).encode() if post else b""
    hashed = b"UNSIGNED-PAYLOAD" if (more or {}).get("X-TC-Content-SHA256") == "UNSIGNED-PAYLOAD" else payload
    now = key.now()
    date, service = time.strftime("%Y-%m-%d", time.gmtime(now)), style.service(endpoint)
    signed = {"content-type": style.signed if post else FORM, "host": style.host(endpoint), **(signs or {})}
    names = ";".join(sorted(signed))
    lines = [method, "/", query, *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, hashlib.sha256(hashed).hexdigest()]
    scope = f"{date}/{service}/tc3_request"
    text = f"TC3-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
    secret = f"TC3{key.secret_key}".encode()
    for part in (date, service, "tc3_request"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    proof = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    headers = {
        "Host": endpoint,
        "Content-Type": style.sent if post else FORM,
        "X-TC-Action": action,
        "X-TC-Version": version,
        "X-TC-Timestamp": str(now),
        "X-TC-Region": "ap-singapore",
        "Authorization": f"TC3-HMAC-SHA256 Credential={key.secret_id}/{scope}, SignedHeaders={names}, Signature={proof}",
        **(more or {}),
    }
    return http(method, f"/?{query}" if query else "/", headers, payload)


def v1(
    endpoint: str, action: str, body: Mapping[str, Any], digest: str = "HmacSHA256", method: str = "POST", key: Key = KEY, **more: str
) -> bytes:
    """A request with signature v1; ``more`` are further common parameters, or others in place of these. Empty ones are left out."""
    common = {"Action": action, "Version": VERSION, "Region": "ap-singapore", "Timestamp": str(key.now()), "Nonce": "12345"}
    common |= {"SecretId": key.secret_id, "SignatureMethod": digest, "RequestClient": "SDK_PYTHON_3.1.195"} | more
    pairs = flat(body) + [pair for pair in common.items() if pair[1]]
    text = f"{method}{endpoint}/?" + "&".join(f"{name}={value}" for name, value in sorted(pairs))
    how = "sha256" if digest == "HmacSHA256" else "sha1"
    proof = base64.b64encode(hmac.new(key.secret_key.encode(), text.encode(), how).digest()).decode()
    encoded = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in [*pairs, ("Signature", proof)])
    if method == "GET":
        return http("GET", f"/?{encoded}", {"Host": endpoint, "Content-Type": FORM})
    return http(method, "/", {"Host": endpoint, "Content-Type": FORM}, encoded.encode())


def http(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request's bytes."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Wire:
    """One connection to the server, kept open: a request costs about a millisecond."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: str) -> None:
        self._reader, self._writer, self.endpoint = reader, writer, endpoint

    @classmethod
    async def open(cls, url: str) -> "Wire":
        endpoint = url.removeprefix("http://")
        host, port = endpoint.split(":")
        return cls(*await asyncio.open_connection(host, int(port)), endpoint)

    async def send(self, request: bytes) -> dict[str, Any]:
        """Send it; the members of ``Response``, after a look at what every answer must be."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        assert head[0] == "http/1.1 200 ok"
        assert headers["content-type"] == "application/json"
        members: dict[str, Any] = json.loads(await self._reader.readexactly(int(headers["content-length"])))["Response"]
        assert len(members["RequestId"]) == 36
        return members

    async def code(self, request: bytes) -> str:
        """Send it; the error's code, empty for a success."""
        code: str = (await self.send(request)).get("Error", {}).get("Code", "")
        return code

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()
