"""One subscription with its transport: offers answered, packets routed to tracks, tracks opened and closed."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rokuga import clock
from rokuga.capture import rtcp, rtp
from rokuga.capture.sdp import Codec, Local, Media, Offer, make_answer, parse_offer
from rokuga.capture.track import DEPACKETIZERS, Setting, Track
from rokuga.capture.transport import MediaTransport
from rokuga.errors import RoomError
from rokuga.render.mix.layout import Cell
from rokuga.room.protocol import Layer, Stream, Subscription

NOTHING_ASKED = Layer()


class Attempt:
    """One subscription with its transport, from its first offer to its end."""

    def __init__(self, subscription: Subscription, setting: Setting, log: Any) -> None:
        self.tracks: dict[str, Track] = {}
        """open tracks by mid"""
        self._setting = setting
        self._log = log
        self._subscription = subscription
        subscription.on_layer(self._layer)
        self._stream = subscription.stream
        self._transport = MediaTransport(setting.certificate, setting.datagrams, self._rtp, self._rtcp)
        self._local: Local | None = None
        self._connected = False
        self._ssrcs: dict[int, Callable[[rtp.RtpPacket, int], None]] = {}
        """what takes the packets of an SSRC, each with its arrival"""
        self._orientation_ids: dict[int, int] = {}
        """by SSRC, see rtp.parse"""
        self._own_ssrcs: dict[str, int] = {}
        self._refused: set[str] = set()
        self._cells: Sequence[Cell] | None = None
        self._asked: dict[str, Layer] = {}
        """what was asked for last of a simulcast camera, by mid"""
        self._layers: dict[str, int] = {}
        """the simulcast layer that comes, by mid: the first is told once, maybe before our side of the connection is up"""
        self._wanted = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cause = "unpublished"
        self.malformed = 0
        self.unknown = 0
        """packets of an SSRC that no offer named"""

    async def serve(self) -> None:
        """Answer offers until the subscription is over. Raises what goes wrong, as an exception group."""
        async with asyncio.TaskGroup() as group:
            waits = (self._updates(), self._watch(self._transport.lost), self._watch(self._failed))
            helpers = [group.create_task(wait) for wait in waits]
            async for text in self._subscription.offers():
                await self._negotiate(parse_offer(text))
            for helper in helpers:
                helper.cancel()

    def receive(self) -> None:
        """Take in what has come."""
        if self._failed.done():
            return
        try:
            self._transport.drain()
        except Exception as error:  # noqa: BLE001 ends this attempt, with a trace in the log
            self._failed.set_exception(error)

    def tick(self) -> bool:
        """Journal what is in order, send what is due; whether packets wait for one that is missing."""
        repairing = False
        if not self._connected or self._failed.done():
            return repairing
        try:
            now, utc = clock.monotonic_ns(), clock.utc_ns()
            for mid, track in self.tracks.items():
                for datagram in track.tick(now, utc):
                    self._transport.send_rtcp(datagram)
                repairing |= track.repairing
                wanted = track.wanted
                if wanted is not None and wanted != self._asked.get(mid, NOTHING_ASKED):
                    self._asked[mid] = wanted
                    self._wanted.set()
        except Exception as error:  # noqa: BLE001 ends this attempt, with a trace in the log
            self._failed.set_exception(error)
        return repairing

    def want(self, stream: Stream, cause: str) -> None:
        """Close the tracks that ``stream`` has no more, and renegotiate for the others."""
        self._stream = stream
        self._cause = cause
        for mid, track in list(self.tracks.items()):
            if getattr(stream, track.media.kind) is None:
                self._end_track(mid, cause)
        self._wanted.set()

    def place(self, cells: Sequence[Cell] | None) -> None:
        """Where the picture is seen now (see `Layers.place`)."""
        self._cells = cells
        for track in self.tracks.values():
            if track.layers is not None:
                track.layers.place(cells)

    def end_tracks(self, cause: str) -> None:
        """The last packets that are in the socket belong to the tracks, too."""
        if self._connected:
            self.receive()
            self.tick()
        for mid in list(self.tracks):
            self._end_track(mid, cause)

    async def close(self) -> None:
        if not self._failed.done():
            self._failed.cancel()
        elif not self._failed.cancelled():
            self._failed.exception()
        dropped = {"malformed": self.malformed, "unknown_ssrc": self.unknown, "undecipherable": self._transport.undecipherable}
        if any(dropped.values()):
            self._log.info("packets dropped", **dropped)
        await self._transport.close()
        await self._subscription.close()

    async def _watch(self, future: asyncio.Future[None]) -> None:
        await asyncio.shield(future)

    async def _updates(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._subscription.update(self._stream)
            await self._ask_layers()

    async def _ask_layers(self) -> None:
        if not self._asked:
            return
        self._log.debug("simulcast layers asked for", layers=self._asked)
        try:
            await self._subscription.layers(self._asked)
        except RoomError as error:
            self._log.warning("cannot choose a simulcast layer", layers=self._asked, error=str(error))

    async def _negotiate(self, offer: Offer) -> None:
        accept: dict[str, tuple[int, int]] = {}
        chosen: dict[str, tuple[Media, Codec]] = {}
        for media in offer.media:
            codec = self._choose(media)
            if codec is not None:
                own = self._own_ssrcs.setdefault(media.mid, secrets.randbelow(0xFFFFFFFE) + 1)
                accept[media.mid] = codec.payload_type, own
                chosen[media.mid] = media, codec
        for mid, track in list(self.tracks.items()):
            if mid not in chosen:
                self._end_track(mid, self._cause)
            elif (replace(chosen[mid][0], codecs=()), chosen[mid][1]) != (replace(track.media, codecs=()), track.codec):
                self._end_track(mid, "replaced")
        first = self._local is None
        if self._local is None:
            self._local = self._transport.open(offer)
        await self._subscription.answer(make_answer(offer, self._local, accept))
        if first:
            await self._transport.connect(offer)
            self._connected = True
        self._cause = "unpublished"
        for mid, (media, codec) in chosen.items():
            if mid not in self.tracks and getattr(self._stream, media.kind) is not None:
                self._begin_track(media, codec)
        self.tick()  # the first report at once: Janus keeps nothing for us before it

    def _choose(self, media: Media) -> Codec | None:
        if not media.active or getattr(self._stream, media.kind, None) is None:
            return None
        codec = next((c for c in media.codecs if c.name in DEPACKETIZERS), None)
        if codec is None:
            names = "/".join(sorted({c.name for c in media.codecs if c.apt < 0}))
            if names not in self._refused:
                self._refused.add(names)
                self._log.error("codec cannot be recorded", kind=media.kind, codec=names)
        return codec

    def _begin_track(self, media: Media, codec: Codec) -> None:
        track = Track(self._setting, self._stream, media, codec, self._own_ssrcs[media.mid], self._log)
        self.tracks[media.mid] = track
        if track.layers is not None:
            track.layers.place(self._cells)
        if media.mid in self._layers:
            track.layer(self._layers[media.mid], clock.monotonic_ns())
        self._ssrcs[media.ssrc] = track.rtp
        if media.rtx_ssrc:
            self._ssrcs[media.rtx_ssrc] = track.rtx
        if media.orientation_id:
            self._orientation_ids |= {ssrc: media.orientation_id for ssrc in (media.ssrc, media.rtx_ssrc) if ssrc}

    def _end_track(self, mid: str, cause: str) -> None:
        track = self.tracks.pop(mid)
        self._asked.pop(mid, None)
        if cause != "replaced":
            self._layers.pop(mid, None)  # the next camera in its place has its own first layer told
        self._ssrcs = {ssrc: take for ssrc, take in self._ssrcs.items() if take not in (track.rtp, track.rtx)}
        self._orientation_ids = {ssrc: number for ssrc, number in self._orientation_ids.items() if ssrc in self._ssrcs}
        try:
            track.flush(cause)
        except Exception as error:  # noqa: BLE001 what is held is not worth more than the record that the track is over
            self._log.error("a track's end is lost", track=track.number, exc_info=error)
        track.close(cause)

    def _layer(self, mid: str, layer: int) -> None:
        self._layers[mid] = layer
        if mid in self.tracks:
            self.tracks[mid].layer(layer, clock.monotonic_ns())

    def _rtp(self, packets: Sequence[tuple[bytes, int]]) -> None:
        ssrcs, orientation_ids = self._ssrcs, self._orientation_ids
        for data, arrival_ns in packets:
            try:
                packet = rtp.parse(data, orientation_ids)
                take = ssrcs.get(packet[0])
                if take is None:
                    self.unknown += 1
                else:
                    take(packet, arrival_ns)
            except rtp.MalformedPacket:
                self.malformed += 1

    def _rtcp(self, data: bytes, arrival_ns: int) -> None:
        for report in rtcp.sender_reports(data):
            for track in self.tracks.values():
                if track.media.ssrc == report.ssrc:
                    track.sender_report(report, arrival_ns)
