"""What a mixed recording is to look and sound like: MixTranscodeParams and MixLayoutParams as the journal has them. Pure."""

from dataclasses import dataclass
from typing import Any

from rokuga.render.mix.colour import Rgb
from rokuga.render.mix.layout import CROP, GRID, Layout, MediaName, Place
from rokuga.render.mix.marks import colour_of

MEDIA: tuple[MediaName, MediaName] = ("main", "aux")
"""by MediaId in a layout, where 0 is main; of the recording's MediaId it is 1"""
RATES = {1: 48_000, 2: 44_100, 3: 16_000}
"""by AudioParams.SampleRate"""
BLACK: Rgb = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Output:
    """Encoding of a mixed recording, fixed for its whole life; the defaults are TRTC's (seed, mixed-stream parameters)."""

    width: int = 360
    height: int = 640
    fps: int = 15
    video_bit_rate: int = 550_000
    gop_seconds: int = 10
    rate: int = 48_000
    channels: int = 2
    audio_bit_rate: int = 64_000

    @staticmethod
    def of(transcode: dict[str, Any]) -> "Output":
        """From MixTranscodeParams. An odd size loses a line: 4:2:0 pictures have none."""
        video, audio = transcode.get("VideoParams") or {}, transcode.get("AudioParams") or {}
        default = Output()
        return Output(
            width=max(2, video.get("Width", default.width) // 2 * 2),
            height=max(2, video.get("Height", default.height) // 2 * 2),
            fps=video.get("Fps", default.fps),
            video_bit_rate=video.get("BitRate", default.video_bit_rate),
            gop_seconds=video.get("Gop", default.gop_seconds),
            rate=RATES[audio.get("SampleRate", 1)],
            channels=audio.get("Channel", default.channels),
            audio_bit_rate=audio.get("BitRate", default.audio_bit_rate),
        )


@dataclass(frozen=True, slots=True)
class Look:
    """MixLayoutParams: the places and what is around and above them. Images are URLs, empty where there is none."""

    layout: Layout
    background: Rgb
    background_image: str
    background_mode: int
    placeholders: bool
    """PlaceHolderMode: a place without a picture shows an image"""
    placeholder: str
    """that of places which have none of their own"""

    @staticmethod
    def of(params: dict[str, Any]) -> "Look":
        """From MixLayoutParams; empty: a grid on black."""
        wanted = params.get("MaxResolutionUserId") or ""
        layout = Layout(
            mode=params.get("MixLayoutMode", GRID),
            big=(wanted, MEDIA[params.get("MediaId", 0)]) if wanted else None,
            big_right=params.get("MaxResolutionUserAlign", 0) == 1,
            render_mode=params.get("RenderMode", CROP),
            voices_hidden=bool(params.get("PureAudioDisableLayout", False)),
            places=tuple(_place(entry) for entry in params.get("MixLayoutList") or ()),
        )
        return Look(
            layout=layout,
            background=colour_of(params.get("BackGroundColor") or "") or BLACK,
            background_image=params.get("BackgroundImageUrl") or "",
            background_mode=params.get("BackgroundImageRenderMode", CROP),
            placeholders=params.get("PlaceHolderMode", 0) == 1,
            placeholder=params.get("DefaultSubBackgroundImage") or "",
        )


def _place(entry: dict[str, Any]) -> Place:
    return Place(
        left=entry["Left"],
        top=entry["Top"],
        width=entry["Width"],
        height=entry["Height"],
        user_id=entry.get("UserId") or "",
        media_id=MEDIA[entry.get("MediaId", 0)],
        render_mode=entry.get("RenderMode", CROP),
        alpha=entry.get("Alpha", 0),
        layer=entry.get("ImageLayer", 0),
        image=entry.get("SubBackgroundImage") or "",
    )
