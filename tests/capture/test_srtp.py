"""SRTP decrypted in place, against pylibsrtp's own way."""

import os
import struct

import pylibsrtp
import pytest

from rokuga.capture.srtp import unprotect

PROFILES = {
    "AES-CM": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AES-GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
}


def sessions(profile: str) -> tuple[pylibsrtp.Session, pylibsrtp.Session, pylibsrtp.Session]:
    """One that protects, two that unprotect."""
    number, length = PROFILES[profile]
    key = os.urandom(length)
    kinds = (pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    out, ours, theirs = (pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=number)) for kind in kinds)
    return out, ours, theirs


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_comes_out(profile: str) -> None:
    out, ours, theirs = sessions(profile)
    for sequence, length in enumerate((0, 1, 160, 1200)):
        plain = struct.pack("!BBHII", 0x80, 107, sequence, 3000, 9) + os.urandom(length)
        packet = out.protect(plain)
        assert unprotect(ours, memoryview(bytearray(packet))) == theirs.unprotect(packet) == plain


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_forged_or_repeated_is_refused(profile: str) -> None:
    out, ours, _ = sessions(profile)
    packet = out.protect(struct.pack("!BBHII", 0x80, 107, 1, 3000, 9) + b"payload")
    forged = bytearray(packet)
    forged[-1] ^= 1
    with pytest.raises(pylibsrtp.Error, match="authentication"):
        unprotect(ours, memoryview(forged))
    unprotect(ours, memoryview(bytearray(packet)))
    with pytest.raises(pylibsrtp.Error, match="replay"):
        unprotect(ours, memoryview(bytearray(packet)))
    with pytest.raises(pylibsrtp.Error):
        unprotect(ours, memoryview(bytearray(b"\x80" * 12)))
