"""The requests of the recording API, version 2019-07-22: every field with its type, range and default.

Field names are TRTC's own (a class has a shorter one, since a field hides a class of its name). What concerns
several fields at once is in `rokuga.api.rules`. Unknown fields are kept aside
(`unknown_fields`), never refused: a newer SDK must work. Integers are ranges of TRTC's
documentation; where it gives none, the widest that makes sense.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict

from rokuga.api import fields
from rokuga.api.fields import at_most, boolean, one_of, span, string, text
from rokuga.words import Words

ANY = 2**63 - 1
ENTRY_BYTES = 256
"""of a user id in a list: publishers' ids are the media server's, which allows more than TRTC does"""

Flag = Annotated[bool, boolean]
NAME_WORDS = Words("letters, digits, `_` and `-`")
FONT_WORDS = Words("`Tencent` or `SourceHanSans`")
BotId = Annotated[str, text(32, fields.USER_ID, NAME_WORDS), string]
FontName = Annotated[str, text(32, "Tencent|SourceHanSans", FONT_WORDS, empty=True), string]
Entries = Annotated[list[Annotated[str, text(ENTRY_BYTES), string]], at_most(32)]
Free = Annotated[str, text(1024, empty=True), string]
Colour = Annotated[str, text(8, fields.COLOUR, Words("a colour as #RRGGBB"), empty=True), string]
ImageUrl = Annotated[
    str,
    text(
        2048,
        fields.IMAGE_URL,
        Words("an http(s) URL whose path ends in .jpg, .jpeg or .png, of the characters a-zA-Z0-9-._~:/?#[]@!&()*+,%="),
        empty=True,
    ),
    string,
]
Pixels = Annotated[int, span(0, 1920)]
MarkPixels = Annotated[int, span(0, 2560)]
Rendering = Annotated[int, one_of(0, 1, 2, 3)]
AppId = Annotated[int, span(1, 2**32 - 1)]
TaskName = Annotated[str, text(256), string]


class Part(BaseModel):
    """A request or an object within one."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)


class StreamLists(Part):
    SubscribeAudioUserIds: Entries = []
    UnSubscribeAudioUserIds: Entries = []
    SubscribeVideoUserIds: Entries = []
    UnSubscribeVideoUserIds: Entries = []


class Recording(Part):
    RecordMode: Annotated[int, one_of(1, 2)]
    MaxIdleTime: Annotated[int, span(5, 86400)] = 30
    StreamType: Annotated[int, one_of(0, 1, 2)] = 0
    SubscribeStreamUserIds: StreamLists | None = None
    OutputFormat: Annotated[int, one_of(0, 1, 2, 3, 4)] = 0
    AvMerge: Annotated[int, one_of(0, 1)] = 0
    MaxMediaFileDuration: Annotated[int, span(1, 1440)] = 1440
    MediaId: Annotated[int, one_of(0, 1, 2)] = 0
    FillType: Annotated[int, one_of(0, 1)] = 0
    SubscribeAbility: Annotated[int, one_of(0, 1)] = 0


class Bucket(Part):
    Vendor: Annotated[int, one_of(0, 1)]
    # Region and Bucket become parts of a host name and of a path: nothing but names may pass.
    Region: Annotated[str, text(64, fields.REGION, Words("letters, digits and `-`")), string]
    Bucket: Annotated[str, text(255, fields.BUCKET, Words("letters, digits, `-`, `_` and single dots, a letter or digit first")), string]
    AccessKey: Annotated[str, text(1024, fields.VISIBLE, Words("visible ASCII characters")), string]
    SecretKey: Annotated[str, text(1024, fields.VISIBLE, Words("visible ASCII characters")), string]
    FileNamePrefix: Annotated[list[Annotated[str, text(255, fields.NAME_PART, NAME_WORDS), string]], at_most(32)] = []


class Vod(Part):
    Procedure: Free = ""
    ExpireTime: Annotated[int, span(0, ANY)] = 0
    StorageRegion: Free = ""
    ClassId: Annotated[int, span(0, ANY)] = 0
    SubAppId: Annotated[int, span(0, ANY)] = 0
    SessionContext: Free = ""
    SourceContext: Free = ""
    MediaType: Annotated[int, one_of(0, 1, 2, 3, 4)] = 0
    UserDefineRecordId: Annotated[str, text(64, fields.NAME_PART, NAME_WORDS, empty=True), string] = ""


class VodStorage(Part):
    TencentVod: Vod | None = None


class Storage(Part):
    CloudStorage: Bucket | None = None
    CloudVod: VodStorage | None = None


class Video(Part):
    Width: Annotated[int, span(1, 1920)]
    Height: Annotated[int, span(1, 1920)]
    Fps: Annotated[int, span(1, 60)]
    BitRate: Annotated[int, span(64000, 8192000)]
    Gop: Annotated[int, span(1, 86400)]


class Audio(Part):
    SampleRate: Annotated[int, one_of(1, 2, 3)]
    Channel: Annotated[int, one_of(1, 2)]
    BitRate: Annotated[int, span(32000, 128000)]


class Transcode(Part):
    VideoParams: Video | None = None
    AudioParams: Audio | None = None


class MixLayout(Part):
    Top: Pixels
    Left: Pixels
    Width: Pixels
    Height: Pixels
    UserId: Annotated[str, text(ENTRY_BYTES, empty=True), string] = ""
    Alpha: Annotated[int, span(0, 255)] = 0
    RenderMode: Rendering = 1
    MediaId: Annotated[int, one_of(0, 1)] = 0
    ImageLayer: Annotated[int, span(0, ANY)] = 0
    SubBackgroundImage: ImageUrl = ""


class ImageMark(Part):
    WaterMarkUrl: Annotated[ImageUrl, text(2048)]
    Top: MarkPixels
    Left: MarkPixels
    Width: MarkPixels
    Height: MarkPixels


class TextMark(Part):
    Top: MarkPixels
    Left: MarkPixels
    Width: MarkPixels
    Height: MarkPixels
    Chars: Annotated[str, text(1024), string]
    FontSize: Annotated[int, span(1, 1920)] = 14
    FontColor: Colour = ""
    BackGroundColor: Colour = ""
    Font: FontName = "Tencent"


class TimeMark(Part):
    Pos: Annotated[int, span(0, 6)]
    TimeZone: Annotated[int, span(-12, 14)] = 8
    Font: FontName = "Tencent"


class GuideMark(Part):
    """An entry of ``MixWatermark``: how TRTC's guide to on-cloud recording names an image watermark, whose API names it otherwise."""

    url: Annotated[ImageUrl, text(2048)]
    Top: MarkPixels
    Left: MarkPixels
    Width: MarkPixels
    Height: MarkPixels


class WaterMark(Part):
    WaterMarkType: Annotated[int, one_of(0, 1, 2)] = 0
    WaterMarkImage: ImageMark | None = None
    WaterMarkChar: TextMark | None = None
    WaterMarkTimestamp: TimeMark | None = None


GuideMarks = Annotated[list[GuideMark], at_most(25)]


class Layout(Part):
    MixLayoutMode: Annotated[int, one_of(1, 2, 3, 4)]
    MixLayoutList: Annotated[list[MixLayout], at_most(25)] = []
    BackGroundColor: Colour = ""
    MaxResolutionUserId: Annotated[str, text(ENTRY_BYTES, empty=True), string] = ""
    MediaId: Annotated[int, one_of(0, 1)] = 0
    BackgroundImageUrl: ImageUrl = ""
    PlaceHolderMode: Annotated[int, one_of(0, 1)] = 0
    BackgroundImageRenderMode: Rendering = 1
    DefaultSubBackgroundImage: ImageUrl = ""
    WaterMarkList: Annotated[list[WaterMark], at_most(25)] = []
    RenderMode: Rendering = 1
    MaxResolutionUserAlign: Annotated[int, one_of(0, 1)] = 0
    PureAudioDisableLayout: Flag = False
    MixWatermark: GuideMarks = []


class CreateCloudRecording(Part):
    SdkAppId: AppId
    # RoomId's characters depend on RoomIdType: rules.py.
    RoomId: Annotated[str, text(64), string]
    UserId: BotId
    UserSig: Annotated[str, text(16384), string]
    RecordParams: Recording
    StorageParams: Storage
    RoomIdType: Annotated[int, one_of(0, 1)] = 1
    MixTranscodeParams: Transcode | None = None
    MixLayoutParams: Layout | None = None
    ResourceExpiredHour: Annotated[int, span(6, 720)] = 72
    PrivateMapKey: Annotated[str, text(16384, empty=True), string] = ""
    MixWatermark: GuideMarks = []


class DescribeCloudRecording(Part):
    SdkAppId: AppId
    TaskId: TaskName
    RecorderKey: Free = ""


class ModifyCloudRecording(Part):
    SdkAppId: AppId
    TaskId: TaskName
    MixLayoutParams: Layout | None = None
    SubscribeStreamUserIds: StreamLists | None = None
    MixWatermark: GuideMarks = []


class DeleteCloudRecording(Part):
    SdkAppId: AppId
    TaskId: TaskName


def unknown_fields(part: Part, path: str = "") -> Iterator[str]:
    """Paths of the fields in a parsed request that this version does not know."""
    yield from (f"{path}{name}" for name in part.model_extra or {})
    for name in type(part).model_fields:
        yield from _unknown_in(getattr(part, name), f"{path}{name}")


def _unknown_in(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Part):
        yield from unknown_fields(value, f"{path}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_in(item, f"{path}.{index}")


def plain(part: Part) -> dict[str, Any]:
    """A parsed object as JSON-able values: the known fields, defaults filled in."""
    return {name: _plain(getattr(part, name)) for name in type(part).model_fields}


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return plain(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value
