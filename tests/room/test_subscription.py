"""Subscriptions to real media through a real Janus, answered by aiortc."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from rokuga.config import Janus
from rokuga.embedded import EmbeddedJanus
from rokuga.errors import RoomError
from rokuga.publish.clip import Clip
from rokuga.publish.media import generate, look_of
from rokuga.publish.publisher import Publisher
from rokuga.room.janus import JanusRoom, open_room
from rokuga.room.link import Message
from rokuga.room.protocol import Stream
from rokuga.room.session import open_session
from rokuga.room.subscription import JanusSubscription
from tests.room.watch import PATIENCE_SECONDS, Watch, watching

pytestmark = pytest.mark.live


class FullTrickleJanus(EmbeddedJanus):
    """One that names its candidates after its offers."""

    def _write(self) -> None:
        super()._write()
        path = self._folder / "janus.jcfg"
        path.write_text(path.read_text().replace("nat: {", "nat: {\n\tfull_trickle = true", 1))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return generate(look_of("room", width=160, height=90, seconds=4, gop=1), tmp_path_factory.mktemp("clips"))


@pytest.fixture
async def janus(tmp_path: Path) -> AsyncIterator[Janus]:
    async with EmbeddedJanus(tmp_path / "janus") as running:
        yield running.config


class Receiver:
    """Answers the offers of a subscription, and counts what arrives."""

    def __init__(self, subscription: JanusSubscription) -> None:
        self.offers: list[str] = []
        self.frames = {"audio": 0, "video": 0}
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.over = False
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._subscription = subscription
        self._tasks: list[asyncio.Task[None]] = []

        @self.peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._tasks.append(asyncio.create_task(self._count(track)))

    async def answer(self) -> None:
        async for offer in self._subscription.offers():
            self.offers.append(offer)
            await self.may_answer.wait()
            await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await self.peer.setLocalDescription(await self.peer.createAnswer())
            await self._subscription.answer(self.peer.localDescription.sdp)
        self.over = True

    async def until_offers(self, number: int) -> str:
        await eventually(lambda: len(self.offers) >= number)
        assert len(self.offers) == number
        return self.offers[-1]

    async def flowing(self, *kinds: str) -> None:
        """Frames of these kinds arrive from now on."""
        before = dict(self.frames)
        await eventually(lambda: all(self.frames[kind] > before[kind] + 3 for kind in kinds))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.peer.close()

    async def _count(self, track: MediaStreamTrack) -> None:
        while True:
            await track.recv()
            self.frames[track.kind] += 1


async def eventually(condition: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError("did not happen") from None


@asynccontextmanager
async def receiving(room: JanusRoom, stream: Stream) -> AsyncIterator[tuple[JanusSubscription, Receiver]]:
    subscription = await room.subscribe(stream)
    receiver = Receiver(subscription)
    task = asyncio.create_task(receiver.answer())
    try:
        yield subscription, receiver
    finally:
        await subscription.close()
        with suppress(RoomError):
            await task
        await receiver.close()


def directions(offer: str) -> list[str]:
    """kind and direction of each m-section"""
    sections = offer.split("\r\nm=")[1:]
    return [s.split()[0] + " " + next(d for d in ("sendonly", "inactive") if f"a={d}\r\n" in s) for s in sections]


async def published(watch: Watch, number: int) -> tuple[Stream, ...]:
    await watch.until(lambda w: len(w.streams) == number)
    return watch.streams


async def test_one_handle_a_stream_and_every_offer_is_whole(janus: Janus, clip: Clip) -> None:
    async with AsyncExitStack() as stack:
        room = await stack.enter_async_context(open_room(janus, "r", 0, "bot"))
        watch = await stack.enter_async_context(watching(room))
        publisher = await stack.enter_async_context(Publisher(janus, "r", "pub", clip, sources=("audio", "video", "aux"), aux=clip))
        main, aux = await published(watch, 2)
        assert (main.media_id, main.audio is None, main.video is None) == ("main", False, False)
        assert (aux.media_id, aux.audio is None, aux.video is None) == ("aux", True, False)
        _, one = await stack.enter_async_context(receiving(room, main))
        _, two = await stack.enter_async_context(receiving(room, aux))
        offer = await one.until_offers(1)
        assert directions(offer) == ["audio sendonly", "video sendonly"]
        assert "a=candidate:" in offer
        assert "H264/90000" in offer
        assert "opus/48000/2" in offer
        assert directions(await two.until_offers(1)) == ["video sendonly"]
        await asyncio.gather(one.flowing("audio", "video"), two.flowing("video"))
        # The screen goes: the room says so, no handle is renegotiated, and the camera flows on.
        await publisher.stop("aux")
        await published(watch, 1)
        await one.flowing("audio", "video")
        assert (len(one.offers), len(two.offers)) == (1, 1)


async def test_unpublish_and_republish_on_the_same_handle(janus: Janus, clip: Clip) -> None:
    async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip) as publisher:
        (stream,) = await published(watch, 1)
        async with receiving(room, stream) as (subscription, receiver):
            await receiver.flowing("audio", "video")
            await publisher.unpublish()
            await published(watch, 0)
            assert directions(await receiver.until_offers(2)) == ["audio inactive", "video inactive"]
            await publisher.publish("audio", "video")
            (stream,) = await published(watch, 1)
            await subscription.update(stream)
            assert directions(await receiver.until_offers(3)) == ["audio sendonly", "video sendonly"]
            await receiver.flowing("audio", "video")
            assert subscription.stream == stream


async def test_fewer_and_more_tracks(janus: Janus, clip: Clip) -> None:
    async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip):
        (stream,) = await published(watch, 1)
        async with receiving(room, replace(stream, video=None)) as (subscription, receiver):
            assert directions(await receiver.until_offers(1)) == ["audio sendonly"]
            await subscription.update(stream)
            await receiver.flowing("audio", "video")
            await subscription.update(replace(stream, video=None))
            assert directions(await receiver.until_offers(3)) == ["audio sendonly", "video inactive"]
            await subscription.update(replace(stream, video=None))
            await receiver.flowing("audio")
            assert len(receiver.offers) == 3, "nothing to change: nothing is negotiated"


async def test_changes_wait_for_the_answer_to_the_offer_before(janus: Janus, clip: Clip) -> None:
    async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip):
        (stream,) = await published(watch, 1)
        async with receiving(room, stream) as (subscription, receiver):
            receiver.may_answer.clear()
            updates = [
                asyncio.create_task(subscription.update(replace(stream, video=None))),
                asyncio.create_task(subscription.update(stream)),
            ]
            await receiver.until_offers(1)
            done, _ = await asyncio.wait(updates, timeout=0.3)
            assert not done
            receiver.may_answer.set()
            await asyncio.gather(*updates)
            last = await receiver.until_offers(3)
            assert directions(last) == ["audio sendonly", "video sendonly"]
            await receiver.flowing("audio", "video")


async def test_a_wish_that_crosses_an_offer_of_janus_own_is_kept_and_asked_once(
    janus: Janus, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip) as publisher:
        (stream,) = await published(watch, 1)
        async with receiving(room, stream) as (subscription, receiver):
            await receiver.flowing("audio")
            receiver.may_answer.clear()
            await publisher.unpublish()
            await receiver.until_offers(2)
            await publisher.publish("audio", "video")
            (stream,) = await published(watch, 1)
            # As if Janus' offer came a moment after our request had left.
            with monkeypatch.context() as patched:
                patched.setattr(subscription._idle, "wait", _at_once)
                await subscription.update(stream)
                await subscription.update(stream)
            receiver.may_answer.set()
            assert directions(await receiver.until_offers(3)) == ["audio sendonly", "video sendonly"]
            await receiver.flowing("audio", "video")


async def _at_once() -> bool:
    return True


async def test_a_room_for_participants_only(janus: Janus, clip: Clip) -> None:
    async with open_session(janus) as session:
        handle = await session.attach(Watching())
        await handle.request({"request": "create", "room": "r", "require_pvtid": True, "videocodec": "h264"})
    async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip):
        (stream,) = await published(watch, 1)
        async with receiving(room, stream) as (_, receiver):
            await receiver.flowing("audio", "video")


class Watching:
    """Listens to nothing."""

    def message(self, message: Message) -> None:
        return None

    def lost(self, error: RoomError) -> None:
        return None


async def test_what_is_not_there_is_428(janus: Janus, clip: Clip) -> None:
    async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip):
        (stream,) = await published(watch, 1)
        assert stream.video is not None
        for wrong in (replace(stream, feed="nobody"), replace(stream, audio=None, video=replace(stream.video, mid="7"))):
            with pytest.raises(RoomError) as caught:
                await room.subscribe(wrong)
            assert caught.value.code == 428


async def test_the_end_of_a_subscription(tmp_path: Path, clip: Clip) -> None:
    async with EmbeddedJanus(tmp_path / "janus") as running:
        janus = running.config
        async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip):
            (stream,) = await published(watch, 1)
            async with (
                receiving(room, stream) as (closed, one),
                receiving(room, stream) as (_, two),
                receiving(room, stream) as (lost, three),
            ):
                await asyncio.gather(*(r.flowing("audio") for r in (one, two, three)))
                await closed.close()
                await two.peer.close()
                await eventually(lambda: one.over and two.over)
                with pytest.raises(RoomError):
                    await closed.update(replace(stream, video=None))
                await three.flowing("audio")
                await running.child.kill()
                await eventually(lambda: three.over)
                await lost.close()


async def test_candidates_that_follow_are_in_the_offer(tmp_path: Path, clip: Clip) -> None:
    async with FullTrickleJanus(tmp_path / "janus") as running:
        janus = running.config
        async with open_room(janus, "r", 0, "bot") as room, watching(room) as watch, Publisher(janus, "r", "pub", clip) as publisher:
            (stream,) = await published(watch, 1)
            async with receiving(room, stream) as (subscription, receiver):
                await receiver.flowing("audio", "video")
                assert subscription._candidates, "they came apart from the offer"
                await publisher.unpublish()
                offer = await receiver.until_offers(2)
                assert offer.count("a=candidate:") >= 1
                assert all("a=candidate:" in o and "a=end-of-candidates" in o for o in receiver.offers)
