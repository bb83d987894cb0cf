"""SRTP (RFC 3711) decrypted where it lies. pylibsrtp's own ``unprotect`` copies each packet into its memory first, and twice out of it."""

import pylibsrtp
from pylibsrtp._binding import ffi, lib

_size = ffi.new("int *")
"""in: of the packet, out: of what is left of it"""


def unprotect(session: pylibsrtp.Session, packet: memoryview) -> bytes:
    """The RTP packet in an SRTP packet, which is overwritten. Raises pylibsrtp.Error: forged, damaged or repeated."""
    _size[0] = len(packet)
    status = lib.srtp_unprotect(session._srtp[0], ffi.from_buffer(packet), _size)
    if status:
        raise pylibsrtp.Error(pylibsrtp.ERRORS[status])
    return packet[: _size[0]].tobytes()
