"""ICE, DTLS and SRTP of one subscription, from aiortc's parts, with sockets of our own (``udp``)."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import pylibsrtp
from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcicetransport import RTCIceCandidate, RTCIceParameters
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from rokuga.capture.datagrams import Datagrams
from rokuga.capture.rtp import is_rtcp
from rokuga.capture.sdp import Local, Offer
from rokuga.capture.srtp import unprotect
from rokuga.capture.udp import UdpPath, local_addresses
from rokuga.errors import RokugaError

EARLY_PACKETS = 512
"""Media that comes before our side of DTLS is done waits, at most this many packets."""

RtpHandler = Callable[[Sequence[tuple[bytes, int]]], None]
"""Called with decrypted RTP packets, each with its arrival (monotonic ns)."""
RtcpHandler = Callable[[bytes, int], None]
"""Called with a decrypted RTCP packet and its arrival (monotonic ns)."""


class TransportError(RokugaError):
    """No connection to the media server, or it ended."""


class MediaTransport:
    """Use: ``open`` (sockets and our half of the answer), ``connect``, then ``drain`` every tick; ``close``.

    ``lost`` is a future that gets a TransportError when the connection ends by itself.
    """

    def __init__(self, certificate: RTCCertificate, datagrams: Datagrams, on_rtp: RtpHandler, on_rtcp: RtcpHandler) -> None:
        self._datagrams = datagrams
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._connection = self._gatherer._connection
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [certificate])
        self._certificate = certificate
        self._paths: list[UdpPath] = []
        self._early: deque[tuple[bytearray, int]] = deque(maxlen=EARLY_PACKETS)
        self._ready = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.undecipherable = 0
        """packets that SRTP refused: forged, damaged or repeated"""
        self._ice.on("statechange", self._changed)
        self._dtls.on("statechange", self._changed)

    def open(self, offer: Offer) -> Local:
        """Bind a socket on each route to the server's candidates. Raises TransportError."""
        remote = [c.ip for c in _candidates(offer)]
        for address in local_addresses(remote):
            protocol = StunProtocol(self._connection)
            try:
                path = UdpPath(address, protocol, self._datagrams, self._encrypted)
            except OSError as error:
                raise TransportError(f"cannot bind to {address}: {error}") from None
            host, port = path.name
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=1,
                transport="udp",
                priority=candidate_priority(1, "host"),
                host=host,
                port=port,
                type="host",
            )
            self._paths.append(path)
            # What gathering would do, had aioice a way to be given sockets (and loopback, which it leaves out).
            self._connection._protocols.append(protocol)
            self._connection._local_candidates.append(protocol.local_candidate)
        self._connection._local_candidates_start = self._connection._local_candidates_end = True
        if not self._paths:
            raise TransportError(f"no route to the media server's candidates {remote}")
        fingerprint = next(f for f in self._certificate.getFingerprints() if f.algorithm == "sha-256")
        candidates = tuple(candidate_to_sdp(c) for c in self._gatherer.getLocalCandidates())
        parameters = self._gatherer.getLocalParameters()
        assert parameters.usernameFragment is not None
        assert parameters.password is not None
        return Local(
            ice_ufrag=parameters.usernameFragment,
            ice_pwd=parameters.password,
            fingerprint=(fingerprint.algorithm, fingerprint.value),
            candidates=candidates,
        )

    async def connect(self, offer: Offer, seconds: float = 15) -> None:
        """ICE, then DTLS; media flows to the handler from here on. Raises TransportError."""
        try:
            async with asyncio.timeout(seconds):
                for candidate in _candidates(offer):
                    await self._ice.addRemoteCandidate(candidate)
                await self._ice.addRemoteCandidate(None)
                self._connection.ice_controlling = offer.ice_lite
                await self._ice.start(RTCIceParameters(offer.ice_ufrag, offer.ice_pwd, offer.ice_lite))
                if self._ice.state != "completed":
                    raise TransportError("ICE failed")
                self._dtls._set_role("client")  # our answer says a=setup:active
                await self._dtls.start(RTCDtlsParameters([RTCDtlsFingerprint(*offer.fingerprint)]))
                if self._dtls.state != "connected":
                    raise TransportError("DTLS failed")
        except TimeoutError:
            raise TransportError(f"no connection within {seconds} s") from None
        self._ready = True
        for path in self._paths:
            path.batch()

    def drain(self) -> None:
        """Take in what has come since the last call; the first one begins with what came before the connection was ready."""
        if self._ready and self._early:
            self._encrypted([(memoryview(data), arrival_ns) for data, arrival_ns in self._early])
            self._early.clear()
        for path in self._paths:
            path.drain()

    def send_rtcp(self, data: bytes) -> None:
        """Protect and send one RTCP datagram; nothing happens before and after the connection."""
        pair = self._connection._nominated.get(1)
        if self._ready and pair is not None and not self.lost.done():
            pair.protocol.transport.sendto(self._dtls._tx_srtp.protect_rtcp(data), pair.remote_addr)

    async def close(self) -> None:
        """Say goodbye and free the sockets."""
        if not self.lost.done():
            self.lost.cancel()
        elif not self.lost.cancelled():
            self.lost.exception()  # whoever had to know has been told
        await self._dtls.stop()
        await self._ice.stop()
        for path in self._paths:
            path.close()
        self._early.clear()

    def _changed(self) -> None:
        if self.lost.done():
            return
        if self._dtls.state in ("closed", "failed") or self._ice.state in ("closed", "failed"):
            self.lost.set_exception(TransportError(f"ICE {self._ice.state}, DTLS {self._dtls.state}"))

    def _encrypted(self, packets: Sequence[tuple[memoryview, int]]) -> None:
        if not self._ready:
            self._early.extend((bytearray(data), arrival_ns) for data, arrival_ns in packets)
            return
        session = self._dtls._rx_srtp
        media = []
        for packet in packets:
            data, arrival_ns = packet
            if len(data) < 12:
                continue
            if not is_rtcp(data):
                media.append(packet)
                continue
            try:
                plain: bytes = session.unprotect_rtcp(bytes(data))
            except (pylibsrtp.Error, ValueError):
                self.undecipherable += 1
                continue
            self._on_rtcp(plain, arrival_ns)
        found = unprotect(session, media)
        self.undecipherable += len(media) - len(found)
        self._on_rtp(found)


def _candidates(offer: Offer) -> list[RTCIceCandidate]:
    """The server's UDP candidates for component 1 (RTCP is muxed)."""
    found = [candidate_from_sdp(c) for c in offer.candidates if len(c.split()) >= 8]
    return [c for c in found if c.component == 1 and c.protocol.lower() == "udp" and not c.ip.endswith(".local")]
