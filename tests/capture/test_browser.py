"""A real browser publishes each codec: what is in the journal is decoded."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from av.audio.codeccontext import AudioCodecContext

from rokuga.embedded import EmbeddedJanus
from rokuga.journal.records import Frame, KeyframeAsked, TrackOpened
from tests.capture.kit import ANSWER_NS, CaptureProcess, Journal
from tests.capture.pictures import decode
from tests.kit.browser import chromium

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.timeout(400)]

DECODERS = {"h264": "h264", "vp8": "vp8", "vp9": "vp9", "av1": "libdav1d"}
AUDIO = {"h264": "", "vp8": "pcmu", "vp9": "pcma", "av1": "g722"}
"""what the user with that video sends; without a wish the browser and the room agree upon one"""
CLOCKS = {"opus": (48_000, 2), "pcmu": (8000, 1), "pcma": (8000, 1), "g722": (8000, 1)}
LAYERS = "user.video.setParameters((p => { p.encodings[0].scalabilityMode = 'MODE'; return p; })(user.video.getParameters()))"
UNSEEN_NS = 200_000_000
"""so much before it may have begun to come, without our having seen that it is one"""


async def test_each_codec_of_a_browser_is_captured(janus: EmbeddedJanus, tmp_path: Path) -> None:
    async with chromium() as browser, CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config))["ok"]
        users = [await browser.publish(janus.config, "room", f"user-{c}", c, 320, 180, audio=a) for c, a in AUDIO.items()]

        def cut(journal: Journal) -> bool:
            """Whether everybody has sent a keyframe for a segment. A picture that is on its way when the size changes the browser may leave
            unfinished (seen once, in AV1)."""
            waiting, answered = set(), set()
            for record in journal.records:
                if isinstance(record, KeyframeAsked) and record.reason == "segment":
                    waiting.add(record.track)
                elif isinstance(record, Frame) and record.keyframe and record.track in waiting:
                    answered.add(record.track)
            return len(answered) == len(users)

        await capture.until_journal(cut, 60)
        for user in users:
            await user.run("user.video.setParameters(Object.assign(user.video.getParameters(), {encodings: [{scaleResolutionDownBy: 2}]}))")
        await asyncio.sleep(3)
        await capture.stop()
    journal = capture.journal()
    assert journal.losses() == []
    for codec, audio in AUDIO.items():
        video = journal.track(f"user-{codec}", "video")
        assert (video.codec, video.clock_rate) == (codec, 90_000)
        check_video(journal, video)
        sound = journal.track(f"user-{codec}", "audio")
        assert (sound.codec, sound.clock_rate, sound.channels) == (audio or "opus", *CLOCKS[audio or "opus"])
        check_audio(journal, sound)


async def test_scalable_video_of_a_browser_is_captured_with_all_its_layers(janus: EmbeddedJanus, tmp_path: Path) -> None:
    """As in calls where a browser is asked for layers; who decodes gets one picture of each instant, the largest."""
    modes = {"vp8": "L1T3", "vp9": "L3T3_KEY", "av1": "L2T2"}
    decoders = {**DECODERS, "vp9": "libvpx-vp9"}
    async with chromium() as browser, CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config))["ok"]
        for codec, mode in modes.items():
            user = await browser.publish(janus.config, "room", codec, codec, 640, 360)
            await user.run(LAYERS.replace("MODE", mode))

        def whole(journal: Journal, codec: str) -> bool:
            # A browser that is unsure of its network begins with the lower layers.
            if not journal.tracks(codec, "video") or len(journal.frames(journal.track(codec, "video"))) <= 60:
                return False
            return decode(decoders[codec], [data for _, data in journal.playable(journal.track(codec, "video"))])[-1] == (640, 360)

        await capture.until_journal(lambda journal: all(whole(journal, codec) for codec in modes), 60)
        await capture.stop()
    journal = capture.journal()
    assert journal.losses() == []
    for codec in modes:
        frames = [data for _, data in journal.playable(journal.track(codec, "video"))]
        sizes = decode(decoders[codec], frames)
        assert len(sizes) == len(frames)
        assert sizes[-1] == (640, 360)
    superframes = [data for _, data in journal.playable(journal.track("vp9", "video"))]
    assert len(decode("vp9", superframes)) > len(superframes)  # FFmpeg's own decoder shows the lower layers, too


def check_video(journal: Journal, track: TrackOpened) -> None:
    frames = journal.playable(track)
    assert len(frames) > 60
    sizes = decode(DECODERS[track.codec], [data for _, data in frames])
    assert len(sizes) == len(frames)
    assert (sizes[0], sizes[-1]) == ((320, 180), (160, 90))
    # What is called a keyframe is one: decoding may begin there.
    at = [n for n, (frame, _) in enumerate(frames) if frame.keyframe]
    assert len(at) >= 2
    for begin, after in pairwise([*at, len(frames)]):
        assert len(decode(DECODERS[track.codec], [data for _, data in frames[begin:after]])) == after - begin
    until = frames[-1][0].first_arrival_ns - ANSWER_NS
    entries = [e for e in journal.entries if isinstance(e.record, KeyframeAsked) and e.record.track == track.track]
    asked = [e.monotonic_ns for e in entries if e.monotonic_ns < until]
    keyframes = [frame.first_arrival_ns for frame, _ in frames if frame.keyframe]
    assert asked
    assert all(any(-UNSEEN_NS < came - when < ANSWER_NS for came in keyframes) for when in asked), (track.codec, asked, keyframes)


def check_audio(journal: Journal, track: TrackOpened) -> None:
    frames: list[tuple[Frame, Any]] = journal.frames(track)
    assert len(frames) > 300
    assert {b.rtp_time - a.rtp_time for (a, _), (b, _) in pairwise(frames)} == {track.clock_rate // 50}
    if track.codec == "opus":
        return
    assert {len(data) for _, data in frames} == {160}
    name = {"pcmu": "pcm_mulaw", "pcma": "pcm_alaw"}.get(track.codec, track.codec)
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate = 16_000 if track.codec == "g722" else 8000
    decoder.layout = "mono"
    samples = [frame.samples for _, data in frames for frame in decoder.decode(av.Packet(data))]
    assert set(samples) == {320 if track.codec == "g722" else 160}
