"""A user in a room: joins, publishes a clip as camera, microphone and screen, and does what users do with them."""

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Self

import structlog
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from rokuga.config import Janus
from rokuga.errors import RoomError
from rokuga.publish.clip import Clip, Kind, PublishError, Unit
from rokuga.publish.tracks import ClipTrack, Pace
from rokuga.room.link import Message
from rokuga.room.session import Handle, Session, open_session

Source = Literal["audio", "video", "aux"]
"""Microphone, camera, screen."""
SOURCES: tuple[Source, ...] = ("audio", "video", "aux")
CONNECT_SECONDS = 20.0
FLUSH_SECONDS = 0.2
_ROOM_EXISTS = 427


def _baseline(codec: RTCRtpCodecCapability) -> bool:
    """H.264 constrained baseline, which is what generated clips are and every browser takes (RFC 7742 section 6.2)."""
    return codec.mimeType == "video/H264" and str(codec.parameters.get("profile-level-id", "")).startswith("42e0")


class Publisher:
    """``async with``: in the room (created if missing) and sending. Raises RoomError, PublishError.

    ``aux`` is the clip of a screen share, ``sources`` what is published from the start on. ``delays``, in seconds of the
    clip's time, leave out what comes before (video begins at its first keyframe from there on). With ``keep`` all units
    that were handed to the senders are in ``sent``. Without any source the user only joins.
    """

    def __init__(
        self,
        janus: Janus,
        room_id: str,
        user_id: str,
        clip: Clip,
        *,
        sources: tuple[Source, ...] = ("audio", "video"),
        aux: Clip | None = None,
        delays: dict[Source, float] | None = None,
        keep: bool = False,
    ) -> None:
        self.user_id = user_id
        self.sent: dict[Source, list[Unit]] = {source: [] for source in SOURCES}
        self._janus = janus
        self._room = room_id if janus.room_ids == "string" else int(room_id)
        self._clips = {"audio": clip, "video": clip, "aux": aux or clip}
        self._sources = sources
        self._delays = delays or {}
        self._keep = keep
        self._pace = Pace()
        self._stack = AsyncExitStack()
        self._session: Session
        self._handle: Handle
        self._answer = ""
        self._peer: RTCPeerConnection | None = None
        self._tracks: dict[Source, ClipTrack] = {}
        self._lines: dict[Source, RTCRtpTransceiver] = {}
        self._log = structlog.get_logger(__name__).bind(room=room_id, user=user_id)

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(open_session(self._janus))
        try:
            self._handle = await self._session.attach(self)
            await self.join()
            if self._sources:
                await self.publish(*self._sources)
        except BaseException:
            await self.drop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._hang_up()
        await self._stack.aclose()

    def message(self, message: Message) -> None:
        """What Janus says on our handle: only the SDP of an answer matters."""
        if "jsep" in message:
            self._answer = message["jsep"]["sdp"]

    def lost(self, error: RoomError) -> None:
        """The link is gone; the media stop with it."""
        self._log.info("link lost", code=error.code, why=error.message)

    async def join(self) -> None:
        """Enter the room, which is created if it is missing. After ``leave`` a user may join again."""
        pin = self._janus.room_pin.get_secret_value()
        join: Message = {"request": "join", "ptype": "publisher", "room": self._room, "display": self.user_id}
        if self._janus.room_ids == "string":
            join["id"] = self.user_id
        await self._create(pin)
        await self._handle.request(join | ({"pin": pin} if pin else {}))

    async def _create(self, pin: str) -> None:
        create: Message = {
            "request": "create",
            "room": self._room,
            "permanent": False,
            "publishers": 100,
            "notify_joining": True,
            "videocodec": "h264,vp8,vp9,av1",
            "audiocodec": "opus",
            "videoorient_ext": False,
            "fir_freq": 0,
        }
        optional = {"pin": pin, "secret": self._janus.room_secret.get_secret_value(), "admin_key": self._janus.admin_key.get_secret_value()}
        try:
            await self._handle.request(create | {key: value for key, value in optional.items() if value})
        except RoomError as error:
            if error.code != _ROOM_EXISTS:
                raise

    async def publish(self, *sources: Source) -> None:
        """Start sending these; a running connection is renegotiated. A source that was stopped begins again."""
        peer, first = self._peer, self._peer is None
        if peer is None:
            # One transport for all: with aiortc's default a second video line keeps a transport that is thrown away.
            peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        for source in sources:
            if line := self._lines.get(source):
                line.direction = "sendonly"
                self._tracks[source].paused = False
            else:
                self._add(peer, source)
        await self._negotiate(peer, first)

    def _add(self, peer: RTCPeerConnection, source: Source) -> None:
        kind: Kind = "audio" if source == "audio" else "video"
        log = self.sent[source] if self._keep else None
        track = ClipTrack(kind, self._clips[source], self._pace, self._delays.get(source, 0.0), log)
        line = peer.addTransceiver(track, "sendonly")
        codecs = RTCRtpSender.getCapabilities(kind).codecs
        line.setCodecPreferences([c for c in codecs if c.mimeType in ("audio/opus", "video/rtx") or _baseline(c)])
        self._tracks[source], self._lines[source] = track, line

    async def _negotiate(self, peer: RTCPeerConnection, first: bool) -> None:
        await peer.setLocalDescription(await peer.createOffer())
        body: Message = {"request": "publish" if first else "configure"}
        if line := self._lines.get("aux"):
            body["descriptions"] = [{"mid": line.mid, "description": "aux"}]
        await self._exchange(peer, body)
        if first:
            await self._connected(peer)
        self._log.info("publishing", sources=[s for s, t in self._lines.items() if t.direction == "sendonly"])

    async def _exchange(self, peer: RTCPeerConnection, body: Message) -> None:
        """Offer and answer."""
        answer = await self._ask(body, peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def _ask(self, body: Message, offer: str) -> str:
        """The room's answer. Raises RoomError, PublishError."""
        self._answer = ""
        await self._handle.request(body, {"type": "offer", "sdp": offer})
        if not self._answer:
            raise PublishError("the room gave no answer to the offer")
        return self._answer

    async def _connected(self, peer: RTCPeerConnection) -> None:
        changed = asyncio.Event()
        peer.on("connectionstatechange", changed.set)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while peer.connectionState != "connected":
                    if peer.connectionState in ("failed", "closed"):
                        raise PublishError(f"the media connection is {peer.connectionState}")
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            raise PublishError(f"no media connection after {CONNECT_SECONDS:.0f} s") from None

    def pause(self, source: Source) -> None:
        """Camera, microphone or screen off as browsers do it (``replaceTrack(null)``): packets stop, the room hears nothing of it."""
        self._tracks[source].paused = True

    def resume(self, source: Source) -> None:
        """On again; video from the next keyframe on."""
        self._tracks[source].paused = False

    async def stop(self, *sources: Source) -> None:
        """Take tracks out of what is published, by renegotiation; the others go on."""
        assert self._peer is not None
        for source in sources:
            self._tracks[source].paused = True
            self._lines[source].direction = "inactive"
        await self._negotiate(self._peer, first=False)

    async def unpublish(self) -> None:
        """Stop publishing altogether and stay in the room. ``publish`` begins anew; the clip's time has gone on meanwhile."""
        await self._silence()
        await self._handle.request({"request": "unpublish"})
        await self._hang_up()

    async def leave(self) -> None:
        """Leave the room and stay connected; ``join`` and ``publish`` come back."""
        await self._silence()
        await self._handle.request({"request": "leave"})
        await self._hang_up()
        await self._handle.detach()
        self._handle = await self._session.attach(self)

    async def _silence(self) -> None:
        """What was sent shall be relayed: media and requests take different ways, and a request that overtakes them ends all."""
        for track in self._tracks.values():
            track.paused = True
        await asyncio.sleep(FLUSH_SECONDS)

    async def drop(self) -> None:
        """Vanish: the connections are closed without a word."""
        self._session.fail(RoomError(0, "dropped"))
        await self._stack.aclose()
        await self._hang_up()

    @property
    def zero(self) -> float:
        """The event loop's time at which the clip's time was 0."""
        return asyncio.get_running_loop().time() - self._pace.position()

    def position(self) -> float:
        """Seconds of the clip's time: what the picture's clock shows now."""
        return self._pace.position()

    async def _hang_up(self) -> None:
        peer, self._peer = self._peer, None
        self._tracks, self._lines = {}, {}
        if peer is not None:
            await peer.close()
