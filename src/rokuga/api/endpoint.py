"""The front of the API: a raw ASGI application that answers every HTTP request, of any method and path, with TRTC's JSON envelope.

Always HTTP 200, always ``Content-Type: application/json`` without a charset, always a RequestId: with anything else Tencent's SDKs take an
error for a success or lose its code.
"""

import asyncio
import json
import traceback
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.types import Message, Receive, Scope, Send

from rokuga import clock
from rokuga.api.actions import Action, Answer, Call
from rokuga.api.limits import RATE, RateLimit
from rokuga.api.metrics import Metrics
from rokuga.api.problems import parse_json
from rokuga.api.query import unflatten
from rokuga.api.signature import SignedRequest, headers_of, verify
from rokuga.config import Config
from rokuga.errors import ApiError, Fault, RokugaError

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

logger = structlog.get_logger(__name__)


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
        name = headers.get("x-tc-action", "")
        log = logger.bind(request_id=request_id, action=name if name in self._actions else OTHER)
        # An answer to a request that was not read to its end must be the connection's last.
        close = True
        began = clock.monotonic_ns()
        self._under_way += 1
        try:
            if self._under_way > REQUESTS_MAX:
                raise ApiError("RequestLimitExceeded", "The server is busy with too many requests. Please reduce the frequency of calls.")
            body = await read_body(scope, receive)
            close = False
            began = clock.monotonic_ns()
            async with asyncio.timeout(ANSWER_SECONDS):
                answer: Answer = await self._answer(scope, headers, body, request_id)
            code = ""
        except Disconnected:
            log.info("client left before its request was complete")
            return
        except ApiError as error:
            code, answer = error.code, {"Error": {"Code": error.code, "Message": error.message}}
            log.log(_level(error.fault), "request refused", code=code, fault=str(error.fault))
        except TimeoutError:
            code, answer = _internal("did not finish in time")
            log.error("request timed out", seconds=ANSWER_SECONDS)
        except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours must answer, and must not end the server
            code, answer = _internal("failed inside the server")
            # Frames only: the text of an unforeseen exception may repeat what the request held.
            log.error("request failed", error=type(error).__name__, frames=traceback.format_tb(error.__traceback__))
        finally:
            self._under_way -= 1
        seconds = (clock.monotonic_ns() - began) / 1e9
        label = name if name in self._actions else OTHER
        self._metrics.requests.labels(label, code or "OK").inc()
        self._metrics.seconds.labels(label).observe(seconds)
        log.debug("answered", code=code or "OK", seconds=round(seconds, 3))
        await respond(send, {**answer, "RequestId": request_id}, close)

    async def _answer(self, scope: Scope, headers: Mapping[str, str], body: bytes, request_id: str) -> Answer:
        method = scope["method"]
        if method not in ("POST", "GET"):
            raise ApiError("UnsupportedProtocol", "Only POST and GET are supported.")
        query = scope["query_string"].decode("latin-1")
        secret_id = self._authenticate(method, query, headers, body)
        action = self._action(headers)
        self._limit.admit(headers["x-tc-action"], secret_id, clock.monotonic_ns() / 1e9)
        as_text = method == "GET"
        data = unflatten(query) if as_text else parse_json(body)
        apps = tuple(app for app in self._config.apps if app.secret_id == secret_id)
        return await action(data, as_text, Call(request_id, apps))

    def _authenticate(self, method: str, query: str, headers: Mapping[str, str], body: bytes) -> str:
        if "authorization" not in headers:
            raise ApiError(
                "AuthFailure.InvalidAuthorization",
                "The request has no Authorization header: sign it with TC3-HMAC-SHA256 (signature v3); older signatures are not supported.",
            )
        return verify(SignedRequest(method, query, headers, body), self._secret_of, clock.utc_ns() / 1e9)

    def _secret_of(self, secret_id: str) -> str | None:
        return next((app.secret_key.get_secret_value() for app in self._config.apps if app.secret_id == secret_id), None)

    def _action(self, headers: Mapping[str, str]) -> Action[Any]:
        for name in ("Action", "Version"):
            if not headers.get(f"x-tc-{name.lower()}"):
                raise ApiError("MissingParameter", f"The request is missing a required parameter `{name}`: send the header X-TC-{name}.")
        if headers["x-tc-version"] != VERSION:
            raise ApiError("NoSuchVersion", f"This API has the version {VERSION} only: send it as X-TC-Version.")
        action = self._actions.get(headers["x-tc-action"])
        if action is None:
            raise ApiError("InvalidAction", f"X-TC-Action must be one of {', '.join(sorted(self._actions))}.")
        return action


class Disconnected(RokugaError):
    """The client closed its connection before its body was complete."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises ApiError RequestSizeLimitExceeded, InvalidRequest (too slow); Disconnected."""
    loop = asyncio.get_running_loop()
    began = scope.get("state", {}).get(BEGAN, loop.time())
    chunks: list[bytes] = []
    size = 0
    too_large, more = False, True
    try:
        async with asyncio.timeout_at(began + ARRIVE_SECONDS):
            while more:
                message: Message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > BODY_BYTES:
                    too_large = True
                    chunks.clear()
                else:
                    chunks.append(chunk)
                more = message.get("more_body", False) and size <= DISCARD_BYTES
    except TimeoutError:
        if not too_large:
            raise ApiError("InvalidRequest", f"The request did not arrive within {ARRIVE_SECONDS:g} seconds. Send it again.") from None
    if too_large:
        raise ApiError("RequestSizeLimitExceeded", f"The body must have at most {BODY_BYTES} bytes.")
    return b"".join(chunks)


async def respond(send: Send, response: Answer, close: bool = False) -> None:
    """Send the envelope around ``response``; ``close`` ends the connection after it."""
    body = json.dumps({"Response": response}, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _internal(what: str) -> tuple[str, Answer]:
    code = "InternalError.CRInternalError"
    return code, {"Error": {"Code": code, "Message": f"The request {what}. Please try again later with the same parameters."}}


def _level(fault: Fault) -> int:
    return 40 if fault is Fault.SERVICE else 20
