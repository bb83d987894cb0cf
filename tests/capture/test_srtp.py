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


def packets(*encrypted: bytes) -> list[tuple[memoryview, int]]:
    """As they arrive, numbered from 0 on."""
    return [(memoryview(bytearray(packet)), number) for number, packet in enumerate(encrypted)]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_comes_out(profile: str) -> None:
    out, ours, theirs = sessions(profile)
    plain = [struct.pack("!BBHII", 0x80, 107, n, 3000, 9) + os.urandom(length) for n, length in enumerate((0, 1, 160, 1200))]
    encrypted = [out.protect(packet) for packet in plain]
    assert unprotect(ours, packets(*encrypted)) == [(packet, number) for number, packet in enumerate(plain)]
    assert [theirs.unprotect(packet) for packet in encrypted] == plain


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_forged_or_repeated_is_left_out(profile: str) -> None:
    out, ours, _ = sessions(profile)
    plain = [struct.pack("!BBHII", 0x80, 107, n, 3000, 9) + b"payload" for n in range(3)]
    first, second, third = (out.protect(packet) for packet in plain)
    forged = bytearray(second)
    forged[-1] ^= 1
    came = packets(first, bytes(forged), first, b"\x80" * 12, second, third, second)
    assert unprotect(ours, came) == [(plain[0], 0), (plain[1], 4), (plain[2], 5)]
