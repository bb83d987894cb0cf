"""What capture knows of a room: users, their streams, and subscriptions; Janus stands behind it (``rokuga.room.janus``)."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

MediaId = Literal["main", "aux"]


@dataclass(frozen=True, slots=True)
class MediaTrack:
    """One m-line that a publisher sends. ``mid`` is the publisher's, ``codec`` lower case."""

    mid: str
    kind: Literal["audio", "video"]
    codec: str
    simulcast: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """What is recorded together: one (UserId, MediaId) with its audio and video.

    ``feed`` is the media server's id of the publisher, ``order`` the user's place in room-entry order (from 0; it never
    changes for a user who stays). Aux has no audio of its own.
    """

    user_id: str
    media_id: MediaId
    feed: str | int
    order: int
    audio: MediaTrack | None
    video: MediaTrack | None


@dataclass(frozen=True, slots=True)
class UserJoined:
    """An anchor (not a bot of ours) is in the room, publishing or not."""

    user_id: str
    order: int


@dataclass(frozen=True, slots=True)
class UserLeft:
    user_id: str


@dataclass(frozen=True, slots=True)
class Published:
    """All streams that are published now: a full list at each change, sorted by (order, main before aux)."""

    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """We are out. ``reason``: kicked, destroyed, replaced (another task's bot took our id), link-lost."""

    reason: Literal["kicked", "destroyed", "replaced", "link-lost"]


RoomChange = UserJoined | UserLeft | Published | Gone


HIGHEST = 2
"""Layers of simulcast, of size and of rate, are counted from 0; where there are fewer than three the highest one is sent instead."""


class Layer(NamedTuple):
    """What is asked for of a simulcast camera: a size, and in that size a rate (with the pictures of the lower ones)."""

    spatial: int = HIGHEST
    temporal: int = HIGHEST


class Subscription(Protocol):
    """One stream's subscription: a handle of its own, so that a change of one stream touches no other.

    Offers come one at a time; the next is asked for only after the last was answered.
    """

    stream: Stream

    def on_layer(self, listener: Callable[[str, int], None]) -> None:
        """Call ``listener`` with an m-line's mid (as offered) and the number of the simulcast layer (0: the lowest) that it carries now.

        Simulcast is subscribed to at its highest layer; while the one asked for does not come the server passes on a lower one.
        """

    async def layers(self, wanted: Mapping[str, Layer]) -> None:
        """Ask for other layers of m-lines, by mid as offered. Another size is passed on from its next keyframe on. Raises RoomError."""

    def offers(self) -> AsyncIterator[str]:
        """SDP offers, the first one at once; each must be answered with ``answer``.

        Ends when the subscription is over: closed, its transport hung up, or the link lost. An unpublish does not end it: that is
        an offer whose m-lines are inactive.
        """

    async def answer(self, sdp: str) -> None:
        """Answer the offer that was taken last. Raises RoomError."""

    async def update(self, stream: Stream) -> None:
        """The publisher changed its tracks (added, removed, republished) or we want fewer of them: renegotiate. Raises RoomError.

        Waits for the answer to an offer that is under way, so it must not be called between taking an offer and answering it.
        Nothing to change: nothing is negotiated.
        """

    async def close(self) -> None:
        """Detach the handle; never raises for a link that is gone."""


class Room(Protocol):
    """A joined room (``async with``). Raises RoomError when joining fails."""

    session_id: int
    """Janus' number of our session: a successor ends it to get the bot's id (``open_room(sessions=…)``)."""

    def changes(self) -> AsyncIterator[RoomChange]:
        """What happens in the room, beginning with who and what is there now; ends after Gone."""

    async def subscribe(self, stream: Stream) -> Subscription:
        """Subscribe to the stream's tracks that are not None. Raises RoomError (428: not yet up, try again)."""
