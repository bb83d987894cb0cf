from dataclasses import replace

from rokuga.hls.playlist import render
from rokuga.storage.spool import Segment

FIRST = Segment(
    playlist="x.m3u8",
    index=0,
    name="x_20260120120022495.ts",
    size=684508,
    sha256="",
    pts=900_000,
    duration=6.0085,
    begin_ms=1768910422495,
    user_id="alice",
    media_id="main",
    track_type="video",
    width=640,
    height=480,
    meta={"target": 12},
)
SECOND = replace(FIRST, index=1, name="x_2.ts", duration=11.5708, begin_ms=1768910428503, width=320, height=240)
THIRD = replace(SECOND, index=2, name="x_3.ts", duration=4.37792, begin_ms=1768910445000, discontinuity=True)


def test_a_video_index() -> None:
    assert render([FIRST, SECOND, THIRD], ended=True).splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        "#EXT-X-ALLOW-CACHE:NO",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-TARGETDURATION:12",
        "#EXT-X-TRTC-START-REC-TIME:1768910422495",
        "#EXT-X-TRTC-MEDIA-ID:main",
        "#EXT-X-TRTC-USER-ID:alice",
        "#EXT-X-TRTC-MIX-STREAM:0",
        "#EXT-X-TRTC-STREAM-TYPE:1",
        "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:640 HEIGHT:480 Codec:27",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-20T12:00:22.495Z",
        "#EXT-X-TRTC-FILE-ATTR:1768910422495,684508",
        "#EXTINF:6.008,",
        "x_20260120120022495.ts",
        "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:320 HEIGHT:240 Codec:27",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-20T12:00:28.503Z",
        "#EXT-X-TRTC-FILE-ATTR:1768910428503,684508",
        "#EXTINF:11.571,",
        "x_2.ts",
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-20T12:00:45.000Z",
        "#EXT-X-TRTC-FILE-ATTR:1768910445000,684508",
        "#EXTINF:4.378,",
        "x_3.ts",
        "#EXT-X-ENDLIST",
    ]


def test_a_growing_index_is_the_beginning_of_the_later_one() -> None:
    growing = render([FIRST], ended=False)
    assert render([FIRST, SECOND], ended=False).startswith(growing)
    assert render([FIRST, SECOND], ended=True) == render([FIRST, SECOND], ended=False) + "#EXT-X-ENDLIST\n"


def test_target_duration_is_never_below_the_truth() -> None:
    assert "#EXT-X-TARGETDURATION:31\n" in render([FIRST, replace(SECOND, duration=30.2)], ended=False)
    assert "#EXT-X-TARGETDURATION:7\n" in render([replace(FIRST, meta={})], ended=False)


def test_an_audio_index_tells_of_sound_only() -> None:
    text = render([replace(FIRST, track_type="audio", channels=2, sample_rate=48000, width=0, height=0)], ended=False)
    assert "#EXT-X-TRTC-STREAM-TYPE:0\n" in text
    assert "#EXT-X-TRTC-AUDIO-METADATA:Channel:2 SampleRate:48000 SampleFormat:1 Codec:86018\n" in text
    assert "VIDEO-METADATA" not in text


def test_channels_are_told_again_where_they_change() -> None:
    mono = replace(FIRST, track_type="audio", channels=1, sample_rate=48000, width=0, height=0)
    stereo = replace(mono, index=1, name="x_2.ts", channels=2, discontinuity=True)
    lines = render([mono, stereo, replace(stereo, index=2, name="x_3.ts", discontinuity=False)], ended=True).splitlines()
    told = [line for line in lines if "AUDIO-METADATA" in line or line.endswith(".ts") or "DISCONTINUITY" in line]
    assert told == [
        "#EXT-X-TRTC-AUDIO-METADATA:Channel:1 SampleRate:48000 SampleFormat:1 Codec:86018",
        "x_20260120120022495.ts",
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-TRTC-AUDIO-METADATA:Channel:2 SampleRate:48000 SampleFormat:1 Codec:86018",
        "x_2.ts",
        "x_3.ts",
    ]


def test_sound_and_picture_in_one_file() -> None:
    text = render([replace(FIRST, track_type="audio_video", channels=2, sample_rate=48000)], ended=False)
    assert "#EXT-X-TRTC-STREAM-TYPE:1\n#EXT-X-TRTC-AUDIO-METADATA:Channel:2" in text
    assert "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:640 HEIGHT:480 Codec:27\n" in text


def test_a_user_id_cannot_forge_a_tag() -> None:
    assert "#EXT-X-ENDLIST" not in render([replace(FIRST, user_id="x\n#EXT-X-ENDLIST")], ended=False).splitlines()
