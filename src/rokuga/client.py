"""A small client of the recording API that does what TRTC's guide advises ("Best practices" of on-cloud recording, item 1).

``InternalError``: the same request again after 3, 6 and 12 seconds. ``InvalidParameter``: given up at once, since only the caller can
mend it. ``FailedOperation.RestrictedConcurrency``: reported as what it is, the app's limit. No answer at all counts as an InternalError:
a Create that was carried out all the same is replaced by the next one, because a bot that enters its room again sends the former out.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from rokuga import clock
from rokuga.api.signature import ALGORITHM, SignedRequest, canonical_request, payload_hash, sign, signing_key
from rokuga.errors import RokugaError

PAUSES = (3.0, 6.0, 12.0)
"""seconds between tries, as the guide advises"""
TIMEOUT = 10.0
"""The API answers within 6 s."""
VERSION = "2019-07-22"
SINGLE, MIXED = 1, 2
"""RecordMode"""

Fields = Mapping[str, Any]


class CallError(RokugaError):
    """The API answered with an error: its ``code`` and ``message``, and the ``request_id`` to look for in the server's log."""

    def __init__(self, code: str, message: str, request_id: str = "") -> None:
        super().__init__(f"{code}: {message}" + (f" (RequestId {request_id})" if request_id else ""))
        self.code = code
        self.message = message
        self.request_id = request_id


class WrongParameter(CallError):
    """The request is wrong (InvalidParameter, MissingParameter); the message names the field. Sent again it is as wrong."""


class TooManyRecordings(CallError):
    """The app has as many recordings as it may (FailedOperation.RestrictedConcurrency): end one, or have ``max_tasks`` raised."""


class NotFound(CallError):
    """There is no such running task (ResourceNotFound)."""


class Unavailable(CallError):
    """InternalError, or no answer, also at the last try."""


@dataclass(frozen=True)
class RecordedFile:
    """One index file, as Describe lists it."""

    name: str
    user_id: str
    track_type: str
    begin_ms: int


@dataclass(frozen=True)
class TaskStatus:
    """``status``: Idle (nobody publishes), InProgress or Exited."""

    status: str
    files: tuple[RecordedFile, ...]


def error_of(code: str, message: str, request_id: str = "") -> CallError:
    """The kind of error that a code is. TRTC's guide also spells it InValidParameter."""
    kinds: dict[str, type[CallError]] = {
        "invalidparameter": WrongParameter,
        "invalidparametervalue": WrongParameter,
        "missingparameter": WrongParameter,
        "internalerror": Unavailable,
        "resourcenotfound": NotFound,
        "failedoperation.restrictedconcurrency": TooManyRecordings,
    }
    low = code.lower()
    return (kinds.get(low) or kinds.get(low.partition(".")[0]) or CallError)(code, message, request_id)


class Client:
    """``async with Client(url, secret_id, secret_key, sdk_app_id) as client``. Methods raise CallError.

    ``sleep`` waits between tries; give another one to decide about them (raise to stop). ``http`` is a client of yours, for proxies or
    certificates; without one, no proxy of the environment is used.
    """

    def __init__(
        self,
        url: str,
        secret_id: str,
        secret_key: str,
        sdk_app_id: int,
        *,
        region: str = "ap-singapore",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = url.rstrip("/") + "/"
        self._host = urlsplit(url).netloc
        self._secret_id = secret_id
        self._secret_key = secret_key
        self._app = sdk_app_id
        self._region = region
        self._sleep = sleep
        self._owned = http is None
        self._http = http or httpx.AsyncClient(trust_env=False, timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._owned:
            await self._http.aclose()

    async def create(
        self, room: str | int, bot: str, user_sig: str, cloud_storage: Fields, record: Fields | None = None, **more: Any
    ) -> str:
        """Start a recording; the TaskId. ``room``: a text is a string room, a number a numeric one.

        ``record`` are RecordParams (single-stream unless it says otherwise), ``cloud_storage`` is StorageParams.CloudStorage, ``more`` are
        further fields of CreateCloudRecording (MixLayoutParams, …). Raises WrongParameter, TooManyRecordings, Unavailable, CallError.
        """
        fields = {
            "RoomId": str(room),
            "RoomIdType": int(isinstance(room, int)),
            "UserId": bot,
            "UserSig": user_sig,
            "RecordParams": {"RecordMode": SINGLE, **(record or {})},
            "StorageParams": {"CloudStorage": dict(cloud_storage)},
            **more,
        }
        return str((await self.call("CreateCloudRecording", fields))["TaskId"])

    async def describe(self, task_id: str) -> TaskStatus:
        """How a recording is and which index files it has. Raises NotFound, Unavailable, CallError."""
        told = await self.call("DescribeCloudRecording", {"TaskId": task_id})
        listed = told.get("StorageFileList") or []
        files = (RecordedFile(f["FileName"], f.get("UserId") or "", f.get("TrackType") or "", f["BeginTimeStamp"]) for f in listed)
        return TaskStatus(told["Status"], tuple(files))

    async def modify(self, task_id: str, lists: Fields | None = None, layout: Fields | None = None) -> None:
        """Overwrite both: SubscribeStreamUserIds (None: everybody) and MixLayoutParams. Raises WrongParameter, NotFound, …."""
        given = {"SubscribeStreamUserIds": lists, "MixLayoutParams": layout}
        await self.call("ModifyCloudRecording", {"TaskId": task_id} | {key: value for key, value in given.items() if value is not None})

    async def delete(self, task_id: str) -> None:
        """Stop a recording; its uploads go on. Raises NotFound (it had ended before), Unavailable, CallError."""
        tries = 0

        async def pause(seconds: float) -> None:
            nonlocal tries
            tries += 1
            await self._sleep(seconds)

        try:
            await self.call("DeleteCloudRecording", {"TaskId": task_id}, pause)
        except NotFound:
            if not tries:
                raise  # else a try before, whose answer did not come, has ended it

    async def remove_users(self, room: str | int, user_ids: Sequence[str]) -> None:
        """Send users out of a room, 10 at most. Raises CallError."""
        await self.call("RemoveUser" + _form(room), {"RoomId": room, "UserIds": list(user_ids)})

    async def dismiss(self, room: str | int) -> None:
        """End a room. Raises CallError."""
        await self.call("DismissRoom" + _form(room), {"RoomId": room})

    async def call(self, action: str, fields: Fields, sleep: Callable[[float], Awaitable[None]] | None = None) -> dict[str, Any]:
        """Any action: the members of ``Response``. Tried again with the same bytes while it answers InternalError. Raises CallError."""
        body = json.dumps({"SdkAppId": self._app, **fields}).encode()
        for pause in PAUSES:
            try:
                return await self._try(action, body)
            except Unavailable:
                await (sleep or self._sleep)(pause)
        return await self._try(action, body)

    async def _try(self, action: str, body: bytes) -> dict[str, Any]:
        try:
            answer = await self._http.post(self._url, content=body, headers=self._headers(action, body))
            told = answer.json()["Response"]
        except httpx.TransportError as error:
            raise Unavailable("NoAnswer", f"no answer to {action} from {self._url}: {error!r}") from None
        except (ValueError, LookupError, TypeError):
            raise Unavailable("NoAnswer", f"what answered {action} at {self._url} is not the API; check the address") from None
        if "Error" in told:
            raise error_of(told["Error"]["Code"], told["Error"]["Message"], told.get("RequestId", ""))
        members: dict[str, Any] = told
        return members

    def _headers(self, action: str, body: bytes) -> dict[str, str]:
        """Tencent Cloud's "Signature v3" (TC3-HMAC-SHA256)."""
        now = clock.utc_ms() // 1000
        date = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        signed = {"content-type": "application/json", "host": self._host}
        canonical = canonical_request("POST", "", signed, payload_hash(SignedRequest("POST", "", signed, body)))
        scope = f"{date}/trtc/tc3_request"
        signature = sign(signing_key(self._secret_key, date, "trtc"), now, scope, canonical)
        credential = f"{self._secret_id}/{scope}"
        return {
            "Host": self._host,
            "Content-Type": "application/json",
            "X-TC-Action": action,
            "X-TC-Version": VERSION,
            "X-TC-Region": self._region,
            "X-TC-Timestamp": str(now),
            "Authorization": f"{ALGORITHM} Credential={credential}, SignedHeaders=content-type;host, Signature={signature}",
        }


def _form(room: str | int) -> str:
    return "" if isinstance(room, int) else "ByStrRoomId"
