"""A phone that is turned during the call, in rooms that leave turning its picture to the receivers, and in ours."""

from pathlib import Path

import av
import pytest

from rokuga.embedded import EmbeddedJanus
from rokuga.journal.records import Frame
from rokuga.publish import Clip, Publisher
from rokuga.publish.clip import nal_units
from rokuga.room.session import open_session
from tests.capture.kit import CaptureProcess, place_in, until
from tests.kit.phone import URI, Phones
from tests.kit.rendered import rendered
from tests.kit.turned import matrix, turned

pytestmark = pytest.mark.live

HELD = ((25, 0), (50, 1), (72, 7), (94, 2), (119, 0))
"""Up to which picture the phone is held how; keyframes are the numbers 0, 15, 30 …"""


def held(number: int) -> int:
    return next((orientation for end, orientation in HELD if number < end), 3)


def says(number: int) -> int | None:
    """A camera at the back tells it with keyframes, and when it changes."""
    return held(number) | 8 if number % 15 == 0 or held(number) != held(number - 1) else None


async def test_pictures_are_recorded_as_the_phone_was_held(
    janus: EmbeddedJanus, clips: dict[str, Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Phones(monkeypatch, says)
    async with open_session(janus.config) as session:
        handle = await session.attach(_Deaf())
        await handle.request({"request": "create", "room": "room", "publishers": 9, "notify_joining": True, "videocodec": "h264"})
        async with CaptureProcess(tmp_path / "g0") as capture:
            assert (await capture.start(janus.config))["ok"]
            async with Publisher(janus.config, "room", "alice", clips["alice"], sources=("video",), keep=True) as alice:
                assert URI in alice._answer
                await capture.until_journal(lambda j: j.of(Frame) and len(j.frames(j.track("alice", "video"))) > 130)
                await capture.stop()
    sent = alice.sent["video"]
    assert [u.key for u in sent[:16]] == [True] + [False] * 14 + [True]
    journal = capture.journal()
    frames = journal.frames(journal.track("alice", "video"))
    start = place_in(sent, frames, True)
    assert start is not None
    assert start < 15, "all ways to hold it are recorded"
    assert [frame.orientation for frame, _ in frames] == [held(start + n) for n in range(len(frames))]

    playlist = (await rendered(capture.generation))["alice", "main", "video"]
    seen = []
    with av.open(str(playlist)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for packet in container.demux(video=0):
            if packet.size:
                (frame,) = packet.decode()
                assert isinstance(frame, av.VideoFrame)
                seen.append((slices(bytes(packet)), matrix(frame)))
    first = start + [frame.keyframe for frame, _ in frames].index(True)
    assert seen == [(slices(sent[n].data), turned(held(n))) for n in range(first, start + len(frames))]


async def test_in_a_room_that_we_made_phones_turn_their_picture_themselves(
    janus: EmbeddedJanus, clips: dict[str, Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Phones(monkeypatch, lambda number: None)
    async with CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config))["ok"]
        async with Publisher(janus.config, "room", "alice", clips["alice"], sources=("video",)) as alice:
            await until(lambda: alice._answer)
            await capture.stop()
    assert "a=extmap" in alice._answer
    assert URI not in alice._answer


def slices(data: bytes) -> list[bytes]:
    return [unit for unit in nal_units(data) if unit[0] & 31 in (1, 5)]


class _Deaf:
    """A handle's owner who is not interested."""

    def message(self, message: object) -> None:
        return None

    def lost(self, error: Exception) -> None:
        return None
