"""A media transport: a peer that does not answer, and one that sends what cannot be deciphered."""

import socket
import struct

import pylibsrtp
import pytest
from aiortc import RTCCertificate

from rokuga.capture.datagrams import Datagrams
from rokuga.capture.sdp import parse_offer
from rokuga.capture.transport import MediaTransport, TransportError
from tests.capture.test_sdp import OFFER


async def test_nobody_there_is_told_in_time_and_leaves_nothing_behind() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        text = OFFER.replace("192.0.2.2 22587", f"127.0.0.1 {silent.getsockname()[1]}")
        transport = MediaTransport(RTCCertificate.generateCertificate(), Datagrams(), lambda media: None, lambda data, at: None)
        local = transport.open(parse_offer(text))
        assert [c.split()[4] for c in local.candidates] == ["127.0.0.1"]
        with pytest.raises(TransportError, match="no connection"):
            await transport.connect(parse_offer(text), 0.3)
        transport.send_rtcp(b"\x80\xc9\0\1\0\0\0\1")  # nothing to send it to: no harm
        transport.drain()
        await transport.close()
        assert transport.lost.done()


async def test_an_offer_without_a_reachable_candidate_is_refused() -> None:
    transport = MediaTransport(RTCCertificate.generateCertificate(), Datagrams(), lambda media: None, lambda data, at: None)
    with pytest.raises(TransportError, match="no route"):
        transport.open(parse_offer(OFFER.replace("192.0.2.2 22587", "hidden.local 22587")))
    await transport.close()


async def test_what_is_forged_is_counted_and_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    key, profile = bytes(30), pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    kinds = pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND
    out, ours = (pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=profile)) for kind in kinds)
    rtp: list[tuple[bytes, int]] = []
    rtcp: list[tuple[bytes, int]] = []
    transport = MediaTransport(
        RTCCertificate.generateCertificate(), Datagrams(), rtp.extend, lambda data, arrival_ns: rtcp.append((data, arrival_ns))
    )
    media = [struct.pack("!BBHII", 0x80, 107, n, 3000, 9) + b"payload" for n in range(3)]
    report = struct.pack("!BBHI", 0x80, 201, 1, 9)
    first, second, third = (out.protect(packet) for packet in media)
    told = out.protect_rtcp(report)
    spoil = bytearray(told)
    spoil[-1] ^= 1
    monkeypatch.setattr(transport._dtls, "_rx_srtp", ours, raising=False)

    def came(*packets: bytes) -> list[tuple[memoryview, int]]:
        return [(memoryview(bytearray(packet)), number) for number, packet in enumerate(packets)]

    transport._encrypted(came(first))
    assert rtp == [], "what comes before DTLS is done waits"
    transport._ready = True
    transport.drain()
    transport._encrypted(came(first, b"\x80\xc9", bytes(spoil), second, told, b"\x80" * 12, third))
    transport.drain()
    assert rtp == [(media[0], 0), (media[1], 3), (media[2], 6)]
    assert rtcp == [(report, 4)]
    assert transport.undecipherable == 3
    await transport.close()
