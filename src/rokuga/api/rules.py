"""What several fields of a request say together; pure."""

import re
from collections.abc import Sequence
from typing import Any

from rokuga.api import fields
from rokuga.api.problems import invalid, missing, out_of_range
from rokuga.api.schema import (
    Bucket,
    CreateCloudRecording,
    GuideMark,
    ImageMark,
    Layout,
    MixLayout,
    ModifyCloudRecording,
    StreamLists,
    Transcode,
    WaterMark,
    plain,
)
from rokuga.control.model import Lists
from rokuga.errors import ApiError
from rokuga.words import Words

SINGLE, MIXED = 1, 2
GRID, CUSTOM = 3, 4
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
        check_canvas(request.MixLayoutParams, request.MixTranscodeParams, request.MixWatermark)
    else:
        check_transcode(request.MixTranscodeParams)


def check_canvas(layout: Layout | None, transcode: Transcode | None, marks: Sequence[GuideMark] = ()) -> None:
    """What a mixed recording looks like. Raises ApiError for the first thing wrong."""
    canvas = check_transcode(transcode)
    check_layout(layout, marks)
    for index, mark in enumerate(marks):
        _check_inside(mark, canvas, f"MixWatermark.{index}")
    if layout is None:
        return
    # Of no effect in the other layouts.
    for index, cell in enumerate(layout.MixLayoutList if layout.MixLayoutMode == CUSTOM else []):
        _check_inside(cell, canvas, f"MixLayoutParams.MixLayoutList.{index}")
    for index, mark in enumerate(layout.MixWatermark):
        _check_inside(mark, canvas, f"MixLayoutParams.MixWatermark.{index}")
    for index, entry in enumerate(layout.WaterMarkList):
        if entry.WaterMarkType == 0 and entry.WaterMarkImage:
            _check_inside(entry.WaterMarkImage, canvas, f"MixLayoutParams.WaterMarkList.{index}.WaterMarkImage")


def check_modify(request: ModifyCloudRecording) -> None:
    """Raises ApiError for the first thing wrong."""
    check_lists(request.SubscribeStreamUserIds, "SubscribeStreamUserIds")
    check_layout(request.MixLayoutParams, request.MixWatermark)


def check_room(room_id: str, room_id_type: int) -> None:
    """RoomId against its type. Raises ApiError InvalidParameter.RoomId."""
    if room_id_type == NUMERIC_ROOM:
        if not _NUMERIC_ROOM.fullmatch(room_id) or int(room_id) > ROOM_MAX:
            what = Words(
                "must be a number from 1 to {most} in digits without leading zeros, since RoomIdType is 1 (a string room has RoomIdType 0)",
                most=ROOM_MAX,
            )
            raise invalid("RoomId", what, "InvalidParameter.RoomId")
    elif not _STRING_ROOM.fullmatch(room_id):
        what = Words("may hold letters, digits, space and {marks} only", marks="!#$%&()+-:;<=.>?@[]^_{}|~,")
        raise invalid("RoomId", what, "InvalidParameter.RoomId")


def check_lists(lists: StreamLists | None, path: str) -> None:
    """An allowlist and a blocklist of the same kind exclude each other. Raises ApiError InvalidParameter."""
    if lists is None:
        return
    for kind in ("Audio", "Video"):
        allow, block = f"Subscribe{kind}UserIds", f"UnSubscribe{kind}UserIds"
        if getattr(lists, allow) and getattr(lists, block):
            raise invalid(f"{path}.{block}", Words("cannot be combined with `{other}`: send one of the two", other=allow))


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
        raise out_of_range("MixTranscodeParams.VideoParams.Width", Words("times Height must be at most 1920 x 1080"))
    return video.Width, video.Height


def check_layout(layout: Layout | None, marks: Sequence[GuideMark] = ()) -> None:
    """What holds without knowing the canvas: each watermark has the object of its type, and all have one form.

    Raises ApiError MissingParameter, InvalidParameter.
    """
    if layout and len([given for given in (marks, layout.MixWatermark, layout.WaterMarkList) if given]) > 1:
        raise invalid(
            "MixWatermark", Words("cannot be combined with `{other}`: send one of the two", other="MixLayoutParams.WaterMarkList")
        )
    for index, mark in enumerate(layout.WaterMarkList if layout else []):
        name = ("WaterMarkImage", "WaterMarkChar", "WaterMarkTimestamp")[mark.WaterMarkType]
        if getattr(mark, name) is None:
            raise missing(f"MixLayoutParams.WaterMarkList.{index}.{name}")


def layout_of(layout: Layout | None, marks: Sequence[GuideMark] = ()) -> dict[str, Any]:
    """MixLayoutParams as the recorder knows them: watermarks in the API's form, whichever the caller used. Empty: the default."""
    given = list(marks) or (layout.MixWatermark if layout else [])
    if layout is None and not given:
        return {}
    found = plain(layout or Layout(MixLayoutMode=GRID))
    del found["MixWatermark"]
    if given:
        found["WaterMarkList"] = [plain(_as_watermark(mark)) for mark in given]
    return found


def _as_watermark(mark: GuideMark) -> WaterMark:
    return WaterMark(WaterMarkImage=ImageMark(WaterMarkUrl=mark.url, Top=mark.Top, Left=mark.Left, Width=mark.Width, Height=mark.Height))


def _check_inside(box: MixLayout | ImageMark | GuideMark, canvas: tuple[int, int], path: str) -> None:
    width, height = canvas
    if box.Left + box.Width > width:
        raise out_of_range(f"{path}.Width", Words("and Left together must stay within the canvas' width of {most}", most=width))
    if box.Top + box.Height > height:
        raise out_of_range(f"{path}.Height", Words("and Top together must stay within the canvas' height of {most}", most=height))


def _check_storage(request: CreateCloudRecording) -> None:
    storage, params = request.StorageParams, request.RecordParams
    if storage.CloudStorage and storage.CloudVod:
        raise invalid("StorageParams", Words("must hold one of `CloudStorage` and `CloudVod`, not both"))
    if not storage.CloudStorage and not storage.CloudVod:
        raise missing("StorageParams.CloudStorage")
    if storage.CloudStorage:
        prefix = storage.CloudStorage.FileNamePrefix
        if len("/".join(prefix)) > PREFIX_BYTES:
            raise out_of_range(
                "StorageParams.CloudStorage.FileNamePrefix", Words("must have at most {most} bytes in all", most=PREFIX_BYTES)
            )
    vod = storage.CloudVod.TencentVod if storage.CloudVod else None
    if vod and vod.MediaType in (2, 4) and params.StreamType != 1:
        what = Words("2 and 4 (aac) need RecordParams.StreamType 1 (audio only)")
        raise invalid("StorageParams.CloudVod.TencentVod.MediaType", what)


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
    words = Words("This version does not support {what} yet. Use {instead}.", what=what, instead=instead)
    return ApiError("FailedOperation.CRUnsupportMethod", words)
