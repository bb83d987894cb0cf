"""The front of the API: a raw ASGI application that answers every HTTP request, of any method and path, with TRTC's JSON envelope.

Always HTTP 200, always ``Content-Type: application/json`` without a charset, always a RequestId: with anything else Tencent's SDKs take an
error for a success or lose its code.
"""

import asyncio
import json
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.types import Message, Receive, Scope, Send

from rokuga import clock
from rokuga.api import signature_v1
from rokuga.api.actions import Action, Answer, Call
from rokuga.api.language import in_language
from rokuga.api.limits import RATE, RateLimit
from rokuga.api.metrics import Metrics
from rokuga.api.problems import missing, parse_json
from rokuga.api.query import pairs_of, unflatten
from rokuga.api.signature import SignedRequest, headers_of, missing_header, verify
from rokuga.api.signature_v1 import OldRequest
from rokuga.config import Config
from rokuga.errors import ApiError, Fault, RokugaError
from rokuga.words import Words

VERSION = "2019-07-22"
BODY_BYTES = 1024 * 1024
DISCARD_BYTES = 16 * BODY_BYTES
"""how much of a too large body is read and thrown away, so that the client gets to read the answer"""
ARRIVE_SECONDS = 5.0
"""for header and body together"""
ANSWER_SECONDS = 5.5
"""for everything behind the API: callers are promised an answer within 6 s"""
REQUESTS_MAX = 500
"""under way at a time, whoever sends them"""
BEGAN = "rokuga.began"
"""in the scope's state: when the request's first byte came (seconds, the loop's clock)"""
OTHER = "other"
"""the label of what is no action of ours"""
INTERNAL = "InternalError.CRInternalError"
UNFINISHED = Words("The request did not finish in time. Please try again later with the same parameters.")
FAILED = Words("The request failed inside the server. Please try again later with the same parameters.")

FORM = "application/x-www-form-urlencoded"
LARGE_BYTES = 64 * 1024
"""of a body that is taken apart in a thread: a megabyte's form, signed or not, takes a tenth of a second"""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A complete request. ``old`` are its parameters if it is signed the old way: then what headers say otherwise stands among them."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    old: OldRequest | None = None

    def common(self, name: str) -> str:
        """A common parameter: Action, Version, Language."""
        return self.old.common(name) if self.old else self.headers.get(f"x-tc-{name.lower()}", "")

    def fields(self) -> tuple[dict[str, Any], bool]:
        """The action's parameters, and whether all their values are text. Raises ApiError InvalidParameter."""
        if self.old:
            return unflatten(self.old.others()), True
        if self.method == "GET":
            return unflatten(pairs_of(self.query)), True
        return parse_json(self.body), False


def incoming(method: str, query: str, headers: Mapping[str, str], body: bytes) -> Incoming:
    """Raises ApiError UnsupportedProtocol, InvalidParameter."""
    if method not in ("POST", "GET"):
        raise ApiError("UnsupportedProtocol", Words("Only POST and GET are supported."))
    pairs: list[tuple[str, str]] = []
    if "authorization" not in headers:
        if method == "GET":
            pairs = pairs_of(query)
        elif headers.get("content-type", "").split(";")[0].strip().lower() == FORM:
            pairs = pairs_of(body.decode("latin-1"))
    old = OldRequest(method, headers.get("host", ""), pairs) if signature_v1.is_old(pairs) else None
    return Incoming(method, query, headers, body, old)


class Endpoint:
    """ASGI application: checks a request's form, its signature and its rate, and runs its action."""

    def __init__(self, config: Config, actions: Mapping[str, Action[Any]], metrics: Metrics, rate: float = RATE) -> None:
        self._config = config
        self._actions = actions
        self._metrics = metrics
        self._limit = RateLimit(rate)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        headers = headers_of(scope["headers"])
        language, label = headers.get("x-tc-language", ""), self._label(headers.get("x-tc-action", ""))
        log = logger.bind(request_id=request_id, action=label)
        # An answer to a request that was not read to its end must be the connection's last.
        close = True
        began = clock.monotonic_ns()
        self._under_way += 1
        try:
            if self._under_way > REQUESTS_MAX:
                what = Words("The server is busy with too many requests. Please reduce the frequency of calls.")
                raise ApiError("RequestLimitExceeded", what)
            body = await read_body(scope, receive, headers)
            close = False
            began = clock.monotonic_ns()
            parts = (scope["method"], scope["query_string"].decode("latin-1"), headers, body)
            request = incoming(*parts) if len(body) < LARGE_BYTES else await asyncio.to_thread(incoming, *parts)
            language, label = request.common("Language"), self._label(request.common("Action"))
            log = logger.bind(request_id=request_id, action=label)
            async with asyncio.timeout(ANSWER_SECONDS):
                answer: Answer = await self._answer(request, request_id)
            code = ""
        except Disconnected:
            log.info("client left before its request was complete")
            return
        except ApiError as error:
            code, answer = error.code, _error(error.code, error.message, language)
            log.log(_level(error.fault), "request refused", code=code, fault=str(error.fault))
        except TimeoutError:
            code, answer = INTERNAL, _error(INTERNAL, UNFINISHED, language)
            log.error("request timed out", seconds=ANSWER_SECONDS)
        except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours must answer, and must not end the server
            code, answer = INTERNAL, _error(INTERNAL, FAILED, language)
            # Frames only: the text of an unforeseen exception may repeat what the request held.
            log.error("request failed", error=type(error).__name__, frames=traceback.format_tb(error.__traceback__))
        finally:
            self._under_way -= 1
        seconds = (clock.monotonic_ns() - began) / 1e9
        self._metrics.requests.labels(label, code or "OK").inc()
        self._metrics.seconds.labels(label).observe(seconds)
        log.debug("answered", code=code or "OK", seconds=round(seconds, 3))
        await respond(send, {**answer, "RequestId": request_id}, close, scope["method"])

    def _label(self, action: str) -> str:
        return action if action in self._actions else OTHER

    async def _answer(self, request: Incoming, request_id: str) -> Answer:
        secret_id = self._authenticate(request)
        action = self._action(request)
        self._limit.admit(request.common("Action"), secret_id, clock.monotonic_ns() / 1e9)
        data, as_text = request.fields()
        apps = tuple(app for app in self._config.apps if app.secret_id == secret_id)
        return await action(data, as_text, Call(request_id, apps))

    def _authenticate(self, request: Incoming) -> str:
        now = clock.utc_ns() / 1e9
        if request.old:
            return signature_v1.verify(request.old, self._secret_of, now)
        if "authorization" not in request.headers:
            what = Words(
                "The request is not signed: it has neither an Authorization header (TC3-HMAC-SHA256) nor a parameter Signature "
                "(HmacSHA1, HmacSHA256)."
            )
            raise ApiError("AuthFailure.InvalidAuthorization", what)
        return verify(SignedRequest(request.method, request.query, request.headers, request.body), self._secret_of, now)

    def _secret_of(self, secret_id: str) -> str | None:
        return next((app.secret_key.get_secret_value() for app in self._config.apps if app.secret_id == secret_id), None)

    def _action(self, request: Incoming) -> Action[Any]:
        for name in ("Action", "Version"):
            if not request.common(name):
                raise missing(name) if request.old else missing_header(name)
        if request.common("Version") != VERSION:
            what = Words("This API has the version {version} only: send it as Version (X-TC-Version).", version=VERSION)
            raise ApiError("NoSuchVersion", what)
        action = self._actions.get(request.common("Action"))
        if action is None:
            names = ", ".join(sorted(self._actions))
            raise ApiError("InvalidAction", Words("Action (X-TC-Action) must be one of {names}.", names=names))
        return action


class Disconnected(RokugaError):
    """The client closed its connection before its body was complete."""


async def read_body(scope: Scope, receive: Receive, headers: Mapping[str, str]) -> bytes:
    """The whole body. Raises ApiError RequestSizeLimitExceeded, InvalidRequest (too slow); Disconnected."""
    declared = headers.get("content-length", "")
    # Digits are HTTP's own check; so many of them that no number need be made of them.
    if len(declared) > 18 or int(declared or 0) > DISCARD_BYTES:
        raise _too_large()
    loop = asyncio.get_running_loop()
    began = scope.get("state", {}).get(BEGAN, loop.time())
    chunks: list[bytes] = []
    size = 0
    too_large, more = int(declared or 0) > BODY_BYTES, True
    try:
        async with asyncio.timeout_at(began + ARRIVE_SECONDS):
            while more:
                message: Message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                chunk = message.get("body", b"")
                size += len(chunk)
                if too_large or size > BODY_BYTES:
                    too_large = True
                    chunks.clear()
                else:
                    chunks.append(chunk)
                more = message.get("more_body", False) and size <= DISCARD_BYTES
    except TimeoutError:
        if not too_large:
            what = Words("The request did not arrive within {most} seconds. Send it again.", most=f"{ARRIVE_SECONDS:g}")
            raise ApiError("InvalidRequest", what) from None
    if too_large:
        raise _too_large()
    return b"".join(chunks)


def _too_large() -> ApiError:
    return ApiError("RequestSizeLimitExceeded", Words("The body must have at most {most} bytes.", most=BODY_BYTES))


async def respond(send: Send, response: Answer, close: bool = False, method: str = "") -> None:
    """Send the envelope around ``response``; ``close`` ends the connection after it."""
    body = envelope(response)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    # To CONNECT alone a 200 would mean that a tunnel is open, and has no body (RFC 9110, 9.3.6).
    await send({"type": "http.response.start", "status": 405 if method == "CONNECT" else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def envelope(response: Answer) -> bytes:
    """The body of every answer."""
    return json.dumps({"Response": response}, ensure_ascii=False, separators=(",", ":")).encode()


def unread(code: str, message: Words) -> bytes:
    """The body of the answer to what is no request."""
    return envelope({**_error(code, message, ""), "RequestId": str(uuid.uuid4())})


def _error(code: str, message: str, language: str) -> Answer:
    return {"Error": {"Code": code, "Message": in_language(message, code, language)}}


def _level(fault: Fault) -> int:
    return 40 if fault is Fault.SERVICE else 20
