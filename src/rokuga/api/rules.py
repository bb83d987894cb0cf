"""What several fields of a request say together; pure."""

import re

from rokuga.api import fields
from rokuga.api.problems import invalid, missing, out_of_range
from rokuga.api.schema import Bucket, CreateCloudRecording, Layout, MixLayout, ModifyCloudRecording, StreamLists, Transcode
from rokuga.control.model import Lists
from rokuga.errors import ApiError

SINGLE, MIXED = 1, 2
STRING_ROOM, NUMERIC_ROOM = 0, 1
ROOM_MAX = 4294967294
CANVAS = (360, 640)
"""width and height when VideoParams is absent"""
AREA_MAX = 1920 * 1080
PREFIX_BYTES = 512
"""of all parts of FileNamePrefix and the slashes between: a COS key holds 850 bytes, of which names need up to 300"""

_STRING_ROOM = re.compile(fields.STRING_ROOM)
_NUMERIC_ROOM = re.compile(r"[1-9][0-9]{0,9}")


def check_create(request: CreateCloudRecording) -> None:
    """Raises ApiError for the first thing wrong."""
    check_room(request.RoomId, request.RoomIdType)
    check_lists(request.RecordParams.SubscribeStreamUserIds, "RecordParams.SubscribeStreamUserIds")
    _check_storage(request)
    if request.RecordParams.RecordMode == MIXED:
        check_canvas(request.MixLayoutParams, request.MixTranscodeParams)
    else:
        check_transcode(request.MixTranscodeParams)


def check_canvas(layout: Layout | None, transcode: Transcode | None) -> None:
    """What a mixed recording looks like. Raises ApiError for the first thing wrong."""
    width, height = check_transcode(transcode)
    check_layout(layout)
    for index, cell in enumerate(layout.MixLayoutList if layout else []):
        _check_cell(cell, width, height, f"MixLayoutParams.MixLayoutList.{index}")


def check_modify(request: ModifyCloudRecording) -> None:
    """Raises ApiError for the first thing wrong."""
    check_lists(request.SubscribeStreamUserIds, "SubscribeStreamUserIds")
    check_layout(request.MixLayoutParams)


def check_room(room_id: str, room_id_type: int) -> None:
    """RoomId against its type. Raises ApiError InvalidParameter.RoomId."""
    if room_id_type == NUMERIC_ROOM:
        if not _NUMERIC_ROOM.fullmatch(room_id) or int(room_id) > ROOM_MAX:
            what = (
                f"must be a number from 1 to {ROOM_MAX} in digits without leading zeros, since RoomIdType is 1 "
                "(a string room has RoomIdType 0)"
            )
            raise invalid("RoomId", what, "InvalidParameter.RoomId")
    elif not _STRING_ROOM.fullmatch(room_id):
        what = "may hold letters, digits, space and !#$%&()+-:;<=.>?@[]^_{}|~, only"
        raise invalid("RoomId", what, "InvalidParameter.RoomId")


def check_lists(lists: StreamLists | None, path: str) -> None:
    """An allowlist and a blocklist of the same kind exclude each other. Raises ApiError InvalidParameter."""
    if lists is None:
        return
    for kind in ("Audio", "Video"):
        allow, block = f"Subscribe{kind}UserIds", f"UnSubscribe{kind}UserIds"
        if getattr(lists, allow) and getattr(lists, block):
            raise invalid(f"{path}.{block}", f"cannot be combined with `{allow}`: send one of the two")


def lists_of(lists: StreamLists | None) -> Lists:
    """As the recorder knows them; absent means everybody."""
    if lists is None:
        return Lists()
    return Lists(
        audio_allow=lists.SubscribeAudioUserIds,
        audio_block=lists.UnSubscribeAudioUserIds,
        video_allow=lists.SubscribeVideoUserIds,
        video_block=lists.UnSubscribeVideoUserIds,
    )


def check_transcode(transcode: Transcode | None) -> tuple[int, int]:
    """The canvas' width and height. Raises ApiError InvalidParameter.OutOfRange."""
    video = transcode.VideoParams if transcode else None
    if video is None:
        return CANVAS
    if video.Width * video.Height > AREA_MAX:
        raise out_of_range("MixTranscodeParams.VideoParams.Width", "times Height must be at most 1920 x 1080")
    return video.Width, video.Height


def check_layout(layout: Layout | None) -> None:
    """What holds without knowing the canvas: each watermark has the object of its type. Raises ApiError MissingParameter."""
    for index, mark in enumerate(layout.WaterMarkList if layout else []):
        name = ("WaterMarkImage", "WaterMarkChar", "WaterMarkTimestamp")[mark.WaterMarkType]
        if getattr(mark, name) is None:
            raise missing(f"MixLayoutParams.WaterMarkList.{index}.{name}")


def _check_cell(cell: MixLayout, width: int, height: int, path: str) -> None:
    if cell.Left + cell.Width > width:
        raise out_of_range(f"{path}.Width", f"and Left together must stay within the canvas' width of {width}")
    if cell.Top + cell.Height > height:
        raise out_of_range(f"{path}.Height", f"and Top together must stay within the canvas' height of {height}")


def _check_storage(request: CreateCloudRecording) -> None:
    storage, params = request.StorageParams, request.RecordParams
    if storage.CloudStorage and storage.CloudVod:
        raise invalid("StorageParams", "must hold one of `CloudStorage` and `CloudVod`, not both")
    if not storage.CloudStorage and not storage.CloudVod:
        raise missing("StorageParams.CloudStorage")
    if storage.CloudStorage:
        prefix = storage.CloudStorage.FileNamePrefix
        if len("/".join(prefix)) > PREFIX_BYTES:
            raise out_of_range("StorageParams.CloudStorage.FileNamePrefix", f"must have at most {PREFIX_BYTES} bytes in all")
    vod = storage.CloudVod.TencentVod if storage.CloudVod else None
    if vod and vod.MediaType in (2, 4) and params.StreamType != 1:
        raise invalid("StorageParams.CloudVod.TencentVod.MediaType", "2 and 4 (aac) need RecordParams.StreamType 1 (audio only)")


def bucket_of(request: CreateCloudRecording) -> Bucket:
    """Where to record to; refuses what this version does not record, instead of recording something else.

    Raises ApiError FailedOperation.CRUnsupportMethod.
    """
    params, bucket = request.RecordParams, request.StorageParams.CloudStorage
    if bucket is None:
        raise unbuilt("StorageParams.CloudVod", "StorageParams.CloudStorage")
    if params.OutputFormat != 0:
        raise unbuilt(f"RecordParams.OutputFormat {params.OutputFormat}", "OutputFormat 0 (hls)")
    return bucket


def unbuilt(what: str, instead: str) -> ApiError:
    return ApiError("FailedOperation.CRUnsupportMethod", f"This version does not support {what} yet. Use {instead}.")
