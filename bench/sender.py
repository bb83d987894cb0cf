"""Users whose media one loop sends: a wake-up sends all that is due of everybody, and nothing is packed twice.

aiortc wakes up and packs anew for each user's each unit, which takes more of the machine than what a bench measures. It still
does the rest: offers, ICE, DTLS, and reading what comes.
"""

import asyncio
import os
import socket
import sys
from dataclasses import dataclass
from typing import Any

import structlog
from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpSender
from aiortc.codecs import is_rtx
from aiortc.rtcdtlstransport import State
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtp import RTCP_RTPFB_NACK, AnyRtcpPacket, RtcpRtpfbPacket

from bench.stream import Line, Stream
from rokuga import clock
from rokuga.config import Janus
from rokuga.publish import Clip, Publisher, Source, Unit
from rokuga.publish.clip import Kind
from rokuga.publish.tracks import START_SECONDS, ClipTrack, Pace

TICK_SECONDS = 0.018
"""By which a unit may be late. Each wake-up finds its code and data out of the caches: the fewer the cheaper."""
UDP_SEGMENT = 103
"""An option of udp(7): the kernel cuts what it is given, 65,507 bytes at most, into datagrams of this size."""
SEGMENTS = 40
"""of the size of a packet at most"""
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"


class Encrypted:
    """A connection's way out, without a coroutine in between, and with one system call for packets of one size."""

    def __init__(self, transport: RTCDtlsTransport) -> None:
        self._dtls = transport
        self._ice = transport.transport._connection
        self._pair: Any = None
        self._socket: socket.socket | None = None

    def rtp(self, packets: list[bytes]) -> None:
        """Raises ConnectionError."""
        self._connect()
        protect = self._dtls._tx_srtp.protect
        if len(packets) == 1:
            self._send([protect(packets[0])])
            return
        same: list[bytes] = []
        for packet in packets:
            protected = protect(packet)
            # The last one of a call may be shorter.
            if same and (len(protected) > len(same[0]) or len(same[-1]) < len(same[0]) or len(same) == SEGMENTS):
                self._send(same)
                same = []
            same.append(protected)
        self._send(same)

    def rtcp(self, packet: bytes) -> None:
        """Raises ConnectionError."""
        self._connect()
        self._send([self._dtls._tx_srtp.protect_rtcp(packet)])

    def _connect(self) -> None:
        """To the pair that ICE has chosen."""
        pair = self._ice._nominated.get(1)
        if self._dtls._state is not State.CONNECTED or pair is None:
            raise ConnectionError("not connected")
        if pair is not self._pair:
            self.close()
            self._pair, self._to = pair, pair.remote_addr
            self._transport = pair.protocol.transport
            self._socket = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))

    def _send(self, packets: list[bytes]) -> None:
        assert self._socket is not None
        try:
            if len(packets) == 1:
                self._socket.sendto(packets[0], self._to)
            else:
                size = len(packets[0]).to_bytes(2, sys.byteorder)
                self._socket.sendmsg(packets, [(socket.IPPROTO_UDP, UDP_SEGMENT, size)], 0, self._to)
        except BlockingIOError:
            for packet in packets:
                self._transport.sendto(packet, self._to)  # which waits until there is room

    def close(self) -> None:
        """Our hold of the socket; ICE has its own."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Pacer:
    """Sends what is due of all streams. Each has its own beginning, so that they are spread as those of people are."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []
        self._log = structlog.get_logger(__name__)

    def add(self, stream: Stream) -> None:
        self._streams.append(stream)

    def remove(self, stream: Stream) -> None:
        """Does nothing if it is not there any more."""
        self._streams = [other for other in self._streams if other is not stream]

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            now, utc_ns = loop.time(), clock.utc_ns()
            for stream in self._streams:
                if stream.due <= now:
                    try:
                        stream.send_due(now, utc_ns)
                    except ConnectionError as error:
                        self.remove(stream)
                        self._log.warning("stops sending", why=str(error))
            await asyncio.sleep(TICK_SECONDS)


@dataclass(frozen=True)
class Media:
    """What a sender needs to know that it sends; the track is no more than its switch."""

    pacer: Pacer
    pace: Pace
    clip: Clip
    track: ClipTrack
    delay: float
    sent: list[Unit] | None


class PacedSender(RTCRtpSender):
    """aiortc's sender without its tasks. Asked for a keyframe it sends none: a clip is what it is."""

    _media: Media
    _stream: Stream | None
    _way: Encrypted

    @classmethod
    def adopt(cls, sender: RTCRtpSender, media: Media) -> None:
        """Make one of an aiortc sender, which the connection has made itself and has not begun to use."""
        sender.__class__ = cls
        assert isinstance(sender, cls)
        sender._media, sender._stream = media, None

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Begin; called again after each negotiation, which changes nothing."""
        if self._stream is not None:
            return
        media = self._media
        self.transport._register_rtp_sender(self, parameters)
        codec = parameters.codecs[0]
        assert codec.payloadType is not None
        rtx = [c.payloadType for c in parameters.codecs if is_rtx(c) and c.parameters["apt"] == codec.payloadType]
        mid = [extension.id for extension in parameters.headerExtensions if extension.uri == MID]
        kind: Kind = "audio" if self.kind == "audio" else "video"
        line = Line(
            kind=kind,
            ssrc=self._ssrc,
            rtx_ssrc=self._rtx_ssrc,
            payload_type=codec.payloadType,
            rtx_type=rtx[0] if rtx else None,
            mid=parameters.muxId,
            mid_id=mid[0] if mid else 0,
            cname=parameters.rtcp.cname or "",
        )
        position = media.pace.position()
        begin = max(media.delay, position) if position > START_SECONDS else media.delay
        self._way = Encrypted(self.transport)
        zero = asyncio.get_running_loop().time() - position
        self._stream = Stream(line, media.clip, self._way, zero, begin, lambda: media.track.paused, media.sent)
        media.pacer.add(self._stream)

    async def stop(self) -> None:
        """For good."""
        stream = self._stream
        if stream is None:
            return
        self._media.pacer.remove(stream)
        self.transport._unregister_rtp_sender(self)
        try:
            stream.bye()
        except ConnectionError:
            pass  # there is nobody to tell
        self._way.close()

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if self._stream is not None and isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            self._stream.lost(packet.lost)


class PacedPublisher(Publisher):
    """A user whose media ``pacer`` sends."""

    def __init__(self, pacer: Pacer, janus: Janus, room_id: str, user_id: str, clip: Clip, **options: Any) -> None:
        super().__init__(janus, room_id, user_id, clip, **options)
        self._pacer = pacer

    def _add(self, peer: RTCPeerConnection, source: Source) -> None:
        super()._add(peer, source)
        sent = self.sent[source] if self._keep else None
        media = Media(self._pacer, self._pace, self._clips[source], self._tracks[source], self._delays.get(source, 0.0), sent)
        PacedSender.adopt(self._lines[source].sender, media)
