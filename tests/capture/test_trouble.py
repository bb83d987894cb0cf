"""Recording in a real room while something is wrong: a bad network, a bug in one stream, a media server that goes away."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from rokuga import ipc
from rokuga.capture import main, recording, track
from rokuga.capture.buffer import Packet
from rokuga.capture.depacketize import AudioDepacketizer, Output
from rokuga.capture.h264 import H264Depacketizer
from rokuga.capture.orders import Start, start_message
from rokuga.capture.recording import Recording
from rokuga.embedded import EmbeddedJanus
from rokuga.folders import Generation
from rokuga.journal.records import End, Frame, KeyframeAsked, Loss, RoomEvent
from rokuga.journal.writer import JournalWriter
from rokuga.publish import Clip, Publisher
from rokuga.room.janus import open_room
from tests.capture.kit import PARAMS, BadNetwork, BadRoom, Journal, place_in, ticking, until

pytestmark = pytest.mark.live

Clips = dict[str, Clip]


async def record_badly(janus: EmbeddedJanus, folder: Path, make: Callable[[], BadNetwork], seconds: float) -> tuple[Recording, BadRoom]:
    """Record the room for a while with a bad network per stream."""
    async with open_room(janus.config, "room", 0, "bot") as room, JournalWriter(folder, "task", 0) as journal:
        bad = BadRoom(room, make)
        recorded = Recording(journal, PARAMS, 1, structlog.get_logger())
        following = asyncio.create_task(recorded.follow(bad))
        async with ticking(recorded.tick):
            await until(lambda: recorded.tracks >= 2)
            await asyncio.sleep(seconds)
            for network in bad.networks:
                network.calm()
            await asyncio.sleep(1.5)  # what was lost last is repaired
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        recorded.end("end")
        await recorded.settle()
        return recorded, bad


async def test_losses_are_repaired_from_the_first_packet_on(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    """5 % of everything, retransmissions too, and a burst of 20 packets every 3 s, on a connection of less than 1 ms."""
    async with Publisher(janus.config, "room", "alice", clips["alice"], keep=True) as alice:
        recorded, room = await record_badly(janus, tmp_path / "j", lambda: BadNetwork(0.05, 1, burst_every=3), 10)
    dropped = sum(n.dropped for n in room.networks)
    totals = recorded.totals()
    assert dropped > 80
    assert totals["lost"] == 0
    assert totals["repaired"] > 60
    journal = Journal(tmp_path / "j")
    assert journal.losses() == []
    for kind in ("audio", "video"):
        frames = journal.frames(journal.track("alice", kind))
        assert len(frames) > (400 if kind == "audio" else 120)
        assert place_in(alice.sent["audio" if kind == "audio" else "video"], frames, kind == "video") is not None


async def test_what_cannot_be_repaired_is_named_and_a_keyframe_asked_for(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    """Nothing comes for 2 s: longer than Janus keeps anything."""
    outage = BadNetwork(0, 1)
    async with Publisher(janus.config, "room", "alice", clips["rare keyframes"], keep=True) as alice:
        task = asyncio.create_task(record_badly(janus, tmp_path / "j", lambda: outage, 11))
        await until(lambda: (tmp_path / "j").exists() and any(frame.keyframe for frame in Journal(tmp_path / "j").of(Frame)))
        outage.loss = 1
        await asyncio.sleep(2)
        outage.loss = 0
        recorded, _ = await task
    journal = Journal(tmp_path / "j")
    losses = journal.of(Loss)
    lost = sum(loss.last_sequence - loss.first_sequence + 1 for loss in losses if loss.cause != "incomplete")
    assert 0 < recorded.totals()["lost"] <= lost
    assert {loss.cause for loss in losses} <= {"repair-failed", "network"}
    assert "loss" in {asked.reason for asked in journal.of(KeyframeAsked)}
    # Every frame that is there is one that was sent, in order.
    sent = {unit.data for unit in alice.sent["audio"]}
    frames = journal.frames(journal.track("alice", "audio"))
    assert all(data in sent for _, data in frames)
    times = [frame.rtp_time for frame, _ in frames]
    assert times == sorted(set(times))
    video = [frame.rtp_time for frame, _ in journal.frames(journal.track("alice", "video"))]
    assert video == sorted(set(video))
    assert not {loss.rtp_time for loss in losses if loss.track == journal.track("alice", "video").track}.intersection(video)


class Explosive(H264Depacketizer):
    """Has a bug that shows at the 20th packet of the first track that it is used for, and from then on."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Explosive.made += 1
        self.fuse = 20 if Explosive.made == 1 else -1

    def push(self, packet: Packet) -> Output:
        self.fuse -= 1
        return super().push(packet) if self.fuse else self.flush()

    def flush(self) -> Output:
        if self.fuse == 0:
            raise ZeroDivisionError("a bug")
        return super().flush()


async def test_a_bug_in_one_stream_ends_no_other_and_the_stream_begins_again(
    janus: EmbeddedJanus, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "DEPACKETIZERS", {"h264": Explosive, "opus": AudioDepacketizer})
    async with (
        Publisher(janus.config, "room", "alice", clips["alice"]),
        Publisher(janus.config, "room", "bob", clips["bob"], sources=("audio",), keep=True) as bob,
    ):
        recorded, _ = await record_badly(janus, tmp_path / "j", lambda: BadNetwork(0, 1), 4)
    journal = Journal(tmp_path / "j")
    first, again = journal.tracks("alice", "video")
    assert (journal.closed(first), journal.closed(again)) == ("link-lost", "end")
    assert len(journal.frames(again)) > 10
    assert place_in(bob.sent["audio"], journal.frames(journal.track("bob", "audio")), False) is not None
    assert recorded.totals()["subscriptions"] == 3


class InProcess:
    """``main.run`` as a task of this process, so that its times can be shortened."""

    def __init__(self, folder: Path) -> None:
        self.generation = Generation(folder)
        self.task = asyncio.create_task(main.run(self.generation, "task", 0))
        self.writer: asyncio.StreamWriter
        self.reader: asyncio.StreamReader

    async def start(self, janus: EmbeddedJanus) -> None:
        await until(self.generation.capture_socket.exists)
        self.reader, self.writer = await ipc.connect(self.generation.capture_socket)
        await ipc.send(self.writer, start_message(Start(PARAMS, 1, janus.config), 1))
        assert await ipc.receive(self.reader) == {"id": 1, "ok": True}

    def journal(self) -> Journal:
        return Journal(self.generation.journal)


async def test_a_media_server_that_comes_back_is_joined_again(janus: EmbeddedJanus, clips: Clips, tmp_path: Path) -> None:
    capture = InProcess(tmp_path / "g0")
    await capture.start(janus)
    async with Publisher(janus.config, "room", "alice", clips["alice"]):
        await until(lambda: len(capture.journal().payloads) > 50)
        await janus.child.kill()
    await until(lambda: RoomEvent("link-lost") in capture.journal().records)
    await janus.start()
    async with Publisher(janus.config, "room", "alice", clips["alice"]):
        await until(lambda: len(capture.journal().tracks("alice", "audio")) == 2)
        await until(lambda: capture.journal().frames(capture.journal().tracks("alice", "audio")[1]))
        await ipc.send(capture.writer, {"do": "stop", "id": 2, "leave_code": 0, "cause": "deleted"})
        await asyncio.wait_for(capture.task, 30)
    capture.writer.close()
    journal = capture.journal()
    first, again = journal.tracks("alice", "audio")
    assert (journal.closed(first), journal.closed(again)) == ("link-lost", "end")
    events = [e.event for e in journal.of(RoomEvent)]
    assert events[:3] == ["joined", "link-lost", "link-found"]
    assert journal.records[-1] == End(0, "deleted")


async def test_a_media_server_that_stays_away_ends_it(janus: EmbeddedJanus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "REJOIN_SECONDS", 1)
    capture = InProcess(tmp_path / "g0")
    await capture.start(janus)
    await janus.child.kill()
    await asyncio.wait_for(capture.task, 30)
    capture.writer.close()
    assert capture.journal().records[-1] == End(100, "link-lost")


async def test_a_capture_that_no_node_asks_after_ends_itself(janus: EmbeddedJanus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "ORPHAN_NS", main.SECOND)
    capture = InProcess(tmp_path / "g0")
    await capture.start(janus)
    await asyncio.sleep(2.5)
    assert not capture.task.done()
    capture.writer.close()
    await asyncio.wait_for(capture.task, 30)
    assert capture.journal().records[-1] == End(-1, "orphaned")


async def test_the_node_is_told_when_media_flow_and_when_they_cease(
    janus: EmbeddedJanus, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "FLOW_NS", main.SECOND)
    capture = InProcess(tmp_path / "g0")
    await capture.start(janus)
    async with Publisher(janus.config, "room", "alice", clips["alice"]):
        assert await asyncio.wait_for(ipc.receive(capture.reader), 30) == {"event": "flow", "active": True}
        assert capture.journal().of(RoomEvent)
    assert await asyncio.wait_for(ipc.receive(capture.reader), 30) == {"event": "flow", "active": False}
    await ipc.send(capture.writer, {"do": "stop", "id": 2, "leave_code": 0, "cause": "test"})
    await asyncio.wait_for(capture.task, 30)
    capture.writer.close()


async def test_a_folder_has_one_capture(janus: EmbeddedJanus, tmp_path: Path) -> None:
    capture = InProcess(tmp_path / "g0")
    await capture.start(janus)
    with pytest.raises(main.CaptureError, match="another capture"):
        await main.run(capture.generation, "task", 0)
    await ipc.send(capture.writer, {"do": "stop", "id": 2, "leave_code": 3, "cause": "test"})
    await asyncio.wait_for(capture.task, 30)
    capture.writer.close()
