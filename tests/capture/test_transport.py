"""A media transport whose peer does not answer."""

import socket

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
