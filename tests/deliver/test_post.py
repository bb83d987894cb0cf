"""One try of one callback, against a real server on loopback."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from rokuga.config import App, Config
from rokuga.deliver.events import sign
from rokuga.deliver.post import Poster, PostOrder
from tests.control.receiver import Receiver


def config(url: str, key: str = "", ca: str = "") -> Config:
    app = App(
        sdk_app_id=1,
        secret_id="i",
        secret_key=SecretStr("k"),
        user_sig_key=SecretStr("u"),
        callback_url=url,
        callback_key=SecretStr(key),
        callback_ca=ca,
    )
    return Config(apps=(app,))


ORDER = PostOrder(1, "task-1", '{"EventType":301,"UserId":"録画"}')


async def test_taken_with_headers_and_the_very_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with Receiver() as receiver, Poster(config(receiver.url("/cb?token=t"), "key")) as poster:
        assert await poster.post(ORDER) == ""
    (got,) = receiver.got
    assert (got.path, got.raw) == ("/cb?token=t", ORDER.body.encode())
    assert got.headers["sign"] == sign("key", ORDER.body.encode())
    assert got.headers["sdkappid"] == "1"
    assert got.headers["content-type"] == "application/json"


async def test_no_key_no_sign() -> None:
    async with Receiver() as receiver, Poster(config(receiver.url("/"))) as poster:
        assert await poster.post(ORDER) == ""
    assert "sign" not in receiver.got[0].headers


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500])
async def test_only_200_counts(status: int) -> None:
    async with Receiver() as receiver, Poster(config(receiver.url("/"))) as poster:
        receiver.status["/"] = status
        assert await poster.post(ORDER) == f"HTTP {status}"


async def test_no_answer_and_nobody_there_are_failures_in_time() -> None:
    async with Receiver() as receiver:
        async with Poster(config(receiver.url("/")), seconds=0.2) as poster:
            receiver.status["/"] = 0
            assert await poster.post(ORDER) == "no answer within 0.2 s"
    async with Poster(config(receiver.url("/"))) as poster:
        assert "ConnectError" in await poster.post(ORDER)


async def test_an_app_without_url() -> None:
    async with Poster(config("")) as poster:
        assert await poster.post(ORDER) == "the app has no callback_url"
        assert await poster.post(PostOrder(2, "t", "{}")) == "the app has no callback_url"


async def test_tls_is_verified_by_the_apps_own_ca(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca, private = tmp_path / "ca.pem", tmp_path / "key.pem"
    ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, private)
    async with Receiver(context) as receiver:
        async with Poster(config(receiver.url("/"), ca=str(ca))) as poster:
            assert await poster.post(ORDER) == ""
        async with Poster(config(receiver.url("/"))) as poster:
            assert "CERTIFICATE_VERIFY_FAILED" in await poster.post(ORDER)
    assert len(receiver.got) == 1
