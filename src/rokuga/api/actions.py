"""The recording API's actions: a parsed request in, the members of ``Response`` out."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from rokuga import clock
from rokuga.api import rules, usersig
from rokuga.api.ports import Probe, Taken, Tasks
from rokuga.api.problems import invalid, parse
from rokuga.api.schema import (
    Bucket,
    CreateCloudRecording,
    DeleteCloudRecording,
    DescribeCloudRecording,
    ModifyCloudRecording,
    Part,
    plain,
    unknown_fields,
)
from rokuga.config import App, Config
from rokuga.control.model import Params, StoreTarget, TaskInput
from rokuga.errors import ApiError, Fault, RoomError, StoreError
from rokuga.room.control import ID_SYNTAX
from rokuga.words import Words

PROBE_SECONDS = 2.5
"""a bucket that has not answered by then is the uploader's business"""
TASK_ID_BYTES = 24
"""192 random bits"""
UNKNOWN_SHOWN = 10

Answer = dict[str, Any]
P = TypeVar("P", bound=Part)

_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{15,127}")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Call:
    """Who calls: the RequestId, and the apps that the SecretId belongs to."""

    request_id: str
    apps: tuple[App, ...]

    def app(self, sdk_app_id: int) -> App | None:
        return next((app for app in self.apps if app.sdk_app_id == sdk_app_id), None)


@dataclass(frozen=True)
class Action(Generic[P]):
    """An action: its request's model and what it does."""

    model: type[P]
    run: Callable[[P, Call], Awaitable[Answer]]

    async def __call__(self, data: dict[str, Any], as_text: bool, call: Call) -> Answer:
        request = parse(self.model, data, as_text)
        if unknown := [path[:64] for path in unknown_fields(request)]:
            logger.info("unknown fields ignored", action=self.model.__name__, fields=unknown[:UNKNOWN_SHOWN], count=len(unknown))
        return await self.run(request, call)


def new_task_id() -> str:
    """33 characters of [A-Za-z0-9_-]; the first is a letter, so that it is never taken for an option or a hidden file."""
    return "t" + secrets.token_urlsafe(TASK_ID_BYTES)


class Recording:
    """CreateCloudRecording, DescribeCloudRecording, ModifyCloudRecording, DeleteCloudRecording."""

    def __init__(self, config: Config, tasks: Tasks, probe: Probe, taken: Taken) -> None:
        self._config = config
        self._tasks = tasks
        self._probe = probe
        self._taken = taken

    def actions(self) -> dict[str, Action[Any]]:
        """By the name that X-TC-Action gives."""
        all_actions: list[Action[Any]] = [
            Action(CreateCloudRecording, self.create),
            Action(DescribeCloudRecording, self.describe),
            Action(ModifyCloudRecording, self.modify),
            Action(DeleteCloudRecording, self.delete),
        ]
        return {action.model.__name__: action for action in all_actions}

    async def create(self, request: CreateCloudRecording, call: Call) -> Answer:
        app = call.app(request.SdkAppId)
        if app is None:
            raise invalid("SdkAppId", Words("is not an application of this SecretId"), "InvalidParameter.SdkAppId")
        rules.check_create(request)
        bucket = rules.bucket_of(request)
        check_tickets(request, app, clock.utc_ns() / 1e9)
        task = self._task(request, bucket, app)
        await asyncio.gather(self._check_bucket(task), self._check_bot(task))
        await self._tasks.create(task, app.max_tasks, request.ResourceExpiredHour)
        logger.info("task created", task_id=task.task_id, sdk_app_id=app.sdk_app_id, request_id=call.request_id)
        return {"TaskId": task.task_id}

    async def describe(self, request: DescribeCloudRecording, call: Call) -> Answer:
        check_task(request.SdkAppId, request.TaskId, call)
        task = await self._tasks.describe(request.SdkAppId, request.TaskId)
        files = [
            {"UserId": file.user_id, "FileName": file.file, "TrackType": file.track_type, "BeginTimeStamp": file.begin_ms}
            for file in task.files
        ]
        return {"TaskId": request.TaskId, "Status": task.status, "StorageFileList": files}

    async def modify(self, request: ModifyCloudRecording, call: Call) -> Answer:
        rules.check_modify(request)
        check_task(request.SdkAppId, request.TaskId, call)
        # Each call overwrites everything; a caller who thinks of it as a merge loses here what it leaves out.
        if left_out := [name for name in ("SubscribeStreamUserIds", "MixLayoutParams") if getattr(request, name) is None]:
            logger.warning("modify resets what it leaves out to its default", task_id=request.TaskId, fields=left_out)
        layout = rules.layout_of(request.MixLayoutParams, request.MixWatermark)
        lists = rules.lists_of(request.SubscribeStreamUserIds)
        await self._tasks.modify(request.SdkAppId, request.TaskId, call.request_id, lists, layout)
        return {"TaskId": request.TaskId}

    async def delete(self, request: DeleteCloudRecording, call: Call) -> Answer:
        check_task(request.SdkAppId, request.TaskId, call)
        await self._tasks.stop(request.SdkAppId, request.TaskId, call.request_id)
        return {"TaskId": request.TaskId}

    def _task(self, request: CreateCloudRecording, bucket: Bucket, app: App) -> TaskInput:
        params = request.RecordParams
        mixed = params.RecordMode == rules.MIXED
        return TaskInput(
            task_id=new_task_id(),
            params=Params(
                sdk_app_id=app.sdk_app_id,
                room_id=request.RoomId,
                room_id_type=request.RoomIdType,
                user_id=request.UserId,
                record_mode=params.RecordMode,
                stream_type=params.StreamType,
                media_id=params.MediaId,
                av_merge=params.AvMerge,
                fill_type=params.FillType,
                max_idle_time=params.MaxIdleTime,
                max_streams=app.max_streams_per_task,
                segment_seconds=self._config.recorder.segment_seconds,
                lists=rules.lists_of(params.SubscribeStreamUserIds),
                layout=rules.layout_of(request.MixLayoutParams, request.MixWatermark) if mixed else {},
                transcode=_plain(request.MixTranscodeParams) if mixed else {},
            ),
            target=StoreTarget(
                vendor=bucket.Vendor,
                region=bucket.Region,
                bucket=bucket.Bucket,
                access_key=bucket.AccessKey,
                secret_key=bucket.SecretKey,
                prefix=list(bucket.FileNamePrefix),
            ),
            user_sig=request.UserSig,
            heartbeat_timeout=self._config.recorder.heartbeat_timeout,
            callbacks=bool(app.callback_url),
        )

    async def _check_bot(self, task: TaskInput) -> None:
        params = task.params
        try:
            taken = await self._taken(params.room_id, params.room_id_type, params.user_id)
        except RoomError as error:
            if error.code == ID_SYNTAX:
                what = Words("names a string room (RoomIdType 0), which this server's Janus cannot have: use RoomIdType 1")
                raise invalid("RoomId", what, "InvalidParameter.RoomId") from None
            logger.warning("the media server cannot be asked; recording starts", task_id=task.task_id, code=error.code, why=error.message)
            return
        if taken:
            what = Words("is a user who is in the room now: the recorder needs an id of its own")
            raise invalid("UserId", what, "InvalidParameter.UserId")

    async def _check_bucket(self, task: TaskInput) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probe(task.target, task.task_id)
        except TimeoutError:
            logger.warning("bucket did not answer the probe; recording starts", task_id=task.task_id, bucket=task.target.bucket)
        except StoreError as error:
            if error.refused:
                raise ApiError(
                    "FailedOperation",
                    Words(
                        "{code}: {message} (the object store's answer to a test write; check StorageParams.CloudStorage)",
                        code=error.code,
                        message=error.message,
                    ),
                    Fault.DESTINATION,
                ) from None
            logger.warning("bucket failed the probe; recording starts", task_id=task.task_id, bucket=task.target.bucket, code=error.code)


def _plain(part: Part | None) -> dict[str, Any]:
    return plain(part) if part else {}


def check_task(sdk_app_id: int, task_id: str, call: Call) -> None:
    """Raises ApiError ResourceNotFound for a foreign app and for what can be no TaskId, as for a task that never was."""
    if call.app(sdk_app_id) is None or not _TASK_ID.fullmatch(task_id):
        raise not_found()


def check_tickets(request: CreateCloudRecording, app: App, now: float) -> None:
    """UserSig, and PrivateMapKey where the app demands it. Raises ApiError InvalidParameter.UserSig, MissingParameter, InvalidParameter."""
    key = app.user_sig_key.get_secret_value()
    try:
        usersig.verify(request.UserSig, app.sdk_app_id, request.UserId, key, now)
    except usersig.TicketError as error:
        what = Words("is not valid for this UserId: {why}. Make a new one", why=error.why)
        raise invalid("UserSig", what, "InvalidParameter.UserSig") from None
    if not app.private_map_key:
        return
    if not request.PrivateMapKey:
        what = Words("The request is missing a required parameter `PrivateMapKey`: this application demands room permissions.")
        raise ApiError("MissingParameter", what)
    try:
        usersig.verify_room_key(request.PrivateMapKey, app.sdk_app_id, request.UserId, key, now, request.RoomId, request.RoomIdType)
    except usersig.TicketError as error:
        raise invalid("PrivateMapKey", Words("is not valid for this room: {why}. Make a new one", why=error.why)) from None


def not_found() -> ApiError:
    what = Words("There is no such running task for this SdkAppId: it never existed, has ended, or its ResourceExpiredHour is over.")
    return ApiError("ResourceNotFound", what)
