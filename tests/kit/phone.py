"""Makes the publishers of this process phones: they leave turning the picture to the receiver (TS 26.114 §7.4.5)."""

from collections.abc import Callable
from typing import Any

import pytest
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters

from rokuga.capture.rtp import is_rtcp

URI = "urn:3gpp:video-orientation"
NUMBER = 9


class Phones:
    """From now on aiortc offers the extension, and the last packet of the n-th picture carries ``says(n)``, unless that is None.

    For publishers with a single source, a camera; ``says`` is asked for n = 0, 1, 2 … of each.
    """

    def __init__(self, patch: pytest.MonkeyPatch, says: Callable[[int], int | None]) -> None:
        offered = [*HEADER_EXTENSIONS["video"], RTCRtpHeaderExtensionParameters(id=NUMBER, uri=URI)]
        patch.setitem(HEADER_EXTENSIONS, "video", offered)
        self._says = says
        self._send = RTCDtlsTransport._send_rtp
        self._sources: dict[int, tuple[bytes, int]] = {}
        """by transport: the SSRC of what it sends (not of the repetitions), and how many pictures that were"""
        patch.setattr(RTCDtlsTransport, "_send_rtp", lambda transport, data: self._send_turned(transport, data))

    async def _send_turned(self, transport: Any, data: bytes) -> None:
        if not is_rtcp(data):
            ssrc, number = self._sources.setdefault(id(transport), (data[8:12], 0))
            if data[8:12] == ssrc and data[1] & 0x80:
                self._sources[id(transport)] = ssrc, number + 1
                told = self._says(number)
                if told is not None:
                    data = _with_element(data, bytes((NUMBER << 4, told)))
        await self._send(transport, data)


def _with_element(data: bytes, element: bytes) -> bytes:
    """The packet with one more element in its header extension (RFC 8285 §4.2); it has no CSRC."""
    assert data[0] & 0x0F == 0
    block, payload = b"", data[12:]
    if data[0] & 0x10:
        assert data[12:14] == b"\xbe\xde"
        end = 16 + 4 * int.from_bytes(data[14:16], "big")
        block, payload = data[16:end], data[end:]
    block += element
    block += bytes(-len(block) % 4)
    return bytes((data[0] | 0x10,)) + data[1:12] + b"\xbe\xde" + (len(block) // 4).to_bytes(2, "big") + block + payload
