"""One stream's subscription: a VideoRoom subscriber handle of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import structlog

from rokuga.errors import RoomError
from rokuga.room.link import Message
from rokuga.room.protocol import Layer, Stream
from rokuga.room.session import Handle, Session

ANSWER_SECONDS = 10.0
"""How long ``update`` waits for the answer to an offer that is under way."""
GATHER_SECONDS = 2.0
"""How long a Janus with full trickle may take to name its candidates."""
_log = structlog.get_logger(__name__)

Medium = tuple[str | int, str]
"""feed and the publisher's mid"""


def with_candidates(sdp: str, candidates: list[str]) -> str:
    """The offer with ``candidates`` (RFC 8839 candidate attributes, without ``a=``) in its first m-section, which BUNDLE makes all use."""
    head, first, *rest = sdp.split("\r\nm=")
    lines = [f"a={candidate}" for candidate in dict.fromkeys(candidates)] + ["a=end-of-candidates"]
    return "\r\nm=".join([head, "\r\n".join([first.removesuffix("\r\n"), *lines]) + ("" if rest else "\r\n"), *rest])


def _media(stream: Stream) -> set[Medium]:
    return {(stream.feed, track.mid) for track in (stream.audio, stream.video) if track is not None}


def _named(media: set[Medium], stream: Stream) -> list[dict[str, Any]]:
    layered = {track.mid for track in (stream.audio, stream.video) if track is not None and track.simulcast}
    return [{"feed": feed, "mid": mid, **(_choice(Layer()) if mid in layered else {})} for feed, mid in sorted(media, key=str)]


def _choice(layer: Layer) -> dict[str, int]:
    """In Janus' words."""
    return {"substream": layer.spatial, "temporal": layer.temporal}


class JanusSubscription:
    """See ``protocol.Subscription``. The reader of the session hands in events; offers wait in a queue for their taker."""

    def __init__(self, room: str | int, stream: Stream) -> None:
        self.stream = stream
        self._room = room
        self._handle: Handle
        self._active: set[Medium] = set()
        self._offers: asyncio.Queue[str | None] = asyncio.Queue(maxsize=64)
        self._unanswered = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._update = asyncio.Lock()
        self._candidates: list[str] = []
        self._gathered = asyncio.Event()
        self._over = False
        self._on_layer: Callable[[str, int], None] = lambda mid, layer: None

    def on_layer(self, listener: Callable[[str, int], None]) -> None:
        self._on_layer = listener

    async def start(self, session: Session, identity: Message) -> None:
        """Attach and join; ``identity`` is what the room wants to know of its subscribers.

        Raises RoomError (428: the publisher's connection is not up yet, or no more).
        """
        self._handle = await session.attach(self)
        body: Message = {
            "request": "join",
            "ptype": "subscriber",
            "room": self._room,
            "use_msid": False,
            "streams": _named(_media(self.stream), self.stream),
            **identity,
        }
        try:
            await self._handle.request(body)
        except BaseException:
            await self._handle.detach()
            raise

    async def offers(self) -> AsyncIterator[str]:
        while (sdp := await self._offers.get()) is not None:
            yield await self._complete(sdp)

    async def answer(self, sdp: str) -> None:
        try:
            await self._handle.request({"request": "start"}, {"type": "answer", "sdp": sdp})
        finally:
            self._unanswered -= 1
            if self._unanswered <= 0:
                self._idle.set()

    async def update(self, stream: Stream) -> None:
        async with self._update:
            await self._wait_idle()
            self.stream = stream
            want = _media(stream)
            body: Message = {"request": "update"}
            if more := want - self._active:
                body["subscribe"] = _named(more, stream)
            if less := self._active - want:
                body["unsubscribe"] = [{"feed": feed, "mid": mid} for feed, mid in sorted(less, key=str)]
            if len(body) == 1:
                return
            reply = await self._handle.request(body)
            if reply.get("videoroom") == "updating":
                # Janus had sent an offer of its own in between. It has noted our wish and offers it after that one's answer; asked
                # again it would add the same m-lines a second time.
                self._active = want

    async def layers(self, wanted: Mapping[str, Layer]) -> None:
        streams = [{"mid": mid, **_choice(layer)} for mid, layer in sorted(wanted.items())]
        await self._handle.request({"request": "configure", "streams": streams})

    async def close(self) -> None:
        self._end()
        await self._handle.detach()

    def message(self, message: Message) -> None:
        match message["janus"]:
            case "event":
                data = message.get("plugindata", {}).get("data", {})
                if "streams" in data:
                    self._active = {(s["feed_id"], s["feed_mid"]) for s in data["streams"] if s.get("active", True) and "feed_mid" in s}
                if "substream" in data and "mid" in data:
                    self._on_layer(str(data["mid"]), int(data["substream"]))
                jsep = message.get("jsep", {})
                if jsep.get("type") == "offer" and not self._over:
                    self._unanswered += 1
                    self._idle.clear()
                    self._offers.put_nowait(jsep["sdp"])
            case "trickle":
                candidate = message["candidate"]
                if candidate.get("completed"):
                    self._gathered.set()
                else:
                    self._candidates.append(candidate["candidate"])
            case "hangup" | "detached":
                self._end()

    def lost(self, error: RoomError) -> None:
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._offers.put_nowait(None)
            self._idle.set()

    async def _wait_idle(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            raise RoomError(0, f"the last offer was not answered within {ANSWER_SECONDS:.0f} s") from None
        if self._over:
            raise RoomError(0, "the subscription is over")

    async def _complete(self, sdp: str) -> str:
        """An offer with Janus' candidates in it: they follow it by themselves where Janus has full trickle."""
        if "a=candidate:" in sdp:
            return sdp
        try:
            async with asyncio.timeout(GATHER_SECONDS):
                await self._gathered.wait()
        except TimeoutError:
            _log.warning("janus named no more candidates", feed=self.stream.feed, candidates=len(self._candidates))
        return with_candidates(sdp, self._candidates)
