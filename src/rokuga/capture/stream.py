"""Receiving one stream: its subscription, its transport, its tracks; begun again a second after whatever went wrong."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rokuga.capture.attempt import Attempt
from rokuga.capture.sdp import SdpError
from rokuga.capture.track import Setting, Track
from rokuga.capture.transport import TransportError
from rokuga.errors import RoomError
from rokuga.render.mix.layout import Cell
from rokuga.room.protocol import Room, Stream

RETRY_SECONDS = 1.0
NOT_YET_SECONDS = 0.1
"""A publisher is announced and not yet up (428): that takes about as long."""
NOT_YET = 428


class Receiver:
    """Owns one stream from being wanted to being not. ``start``, then ``receive`` and ``tick`` again and again, ``update``, ``end``.

    Whatever fails in it is logged, ends its tracks with the cause link-lost, and is tried again; nothing reaches other streams.
    """

    def __init__(self, room: Room, stream: Stream, setting: Setting) -> None:
        self._setting = setting
        self._log: Any = setting.log.bind(user=stream.user_id, media=stream.media_id)
        self._room = room
        self._stream = stream
        self._task: asyncio.Task[None] | None = None
        self._attempt: Attempt | None = None
        self._cells: Sequence[Cell] | None = None

    @property
    def stream(self) -> Stream:
        return self._stream

    @property
    def tracks(self) -> list[Track]:
        """The open tracks."""
        return list(self._attempt.tracks.values()) if self._attempt else []

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"receiver {self._stream.user_id}/{self._stream.media_id}")

    def receive(self) -> None:
        """Take in what has come."""
        if self._attempt is not None:
            self._attempt.receive()

    def tick(self) -> bool:
        """Journal what is in order, send what is due; whether packets wait for one that is missing."""
        return self._attempt is not None and self._attempt.tick()

    def update(self, stream: Stream, cause: str) -> None:
        """The stream has other tracks now; those that are gone are closed with ``cause``."""
        self._stream = stream
        if self._attempt is not None:
            self._attempt.want(stream, cause)

    def place(self, cells: Sequence[Cell] | None) -> None:
        """Where the stream is seen in a mixed picture from now on: of a simulcast camera, no more is asked for than fills that."""
        if cells != self._cells:
            self._cells = cells
            if self._attempt is not None:
                self._attempt.place(cells)

    def end(self, cause: str) -> None:
        """Journal what is held and close the tracks with ``cause``, now; ``wait`` until handle and sockets are given up."""
        if self._attempt is not None:
            self._attempt.end_tracks(cause)
        if self._task is not None:
            self._task.cancel()

    async def wait(self) -> None:
        """Until everything that ``end`` began is done."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            pause = RETRY_SECONDS
            try:
                try:
                    await self._serve()
                    self._log.info("subscription over")
                except RoomError as error:
                    if error.code == NOT_YET:
                        pause = NOT_YET_SECONDS
                    else:
                        self._log.warning("cannot subscribe", error=str(error))
                except Exception as error:  # noqa: BLE001 one stream's trouble, whatever it is, must not reach the others
                    self._log.warning("stream failed", error=repr(error), exc_info=None if is_weather(error) else error)
                # If the publisher has left, the room says so now, and the tracks are closed with that cause.
                await asyncio.sleep(pause)
            finally:
                await self._give_up()

    async def _serve(self) -> None:
        subscription = await self._room.subscribe(self._stream)
        self._setting.past["subscriptions"] += 1
        self._attempt = Attempt(subscription, self._setting, self._log)
        self._attempt.place(self._cells)
        if self._stream != subscription.stream:
            self._attempt.want(self._stream, "unpublished")  # it changed meanwhile
        await self._attempt.serve()

    async def _give_up(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.end_tracks("link-lost")
            try:
                await attempt.close()
            except Exception as error:  # noqa: BLE001 as above: a new attempt owes nothing to this one
                self._log.error("cannot close a subscription", exc_info=error)


def is_weather(error: BaseException) -> bool:
    """Whether it is what networks and servers do now and then, and needs no trace in the log."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_weather(e) for e in error.exceptions)
    return isinstance(error, RoomError | SdpError | TransportError)
