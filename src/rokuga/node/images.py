"""Fetches the images that a layout names, before they are needed: what may be asked, from whom, and how much.

A customer's request says where this machine sends requests to, so an address is judged after the name was resolved, and it is that very
address that is connected to: a name that means something else a moment later (DNS rebinding) gains nothing. Redirects are judged anew.
"""

import asyncio
import hashlib
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from rokuga.errors import ImageError
from rokuga.still import MOST_BYTES, decoded

SECONDS = 5.0
"""for one image, redirects included"""
CONNECT_SECONDS = 2.0
"""after which the next address of the name is tried"""
AT_ONCE = 8
MOST_REDIRECTS = 3
SUFFIXES = ("png", "jpg")
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """``file``: its name in the folder, "" if the image could not be had; then ``error`` says why."""

    file: str = ""
    error: ImageError | None = None


def image_urls(layout: Mapping[str, Any]) -> list[str]:
    """Of a request's MixLayoutParams: background, placeholders and watermarks, each URL once."""
    return list(dict.fromkeys(url for url in _named(layout) if url))


def _named(layout: Mapping[str, Any]) -> Iterator[str]:
    yield layout.get("BackgroundImageUrl") or ""
    yield layout.get("DefaultSubBackgroundImage") or ""
    for cell in layout.get("MixLayoutList") or ():
        yield cell.get("SubBackgroundImage") or ""
    for mark in layout.get("WaterMarkList") or ():
        yield (mark.get("WaterMarkImage") or {}).get("WaterMarkUrl") or ""


async def fetch_images(urls: Sequence[str], folder: Path, deny: Sequence[Network]) -> dict[str, Fetched]:
    """Bring each into ``folder``, AT_ONCE at a time, and not again if it is there: a recording's images never change under it.

    No address in ``deny`` is asked. Takes up to SECONDS for every AT_ONCE images.
    """
    wanted = list(dict.fromkeys(urls))
    # Threads of its own: a name server that does not answer must not hold up what else the node does in threads.
    lookups = ThreadPoolExecutor(AT_ONCE, "image-lookup")
    try:
        fetcher = _Fetcher(folder, deny, lookups)
        found = await asyncio.gather(*(fetcher.fetch(url) for url in wanted))
    finally:
        lookups.shutdown(wait=False, cancel_futures=True)
    return dict(zip(wanted, found, strict=True))


class _Fetcher:
    def __init__(self, folder: Path, deny: Sequence[Network], lookups: Executor) -> None:
        self._folder = folder
        self._deny = deny
        self._lookups = lookups
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._trust = ssl.create_default_context()

    async def fetch(self, url: str) -> Fetched:
        async with self._turn:
            try:
                name = await asyncio.to_thread(_there, self._folder, url)
                return Fetched(name or await asyncio.to_thread(_save, self._folder, url, await self._body(url)))
            except ImageError as error:
                # Only the host: the rest of a URL may carry a token.
                _log.warning("image not taken", host=_host(url), why=str(error))
                return Fetched(error=error)

    async def _body(self, url: str) -> bytes:
        """Raises ImageError."""
        try:
            # httpx bounds each step; the whole has one bound.
            async with asyncio.timeout(SECONDS):
                where = httpx.URL(url)
                for _ in range(MOST_REDIRECTS + 1):
                    got = await self._ask(where)
                    if isinstance(got, bytes):
                        return got
                    where = got
        except TimeoutError:
            raise ImageError(f"did not come within {SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # ValueError: a host name that cannot be encoded.
            raise ImageError(f"{type(error).__name__}: {error}") from None
        raise ImageError(f"is behind more than {MOST_REDIRECTS} redirects")

    async def _ask(self, url: httpx.URL) -> bytes | httpx.URL:
        """The body, or where it has gone to. Raises ImageError, OSError, ValueError and what httpx raises."""
        if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:
            raise ImageError("is not at an http:// or https:// address")
        failed: Exception | None = None
        limits = httpx.Timeout(SECONDS, connect=CONNECT_SECONDS)
        for address in await self._allowed(url):
            # A client of its own: a connection to this address that was opened for another name must not be used again.
            async with httpx.AsyncClient(trust_env=False, verify=self._trust, timeout=limits) as client:
                asked = client.build_request(
                    "GET",
                    url.copy_with(host=str(address)),
                    headers={"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "rokuga"},
                    extensions={"sni_hostname": url.host},
                )
                try:
                    answer = await client.send(asked, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    failed = error
                    continue
                try:
                    return await _read(answer, url)
                finally:
                    await answer.aclose()
        raise failed or ImageError("has a name without an address")

    async def _allowed(self, url: httpx.URL) -> list[Address]:
        """The addresses of the URL's host that may be connected to, best first. Raises ImageError if there are others only."""
        port = url.port or (443 if url.scheme == "https" else 80)
        lookup = partial(socket.getaddrinfo, url.host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._lookups, lookup)
        addresses = list(dict.fromkeys(ip_address(sockaddr[0]) for *_, sockaddr in found))
        allowed = [address for address in addresses if not denied(address, self._deny)]
        if addresses and not allowed:
            raise ImageError(f"is at {addresses[0]}, which the configuration forbids (recorder.image_deny)")
        return allowed


async def _read(answer: httpx.Response, url: httpx.URL) -> bytes | httpx.URL:
    if answer.status_code in _REDIRECTS and "Location" in answer.headers:
        return url.join(answer.headers["Location"])
    if answer.status_code != 200:
        raise ImageError(f"HTTP {answer.status_code}")
    data = bytearray()
    async for part in answer.aiter_raw():
        data += part
        if len(data) > MOST_BYTES:
            raise ImageError(f"has more than {MOST_BYTES} bytes")
    return bytes(data)


def denied(address: Address, deny: Sequence[Network]) -> bool:
    """An IPv4 address in IPv6 clothes (RFC 4291 §2.5.5.2) is the IPv4 address that packets go to."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in deny)


def _stem(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _there(folder: Path, url: str) -> str:
    names = (f"{_stem(url)}.{suffix}" for suffix in SUFFIXES)
    return next((name for name in names if (folder / name).is_file()), "")


def _save(folder: Path, url: str, data: bytes) -> str:
    """Write the file, whole (mode 0600), if it can be decoded. Raises ImageError."""
    name = f"{_stem(url)}.{decoded(data).kind}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, fresh = tempfile.mkstemp(dir=folder, prefix=f"{name}.")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            Path(fresh).replace(folder / name)
        except OSError:
            Path(fresh).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ImageError(f"cannot be written: {error.strerror}") from None
    return name


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
