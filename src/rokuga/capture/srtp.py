"""SRTP (RFC 3711) decrypted where it lies. pylibsrtp's own ``unprotect`` copies each packet into its memory first, and twice out of it."""

from collections.abc import Iterable

import pylibsrtp
from pylibsrtp._binding import ffi, lib

_size = ffi.new("int *")
"""in: of the packet, out: of what is left of it"""


def unprotect(session: pylibsrtp.Session, packets: Iterable[tuple[memoryview, int]]) -> list[tuple[bytes, int]]:
    """The RTP packets in SRTP packets, which are overwritten, each with what came with it.

    Those that are forged, damaged or repeated are left out.
    """
    context, size, found = session._srtp[0], _size, []
    for packet, arrival_ns in packets:
        size[0] = len(packet)
        if not lib.srtp_unprotect(context, ffi.from_buffer(packet), size):
            found.append((packet[: size[0]].tobytes(), arrival_ns))
    return found
