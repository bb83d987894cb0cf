"""Fetching images from a real server on this machine: what is taken, and what is refused from whom."""

import asyncio
import hashlib
import ipaddress
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rokuga.config import IMAGE_DENY, Config
from rokuga.node import images as module
from rokuga.node.images import AT_ONCE, MOST_REDIRECTS, Fetched, Network, denied, fetch_images, image_urls
from rokuga.still import MOST_BYTES, MOST_SIDE
from tests.kit.stills import bomb, jpg, png

pytestmark = pytest.mark.live

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
LOOPBACK_ALLOWED = tuple(network for network in IMAGE_DENY if not network.is_loopback)


def reply(body: bytes, status: str = "200 OK", kind: str = "image/png", length: int | None = None, location: str = "") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n"
        writer.write((head + (f"Location: {location}\r\n" if location else "") + "Connection: close\r\n\r\n").encode() + body)
        await writer.drain()

    return answer


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + png())
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def silent(writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + png())
    while True:
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(0.02)


class Server:
    """``asked``: path and Host of each request; ``busy`` and ``busiest``: connections at a time."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        self.busy = self.busiest = 0
        self.port = 0
        self.scheme = "http"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            path = head[0].split()[1]
            host = next(line.split(": ", 1)[1] for line in head if line.lower().startswith("host: "))
            self.asked.append((path, host))
            await self.answers.get(path, reply(b"", "404 Not Found"))(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.busy -= 1
            writer.close()


@asynccontextmanager
async def serving(host: str = "127.0.0.1", trust: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, host, 0, ssl=trust)
    server.port = listening.sockets[0].getsockname()[1]
    server.scheme = "https" if trust else "http"
    async with listening:
        yield server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as running:
        yield running


async def fetched(url: str, folder: Path, deny: tuple[Network, ...] = LOOPBACK_ALLOWED) -> Fetched:
    found = await fetch_images([url], folder, deny)
    assert list(found) == [url]
    return found[url]


async def refused(url: str, folder: Path, deny: tuple[Network, ...] = LOOPBACK_ALLOWED) -> str:
    found = await fetched(url, folder, deny)
    assert found.error is not None
    assert found.file == ""
    assert not folder.exists() or list(folder.iterdir()) == []
    return str(found.error)


# What a layout names


def test_the_urls_of_a_layout_each_once() -> None:
    layout: dict[str, Any] = {
        "BackgroundImageUrl": "a",
        "DefaultSubBackgroundImage": "b",
        "MixLayoutList": [{"SubBackgroundImage": "c"}, {"SubBackgroundImage": ""}, {}, {"SubBackgroundImage": "a"}],
        "WaterMarkList": [
            {"WaterMarkType": 0, "WaterMarkImage": {"WaterMarkUrl": "d"}},
            {"WaterMarkType": 1, "WaterMarkImage": None},
            {"WaterMarkType": 2},
        ],
    }
    assert image_urls(layout) == ["a", "b", "c", "d"]
    assert image_urls({}) == []
    assert image_urls({"MixLayoutList": None, "WaterMarkList": None}) == []


# What is taken


async def test_files_are_named_by_url_and_content(server: Server, tmp_path: Path) -> None:
    server.answers = {"/a.png": reply(png()), "/b.png?v=1": reply(jpg(), kind="text/plain")}
    urls = [server.url(path) for path in server.answers]
    folder = tmp_path / "images"
    found = await fetch_images([*urls, urls[0]], folder, LOOPBACK_ALLOWED)
    names = [hashlib.sha256(url.encode()).hexdigest() for url in urls]
    assert found == {urls[0]: Fetched(f"{names[0]}.png"), urls[1]: Fetched(f"{names[1]}.jpg")}
    assert sorted(path.name for path in folder.iterdir()) == sorted(one.file for one in found.values())
    assert (folder / found[urls[0]].file).read_bytes() == png()
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_what_is_there_is_not_fetched_again_and_does_not_change(server: Server, tmp_path: Path) -> None:
    server.answers = {"/a.png": reply(png())}
    first = await fetched(server.url("/a.png"), tmp_path)
    server.answers = {"/a.png": reply(jpg())}
    assert await fetched(server.url("/a.png"), tmp_path) == first
    assert len(server.asked) == 1
    assert (tmp_path / first.file).read_bytes() == png()


async def test_one_that_failed_is_tried_again_when_asked_again(server: Server, tmp_path: Path) -> None:
    assert "404" in await refused(server.url("/a.png"), tmp_path)
    server.answers = {"/a.png": reply(png())}
    assert (await fetched(server.url("/a.png"), tmp_path)).error is None


async def test_many_at_a_time_but_not_all(server: Server, tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        if server.busy == AT_ONCE:
            gate.set()
        await gate.wait()
        await reply(png())(writer)

    server.answers = {f"/{number}.png": wait for number in range(3 * AT_ONCE)}
    found = await fetch_images([server.url(path) for path in server.answers], tmp_path, LOOPBACK_ALLOWED)
    assert all(one.error is None for one in found.values())
    assert server.busiest == AT_ONCE


async def test_proxies_of_the_environment_are_not_asked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.answers = {"/a.png": reply(png())}
    assert (await fetched(server.url("/a.png"), tmp_path)).error is None


async def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    server.answers = {"/a.png": reply(png())}
    (tmp_path / "file").touch()
    found = await fetched(server.url("/a.png"), tmp_path / "file" / "images")
    assert "cannot be written" in str(found.error)


# What is refused for what it is


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(b"<html>"), "neither PNG nor JPEG"),
        (reply(b""), "neither PNG nor JPEG"),
        (reply(png()[:50]), "decoded"),
        (reply(png(), length=100_000), "RemoteProtocolError"),
        (reply(png((MOST_SIDE + 1, 1))), "pixels"),
        (reply(bomb(60_000, 60_000)), "pixels"),
        (reply(png() + bytes(MOST_BYTES)), "bytes"),
        (endless, "bytes"),
        (reply(b"no", "500 Oops"), "HTTP 500"),
        (reply(b"", "204 No Content"), "HTTP 204"),
        (reply(b"", "304 Not Modified"), "HTTP 304"),
        (reply(b"", "302 Found"), "HTTP 302"),
    ],
    ids=range(12),
)
async def test_refused_for_what_it_is(server: Server, tmp_path: Path, answer: Answer, why: str) -> None:
    server.answers = {"/a.png": answer}
    assert why in await refused(server.url("/a.png"), tmp_path)


@pytest.mark.parametrize("answer", [silent, dripping])
async def test_one_that_does_not_come(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(module, "SECONDS", 1.5)
    server.answers = {"/a.png": answer, "/b.png": reply(png())}
    found = await fetch_images([server.url("/a.png"), server.url("/b.png")], tmp_path, LOOPBACK_ALLOWED)
    assert "within 1.5 s" in str(found[server.url("/a.png")].error)
    assert found[server.url("/b.png")].error is None


async def test_nobody_is_there(server: Server, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "ConnectError" in await refused(f"http://127.0.0.1:{taken.getsockname()[1]}/a.png", tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.png",
        "http:///a.png",
        "http://",
        "",
        "a.png",
        "http://127.0.0.1:99999/a.png",
        "http://[::1/a.png",
    ],
)
async def test_what_is_no_address(tmp_path: Path, url: str) -> None:
    await refused(url, tmp_path)


@pytest.mark.parametrize("host", ["localhost", "[::ffff:127.0.0.1]", "user:word@127.0.0.1"])
async def test_the_server_hears_the_name(server: Server, tmp_path: Path, host: str) -> None:
    server.answers = {"/a.png": reply(png())}
    assert (await fetched(server.url("/a.png", host), tmp_path)).error is None
    assert server.asked == [("/a.png", f"{host.rpartition('@')[2]}:{server.port}")]


# Redirects


async def test_redirects_are_followed_to_a_number(server: Server, tmp_path: Path) -> None:
    for number in range(MOST_REDIRECTS + 1):
        server.answers[f"/{number}"] = reply(b"", "302 Found", location=f"/{number + 1}" if number % 2 else server.url(f"/{number + 1}"))
    server.answers[f"/{MOST_REDIRECTS + 1}"] = reply(png())
    assert (await fetched(server.url("/1"), tmp_path / "a")).error is None
    assert "redirects" in await refused(server.url("/0"), tmp_path / "b")
    assert len(server.asked) == 2 * (MOST_REDIRECTS + 1)


async def test_a_redirect_to_a_forbidden_address(server: Server, tmp_path: Path) -> None:
    """The first server stands at 127.0.0.1, the second at 127.0.0.2, which is forbidden."""
    async with serving("127.0.0.2") as other:
        other.answers = {"/a.png": reply(png())}
        server.answers = {"/a.png": reply(b"", "302 Found", location=other.url("/a.png", "127.0.0.2"))}
        deny = (ipaddress.ip_network("127.0.0.2/32"),)
        assert "127.0.0.2" in await refused(server.url("/a.png"), tmp_path / "a", deny)
        assert other.asked == []
        assert (await fetched(server.url("/a.png"), tmp_path / "b")).error is None


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://[", "http://127.0.0.1:99999/b.png"])
async def test_a_redirect_to_no_address(server: Server, tmp_path: Path, location: str) -> None:
    server.answers = {"/a.png": reply(b"", "302 Found", location=location)}
    await refused(server.url("/a.png"), tmp_path)
    assert len(server.asked) == 1


# Addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::]"])
async def test_this_machine_is_refused_by_default(server: Server, tmp_path: Path, host: str) -> None:
    server.answers = {"/a.png": reply(png())}
    assert "forbids" in await refused(server.url("/a.png", host), tmp_path, Config().recorder.image_deny)
    assert server.asked == []


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("0.0.0.0", True),
        ("169.254.169.254", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("100.100.100.200", True),
        ("::", True),
        ("::1", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("ff02::1", True),
        ("fd00:ec2::254", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:169.254.169.254", True),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("172.16.0.1", False),
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("fd00::1", False),
        ("2606:4700::1111", False),
    ],
)
def test_forbidden_by_default(address: str, forbidden: bool) -> None:
    assert denied(ipaddress.ip_address(address), Config().recorder.image_deny) == forbidden


async def test_the_address_that_was_judged_is_the_one_connected_to(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to an allowed address when it is judged, and to a forbidden one when it is asked for again."""
    answers = iter(["127.0.0.1", "127.0.0.2"])
    real = socket.getaddrinfo

    def resolve(host: str | bytes | None, *args: Any, **options: Any) -> Any:
        return real(next(answers) if host in ("moving.test", b"moving.test") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server.answers = {"/a.png": reply(png())}
    deny = (ipaddress.ip_network("127.0.0.2/32"),)
    assert (await fetched(server.url("/a.png", "moving.test"), tmp_path, deny)).error is None
    assert server.asked == [("/a.png", f"moving.test:{server.port}")]
    assert "forbids" in str((await fetched(server.url("/b.png", "moving.test"), tmp_path, deny)).error)


async def test_of_several_addresses_those_that_are_allowed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolve(host: str | bytes | None, *args: Any, **options: Any) -> Any:
        if host != "several.test":
            return real(host, *args, **options)
        return [entry for address in ("127.0.0.3", "127.0.0.2", "127.0.0.1") for entry in real(address, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server.answers = {"/a.png": reply(png())}
    # At .3 nobody may be asked, at .2 nobody listens.
    deny = (ipaddress.ip_network("127.0.0.3/32"),)
    assert (await fetched(server.url("/a.png", "several.test"), tmp_path, deny)).error is None


async def test_a_name_that_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert "gaierror" in await refused("http://nowhere.test/a.png", tmp_path)


# TLS


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of that name, and the file of the authority to trust: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "authority.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = folder / "key.pem"
    pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, pem)
    return context, path


@pytest.mark.parametrize(("name", "trusted"), [("localhost", True), ("elsewhere.test", False)])
async def test_the_certificate_is_that_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool) -> None:
    context, authority = certified(tmp_path, name)
    names: list[str | None] = []
    context.sni_callback = lambda _, asked, __: names.append(asked)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    async with serving(trust=context) as server:
        server.answers = {"/a.png": reply(png())}
        found = await fetched(server.url("/a.png", "localhost"), tmp_path / "images")
    assert (found.error is None) == trusted
    assert names == ["localhost"]
    assert [host for _, host in server.asked] == [f"localhost:{server.port}"] * trusted
