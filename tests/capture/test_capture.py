"""A real capture process in a real Janus room: what its journal says of what was published."""

import asyncio
import itertools
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rokuga import clock
from rokuga.config import Janus
from rokuga.control.model import Lists
from rokuga.embedded import EmbeddedJanus
from rokuga.journal.records import End, Frame, Params, RoomEvent, Tick, TrackClosed
from rokuga.publish import Clip, Publisher
from rokuga.room.session import open_session
from tests.capture.kit import PARAMS, CaptureProcess, Way, place_in, until

pytestmark = pytest.mark.live

Clips = dict[str, Clip]


async def test_two_users_arrive_complete_in_order_and_byte_for_byte(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture:
        async with (
            Publisher(janus.config, "room", "alice", clips["alice"], keep=True) as alice,
            Publisher(janus.config, "room", "bob", clips["bob"], keep=True) as bob,
        ):
            assert (await capture.start(janus.config))["ok"]
            await capture.until_journal(lambda j: len(j.of(Frame)) > 1200)
            await until(lambda: {"event": "flow", "active": True} in capture.events)
            status = await capture.request("status")
            await capture.stop()
    assert capture.events[-1] == {"event": "ended", "leave_code": 0, "cause": "deleted"}
    assert (status["tracks"], status["users"], status["subscriptions"], status["lost"]) == (4, 2, 2, 0)
    assert status["session"] > 0
    journal = capture.journal()
    assert not journal.damage
    for publisher in (alice, bob):
        for kind, least in (("audio", 400), ("video", 120)):
            track = journal.track(publisher.user_id, kind)
            assert (track.codec, track.clock_rate) == (("opus", 48_000) if kind == "audio" else ("h264", 90_000))
            frames = journal.frames(track)
            assert len(frames) > least
            assert place_in(publisher.sent["audio" if kind == "audio" else "video"], frames, kind == "video") is not None
            for frame, _ in frames:
                assert journal.epoch_ns <= frame.first_arrival_ns <= frame.last_arrival_ns
            assert journal.closed(track) == "end"
        keyframes = [f.keyframe for f, _ in journal.frames(journal.track(publisher.user_id, "video"))]
        assert sum(keyframes) >= 8
    records = journal.records
    assert records[0] == Params(1, journal.of(Params)[0].params)
    assert records[-1] == End(0, "deleted")
    assert [r for r in records if isinstance(r, RoomEvent)] == [RoomEvent("joined", "alice", 0), RoomEvent("joined", "bob", 1)]
    assert journal.losses() == []
    ticks = [e for e in journal.entries if isinstance(e.record, Tick)]
    assert sum(t.record.utc_ns > 0 for t in ticks if isinstance(t.record, Tick)) >= 1
    gaps = [(b.monotonic_ns - a.monotonic_ns) / 1e9 for a, b in itertools.pairwise(ticks)]
    assert all(0.8 < gap < 2 for gap in gaps)


async def test_users_and_cameras_come_and_go(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture:
        assert (await capture.start(janus.config))["ok"]
        async with Publisher(janus.config, "room", "alice", clips["alice"], keep=True) as alice:
            await capture.until_journal(lambda j: j.tracks("alice", "video") and len(j.frames(j.track("alice", "video"))) > 10)
            await alice.stop("video")
            await capture.until_journal(lambda j: len(j.of(TrackClosed)) == 1)
            await alice.publish("video")
            await capture.until_journal(lambda j: len(j.tracks("alice", "video")) == 2 and j.frames(j.tracks("alice", "video")[1]))
            await alice.leave()
            await capture.until_journal(lambda j: len(j.of(TrackClosed)) == 3)
            await alice.join()
            await alice.publish("audio", "video")
            await capture.until_journal(lambda j: len(j.tracks("alice", "video")) == 3 and j.frames(j.tracks("alice", "video")[2]))
            await capture.stop()
    journal = capture.journal()
    first, again, back = journal.tracks("alice", "video")
    assert [journal.closed(t) for t in (first, again, back)] == ["unpublished", "left", "end"]
    sound, later = journal.tracks("alice", "audio")
    assert [journal.closed(t) for t in (sound, later)] == ["left", "end"]
    # The microphone never noticed what happened to the camera.
    assert place_in(alice.sent["audio"], journal.frames(sound), False) is not None
    assert [(e.event, e.order) for e in journal.of(RoomEvent)] == [("joined", 0), ("left", 0), ("joined", 1)]
    assert len({t.track for t in (first, again, back, sound, later)}) == 5


async def test_modify_touches_only_the_streams_that_it_adds_or_removes(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture:
        async with (
            Publisher(janus.config, "room", "alice", clips["alice"], keep=True) as alice,
            Publisher(janus.config, "room", "bob", clips["bob"]),
        ):
            assert (await capture.start(janus.config))["ok"]
            await capture.until_journal(lambda j: len(j.of(Frame)) > 200)
            blocked = replace(PARAMS, lists=Lists(audio_block=["bob"], video_block=["bob"]))
            first = await capture.request("apply", version=2, params=asdict(blocked))
            await capture.until_journal(lambda j: len(j.of(TrackClosed)) == 2)
            stale = await capture.request("apply", version=2, params=asdict(PARAMS))
            assert stale["media_ns"] == first["media_ns"]
            await asyncio.sleep(1)
            await capture.request("apply", version=3, params=asdict(PARAMS))
            await capture.until_journal(lambda j: len(j.tracks("bob", "video")) == 2 and j.frames(j.tracks("bob", "video")[1]))
            # One track of a stream only: the other one of it is not touched either.
            deaf = replace(PARAMS, lists=Lists(video_block=["alice"]))
            await capture.request("apply", version=4, params=asdict(deaf))
            await capture.until_journal(lambda j: len(j.of(TrackClosed)) == 3)
            await asyncio.sleep(1)
            await capture.request("apply", version=5, params=asdict(PARAMS))
            await capture.until_journal(lambda j: len(j.tracks("alice", "video")) == 2 and j.frames(j.tracks("alice", "video")[1]))
            status = await capture.request("status")
            await capture.stop()
    journal = capture.journal()
    assert status["subscriptions"] == 3  # alice once, bob twice
    assert [p.version for p in journal.of(Params)] == [1, 2, 3, 4, 5]
    changed = next(e for e in journal.entries if isinstance(e.record, Params) and e.record.version == 2)
    assert changed.monotonic_ns - journal.epoch_ns == first["media_ns"]
    audio = journal.frames(journal.track("alice", "audio"))
    assert place_in(alice.sent["audio"], audio, False) is not None
    assert audio[0][0].first_arrival_ns - journal.epoch_ns < 1e9
    assert journal.entries[-1].monotonic_ns - audio[-1][0].last_arrival_ns < 0.5e9
    video, video_again = journal.tracks("alice", "video")
    assert place_in(alice.sent["video"], journal.frames(video), True) is not None
    assert place_in(alice.sent["video"], journal.frames(video_again), True) is not None
    assert journal.closed(video) == "unsubscribed"
    assert [journal.closed(t) for t in journal.tracks("bob", "video")] == ["unsubscribed", "end"]
    assert journal.losses() == []


async def test_a_camera_that_is_off_for_a_while_keeps_its_track(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture:
        async with Publisher(janus.config, "room", "alice", clips["alice"], keep=True) as alice:
            assert (await capture.start(janus.config))["ok"]
            await capture.until_journal(lambda j: len(j.of(Frame)) > 60)
            alice.pause("video")
            await asyncio.sleep(2)
            alice.resume("video")
            before = len(alice.sent["video"])
            await until(lambda: len(alice.sent["video"]) > before + 10)
            await asyncio.sleep(0.5)
            await capture.stop()
    journal = capture.journal()
    frames = journal.frames(journal.track("alice", "video"))
    assert place_in(alice.sent["video"], frames, True) is not None
    assert max(b.rtp_time - a.rtp_time for (a, _), (b, _) in itertools.pairwise(frames)) > 1.5 * 90_000
    assert journal.losses() == []


async def test_an_empty_room_ends_the_recording(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture, CaptureProcess(tmp_path / "other") as other:
        params = replace(PARAMS, max_idle_time=1)
        async with Publisher(janus.config, "room", "alice", clips["alice"], sources=("audio",)):
            assert (await capture.start(janus.config, params))["ok"]
            assert (await other.start(janus.config, replace(params, user_id="bot2")))["ok"]
            await asyncio.sleep(1.5)  # an anchor is there, and nobody's patience ends
            assert (await capture.request("status"))["recording"]
        left = clock.monotonic_ns()
        await capture.exited()
        await other.exited()
    for each in (capture, other):
        assert each.journal().records[-1] == End(99, "no anchor in the room")
        assert each.journal().entries[-1].monotonic_ns - left > 0.9e9
        assert each.events[-1] == {"event": "ended", "leave_code": 99, "cause": "no anchor in the room"}


async def test_a_killed_capture_has_written_all_but_the_last_100_ms(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    async with Publisher(janus.config, "room", "alice", clips["alice"]) as _:
        async with CaptureProcess(tmp_path / "g0") as capture:
            assert (await capture.start(janus.config))["ok"]
            await capture.until_journal(lambda j: len(j.of(Frame)) > 150)
            killed = clock.monotonic_ns()
            await capture.kill()
        frames = capture.journal().frames(capture.journal().track("alice", "audio"))
        # 100 ms until it is read and written, 20 ms between packets, and a busy machine.
        assert killed - frames[-1][0].last_arrival_ns < 250e6
        # The next one goes on in the same folder: same epoch, new file, new tracks.
        async with CaptureProcess(tmp_path / "g0") as capture:
            assert (await capture.start(janus.config))["ok"]
            await capture.until_journal(lambda j: len(j.tracks("alice", "audio")) == 2 and j.frames(j.tracks("alice", "audio")[1]))
            await capture.stop()
    journal = capture.journal()
    assert {e.position.file for e in journal.entries} == {1, 2}
    assert [r for r in journal.of(RoomEvent) if r.event == "restarted"] == [RoomEvent("restarted")]
    assert next(e.record for e in journal.entries if e.position.file == 2) == RoomEvent("restarted")
    assert len({t.track for t in journal.tracks("alice", "audio")}) == 2
    assert journal.records[-1] == End(0, "deleted")


async def test_being_removed_ends_it_with_the_code_that_says_how(janus: EmbeddedJanus, tmp_path: Path) -> None:
    async with open_session(janus.config) as session:
        handle = await session.attach(_Deaf())
        for name, request, code in (("kick", {"request": "kick", "id": "bot"}, 3), ("destroy", {"request": "destroy"}, 4)):
            async with CaptureProcess(tmp_path / name) as capture:
                assert (await capture.start(janus.config))["ok"]
                await handle.request({"room": "room", **request})
                await capture.exited()
            end = capture.journal().records[-1]
            assert isinstance(end, End)
            assert end.leave_code == code


async def test_a_successor_takes_the_bot_over(janus: EmbeddedJanus, tmp_path: Path) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture, CaptureProcess(tmp_path / "g1") as successor:
        assert (await capture.start(janus.config))["ok"]
        session = (await capture.request("status"))["session"]
        assert (await successor.start(janus.config, predecessor=session))["ok"]
        await capture.exited()
        assert capture.journal().records[-1] == End(101, "replaced")
        await successor.stop()


async def test_one_that_was_cut_off_leaves_the_room_to_its_successor(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    """It has not heard that its session was ended, and joins again when its way to Janus is back."""
    async with (
        Publisher(janus.config, "room", "alice", clips["alice"], sources=("audio",)),
        Way(janus.config) as way,
        CaptureProcess(tmp_path / "g0") as capture,
        CaptureProcess(tmp_path / "g1") as successor,
    ):
        assert (await capture.start(way.config))["ok"]
        session = (await capture.request("status"))["session"]
        await way.cut()
        assert (await successor.start(janus.config, predecessor=session))["ok"]
        await way.mend()
        await capture.exited(60)
        assert capture.journal().records[-1] == End(101, "replaced")
        assert RoomEvent("link-lost") in capture.journal().records
        status = await successor.request("status")
        assert status["recording"]
        assert not status["ended"]
        await successor.stop()
    assert successor.journal().records[-1] == End(0, "deleted")
    assert RoomEvent("kicked") not in successor.journal().records


async def test_a_room_that_cannot_be_joined_is_no_recording(tmp_path: Path) -> None:
    async with CaptureProcess(tmp_path / "g0") as capture:
        answer = await capture.start(Janus(url="ws://127.0.0.1:1"))
        assert not answer["ok"]
        assert "127.0.0.1:1" in answer["error"]
        await capture.exited()
    assert not (tmp_path / "g0" / "journal").exists()


class _Deaf:
    """A handle's owner who is not interested."""

    def message(self, message: object) -> None:
        return None

    def lost(self, error: Exception) -> None:
        return None
