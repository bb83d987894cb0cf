"""Everything that Temporal stores of ours is encrypted: payloads, failures, heartbeat details.

AES-GCM with 256 bits and a fresh 96-bit nonce a payload (NIST SP 800-38D §8.2.2); a payload is nonce + ciphertext + tag.
What stays readable: workflow, activity and queue names, workflow ids, times, an error's type.

Large ones are compressed first: Temporal refuses what is over 2 MB, and what a long task carries over (its files, the callbacks of a
receiver that has been away for days) consists of names that are much alike.
"""

import base64
import binascii
import dataclasses
import functools
import logging
import os
import zlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from rokuga.config import Temporal
from rokuga.errors import ConfigError, RokugaError

ENCODING = b"binary/rokuga-aes-gcm"
KEY_BYTES = 32
_NONCE_BYTES = 12
COMPRESS_BYTES = 16 * 1024
"""From this size on a payload is compressed."""
_ZLIB = b"zlib"


class PayloadError(RokugaError):
    """A payload is not what we wrote: another key, or damaged."""


def payload_key(text: str) -> bytes:
    """The 32 bytes of ``[temporal] payload_key``. Raises ConfigError."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError([f"temporal.payload_key: {KEY_BYTES} bytes as base64 are needed (openssl rand -base64 {KEY_BYTES})"])
    return key


class AesGcm(PayloadCodec):
    """Encrypts each payload whole, its metadata included. ``key`` is 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._seal(p) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._open(p) if p.metadata.get("encoding") == ENCODING else p for p in payloads]

    def _seal(self, payload: Payload) -> Payload:
        nonce, plain, compression = os.urandom(_NONCE_BYTES), payload.SerializeToString(), b""
        if len(plain) >= COMPRESS_BYTES:
            plain, compression = zlib.compress(plain, 1), _ZLIB
        metadata = {"encoding": ENCODING} | ({"compression": compression} if compression else {})
        return Payload(metadata=metadata, data=nonce + self._cipher.encrypt(nonce, plain, compression or None))

    def _open(self, payload: Payload) -> Payload:
        compression = payload.metadata.get("compression", b"")
        try:
            plain = self._cipher.decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], compression or None)
            if compression == _ZLIB:
                plain = zlib.decompress(plain)
        except (InvalidTag, ValueError, zlib.error):
            raise PayloadError("a stored payload does not open with temporal.payload_key: it must be the same on all machines") from None
        return Payload.FromString(plain)


def data_converter(key: bytes) -> DataConverter:
    """Temporal's JSON, encrypted; messages and stack traces of failures too."""
    return dataclasses.replace(
        DataConverter.default, payload_codec=AesGcm(key), failure_converter_class=DefaultFailureConverterWithEncodedAttributes
    )


@functools.cache
def _runtime() -> Runtime:
    """One a process. The SDK's core would write its warnings to stdout; they go to the process' log instead."""
    forwarding = LogForwardingConfig(logging.getLogger("temporalio.core"), append_target_to_name=False)
    logs = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=forwarding)
    return Runtime(telemetry=TelemetryConfig(logging=logs))


async def connect(config: Temporal, address: str) -> Client:
    """Connect to the Temporal at ``address`` (host:port). Raises ConfigError (key), RuntimeError (nobody answers there)."""
    converter = data_converter(payload_key(config.payload_key.get_secret_value()))
    return await Client.connect(address, namespace=config.namespace, data_converter=converter, runtime=_runtime())
