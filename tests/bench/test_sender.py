"""Users of the benches in a real Janus: what capture records of them."""

import asyncio
import itertools
import statistics
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.layered import LayeredPublisher
from bench.sender import Encrypted, PacedPublisher, Pacer

from rokuga.embedded import EmbeddedJanus
from rokuga.journal.records import Frame
from rokuga.publish import Clip, generate, look_of
from rokuga.publish.clip import Kind, clock_of
from tests.capture.kit import PARAMS, CaptureProcess, Journal, place_in, until
from tests.capture.pictures import decode

pytestmark = pytest.mark.live

KINDS: tuple[Kind, ...] = ("audio", "video")
LARGE, SMALL = (640, 360), (320, 180)
GRID: dict[str, Any] = {
    "record_mode": 2,
    "transcode": {"VideoParams": {"Width": 640, "Height": 360, "Fps": 15, "BitRate": 500_000, "Gop": 4}},
    "layout": {"MixLayoutMode": 3, "RenderMode": 2},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Clip]:
    cache = tmp_path_factory.mktemp("cache")
    return {size: generate(look_of("user", width=size[0], height=size[1], seconds=4), cache) for size in (LARGE, SMALL)}


@pytest.fixture
async def janus(tmp_path: Path) -> AsyncIterator[EmbeddedJanus]:
    async with EmbeddedJanus(tmp_path / "janus") as server:
        yield server


@pytest.fixture
async def pacer() -> AsyncIterator[Pacer]:
    pacer = Pacer()
    running = asyncio.create_task(pacer.run())
    yield pacer
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.alone
async def test_users_arrive_whole_in_order_and_at_their_time(
    janus: EmbeddedJanus, pacer: Pacer, clips: dict[tuple[int, int], Clip], tmp_path: Path
) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config))["ok"]
        async with (
            PacedPublisher(pacer, janus.config, "room", "alice", clips[LARGE], keep=True) as alice,
            PacedPublisher(pacer, janus.config, "room", "bob", clips[SMALL], keep=True) as bob,
        ):
            zeros = {user.user_id: user.zero for user in (alice, bob)}
            await capture.until_journal(lambda j: len(j.of(Frame)) > 900)
            await capture.stop()
    journal = capture.journal()
    assert journal.losses() == []
    for user in (alice, bob):
        late = {}
        for kind in KINDS:
            frames = journal.frames(journal.track(user.user_id, kind))
            at = place_in(user.sent[kind], frames, kind == "video")
            assert at is not None
            dues = [zeros[user.user_id] + unit.pts / clock_of(kind) for unit in user.sent[kind][at : at + len(frames)]]
            waits = [frame.first_arrival_ns / 1e9 - due for (frame, _), due in zip(frames, dues, strict=True)]
            assert min(waits) > 0
            late[kind] = statistics.median(waits)
        assert max(late.values()) < 0.05
        assert abs(late["audio"] - late["video"]) < 0.02


async def test_what_is_lost_on_the_way_to_janus_comes_again(
    janus: EmbeddedJanus, pacer: Pacer, clips: dict[tuple[int, int], Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, turn = Encrypted.rtp, itertools.count(1)

    def lose(way: Encrypted, packets: list[bytes]) -> None:
        """The first packet of each fifth picture."""
        send(way, packets[1:] if len(packets) > 1 and next(turn) % 5 == 0 else packets)

    monkeypatch.setattr(Encrypted, "rtp", lose)
    async with CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config))["ok"]
        async with PacedPublisher(pacer, janus.config, "room", "alice", clips[LARGE], keep=True) as alice:
            await capture.until_journal(lambda j: j.tracks("alice", "video") and len(j.frames(j.track("alice", "video"))) > 90)
            await capture.stop()
    journal = capture.journal()
    assert next(turn) > 90
    assert journal.losses() == []
    assert place_in(alice.sent["video"], journal.frames(journal.track("alice", "video")), True) is not None


def shown(journal: Journal, user: str) -> tuple[int, int] | None:
    """The size of the user's last keyframe."""
    keys = [data for track in journal.tracks(user, "video") for frame, data in journal.frames(track) if frame.keyframe]
    return decode("h264", keys[-1:])[0] if keys else None


async def test_both_layers_of_a_camera_can_be_had(
    janus: EmbeddedJanus, pacer: Pacer, clips: dict[tuple[int, int], Clip], tmp_path: Path
) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config, replace(PARAMS, **GRID)))["ok"]
        async with LayeredPublisher(pacer, janus.config, "room", "alice", clips[LARGE], clips[SMALL], keep=True) as alice:
            await capture.until_journal(lambda j: shown(j, "alice") == LARGE)
            async with PacedPublisher(pacer, janus.config, "room", "bob", clips[SMALL]):
                await capture.until_journal(lambda j: shown(j, "alice") == SMALL)
                count = len(alice.sent["aux"])
                await until(lambda: len(alice.sent["aux"]) > count + 45)
                await capture.stop()
    journal = capture.journal()
    assert journal.losses() == []
    video = journal.playable(journal.track("alice", "video"))
    sizes = decode("h264", [data for _, data in video])
    assert len(sizes) == len(video), "each picture can be decoded"
    last = max(n for n, size in enumerate(sizes) if size == LARGE) + 1
    assert place_in(alice.sent["video"], video[sizes.index(LARGE) : last], True) is not None
    assert len(video) - last > 30
    assert place_in(alice.sent["aux"], video[last:], True) is not None
