"""A browser that sends three sizes of its picture: the largest that flows is recorded, and nothing is lost where it changes."""

import asyncio
import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

from rokuga.capture import attempt
from rokuga.capture.attempt import Attempt
from rokuga.capture.recording import Recording
from rokuga.capture.sdp import Offer
from rokuga.capture.transport import MediaTransport
from rokuga.embedded import EmbeddedJanus
from rokuga.journal.records import Frame
from rokuga.journal.writer import JournalWriter
from rokuga.room.janus import open_room
from rokuga.room.protocol import Layer
from tests.capture.kit import PARAMS, CaptureProcess, Journal, ticking, until
from tests.capture.pictures import decode
from tests.kit.browser import SIMULCAST, chromium

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.timeout(400)]

CODECS = ("vp8", "h264")
LARGE, MIDDLE, SMALL = (640, 360), (320, 180), (160, 90)
MARKED_NS = 600_000_000
PICTURES_STOP_NS = 1_500_000_000
"""Janus misses a layer after 250 ms; then the next one's keyframe has to come."""


async def test_the_highest_layer_that_flows_is_captured(janus: EmbeddedJanus, tmp_path: Path) -> None:
    async with chromium() as browser, CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config))["ok"]
        users = [await browser.publish(janus.config, "room", codec, codec, *LARGE, layers=SIMULCAST) for codec in CODECS]

        async def until_shown(size: tuple[int, int]) -> None:
            await capture.until_journal(lambda journal: all(journal.shown(codec, codec) == size for codec in CODECS))
            await asyncio.sleep(2)

        await until_shown(LARGE)
        for active, size in (
            ([False, True, True], MIDDLE),
            ([True, True, True], LARGE),
            ([False, False, True], SMALL),
            ([True] * 3, LARGE),
        ):
            for user in users:
                await user.run(f"user.layers({json.dumps(active)})")
            await until_shown(size)
        await capture.stop()
    journal = capture.journal()
    assert journal.losses() == []
    for codec in CODECS:
        video = journal.playable(journal.track(codec, "video"))
        assert len(decode(codec, [data for _, data in video])) == len(video), "each picture can be decoded"
        assert max(b.first_arrival_ns - a.first_arrival_ns for (a, _), (b, _) in pairwise(video)) < PICTURES_STOP_NS
        # Each switch is marked, at a keyframe of another size or, where we were told of it too late, soon afterwards.
        keys = [(frame, decode(codec, [data])[0]) for frame, data in video if frame.keyframe]
        changes = [frame.first_arrival_ns for (_, before), (frame, after) in pairwise(keys) if before != after]
        marks = [frame.first_arrival_ns for frame, _ in video if frame.switched]
        assert len(changes) >= len(marks) >= 4
        assert all(any(0 <= mark - change < MARKED_NS for mark in marks) for change in changes)
        assert all(any(0 <= mark - change < MARKED_NS for change in changes) for mark in marks)
        sound: list[tuple[Frame, bytes]] = journal.frames(journal.track(codec, "audio"))
        assert {b.rtp_time - a.rtp_time for (a, _), (b, _) in pairwise(sound)} == {960}


async def test_of_a_mixed_recording_only_the_layers_that_fill_their_places_are_asked_for(janus: EmbeddedJanus, tmp_path: Path) -> None:
    """A grid of two on 640 x 360 needs 320 x 180 of each; floating shows one whole and one in a corner; custom need not show anybody.

    Of a camera of this size Chromium sends the two higher layers alone: one that never comes leaves the next one. The mix shows half as
    many pictures as the cameras send; in VP8 the others are temporal layers that can be left out.
    """
    transcode = {"VideoParams": {"Width": 640, "Height": 360, "Fps": 7, "BitRate": 500_000, "Gop": 4}}
    mixed = replace(PARAMS, record_mode=2, transcode=transcode, layout={"MixLayoutMode": 3, "RenderMode": 2})
    async with chromium() as browser, CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config, mixed))["ok"]
        for codec in CODECS:
            await browser.publish(janus.config, "room", codec, codec, *LARGE, layers=SIMULCAST)

        async def until_shown(*sizes: tuple[int, int]) -> None:
            await capture.until_journal(lambda journal: tuple(journal.shown(codec, codec) for codec in CODECS) == sizes)

        await until_shown(MIDDLE, MIDDLE)
        cell = {"Left": 0, "Top": 0, "Width": 120, "Height": 80}
        layouts: list[tuple[dict[str, Any], tuple[tuple[int, int], tuple[int, int]]]] = [
            ({"MixLayoutMode": 1, "MaxResolutionUserId": "h264"}, (MIDDLE, LARGE)),
            ({"MixLayoutMode": 1, "MaxResolutionUserId": "vp8"}, (LARGE, MIDDLE)),
            ({"MixLayoutMode": 4, "MixLayoutList": [{**cell, "UserId": "h264"}]}, (MIDDLE, MIDDLE)),
            ({"MixLayoutMode": 3}, (LARGE, LARGE)),
        ]
        for version, (layout, sizes) in enumerate(layouts, 2):
            assert (await capture.request("apply", version=version, params=asdict(replace(mixed, layout=layout))))["ok"]
            await until_shown(*sizes)
        await capture.until_journal(lambda journal: pictures(journal, "vp8", 3) <= 3 * 9 < 3 * 11 <= pictures(journal, "h264", 3))
        await capture.stop()
    journal = capture.journal()
    assert journal.losses() == []
    for codec in CODECS:
        video = journal.playable(journal.track(codec, "video"))
        assert max(b.first_arrival_ns - a.first_arrival_ns for (a, _), (b, _) in pairwise(video)) < PICTURES_STOP_NS
        assert len(decode(codec, [data for _, data in video])) == len(video), "none needs one that was left out"


async def test_a_layer_told_before_our_side_is_connected_is_not_forgotten(
    janus: EmbeddedJanus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Janus tells of the first layer once, with its first packet: which may be before our side has seen that the connection is up."""
    told = asyncio.Event()
    attempts: list[tuple[Attempt, bool]] = []
    heard = Attempt._layer

    def hear(self: Attempt, mid: str, layer: int) -> None:
        attempts.append((self, mid in self.tracks))
        heard(self, mid, layer)
        told.set()

    class SlowTransport(MediaTransport):
        async def connect(self, offer: Offer, seconds: float = 15) -> None:
            await super().connect(offer, seconds)
            await told.wait()

    monkeypatch.setattr(Attempt, "_layer", hear)
    monkeypatch.setattr(attempt, "MediaTransport", SlowTransport)
    transcode = {"VideoParams": {"Width": 320, "Height": 180, "Fps": 15, "BitRate": 500_000, "Gop": 4}}
    mixed = replace(PARAMS, record_mode=2, transcode=transcode, layout={"MixLayoutMode": 3, "RenderMode": 2})
    async with (
        chromium() as browser,
        open_room(janus.config, "room", 0, "bot") as room,
        JournalWriter(tmp_path / "j", "task", 0) as writer,
    ):
        recording = Recording(writer, mixed, 1, structlog.get_logger())
        following = asyncio.create_task(recording.follow(room))
        async with ticking(recording.tick):
            await browser.publish(janus.config, "room", "alice", "h264", *LARGE, layers=SIMULCAST)
            await until(lambda: Journal(tmp_path / "j").shown("alice", "h264") == MIDDLE)
            first, late = attempts[0]
            assert not late
            await until(lambda: Layer(1) in [track.wanted for track in first.tracks.values()])
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        recording.end("end")
        await recording.settle()


def pictures(journal: Journal, user: str, seconds: float) -> int:
    """How many came last within that time."""
    came = [frame.first_arrival_ns for frame, _ in journal.frames(journal.track(user, "video"))]
    return sum(at > came[-1] - seconds * 1e9 for at in came)
