"""Object stores: where a request's Vendor, Region and Bucket lead, one put that is sure of itself, and Create's probe.

Retries are the caller's. An error carries the store's own code and message, never an exception's text: that holds URLs.
"""

import asyncio
import hashlib
import html
import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from rokuga.config import Store
from rokuga.control.model import StoreTarget
from rokuga.errors import StoreError

if TYPE_CHECKING:
    from obstore import Attributes

PROBE_SECONDS = 2.0
PUT_SECONDS = 15.0
PUT_BYTES_PER_SECOND = 32 * 1024
"""A put gives up after PUT_SECONDS and what its bytes take at this pace: slower links cannot carry a recording."""
CONTENT_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".mp4": "video/mp4",
    ".aac": "audio/aac",
}
_TRIES_AGAIN = {408, 425, 429}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def find_store(target: StoreTarget, stores: tuple[Store, ...]) -> Store:
    """The first entry for that vendor, region and bucket. Raises StoreError (refused) if there is none."""
    for store in stores:
        if store.vendor == target.vendor and store.region in ("*", target.region) and store.bucket in ("*", target.bucket):
            return store
    raise StoreError("NoSuchStore", f"no store is configured for vendor {target.vendor}, this region and bucket", refused=True)


def object_key(target: StoreTarget, task_id: str, name: str) -> str:
    """``<prefix…>/<TaskId>/<name>``: the key of a task's file."""
    return "/".join([*target.prefix, task_id, name])


class Destination:
    """One task's place in a store: ``put`` and ``delete`` by bare file names.

    ``address`` is the same for all destinations in one store: puts to it are limited together.
    """

    def __init__(self, target: StoreTarget, task_id: str, stores: tuple[Store, ...], data: Path) -> None:
        """Makes the client; nothing is sent. Raises StoreError (refused) if the target leads nowhere."""
        self._target = target
        self._task_id = task_id
        section = find_store(target, stores)
        if not _BUCKET.fullmatch(target.bucket) or ".." in target.bucket:
            raise StoreError("InvalidBucketName", "the specified bucket is not valid", refused=True)
        self._root: Path | None = None
        self._synced: set[Path] = set()
        """local folders to which the way from the root is known to be on the disk"""
        if section.endpoint == "file":
            self._root = data / "store" / target.bucket
            self.address = "file"
            with suppress(OSError):
                # Now or, where the disk refuses, at the first put that finds it willing.
                self._root.mkdir(parents=True, exist_ok=True)
            return
        endpoint = section.endpoint.replace("{bucket}", target.bucket).replace("{region}", target.region)
        self.address = endpoint
        try:
            # A proxy that is used for nothing: only so does the HTTP client not take one from environment variables.
            self._s3 = S3Store(
                target.bucket,
                endpoint=endpoint.rstrip("/"),
                access_key_id=target.access_key,
                secret_access_key=target.secret_key,
                region=target.region or "us-east-1",
                virtual_hosted_style_request=section.addressing == "virtual",
                disable_bulk_delete=True,
                disable_tagging=True,
                client_options={
                    "allow_http": endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=5),
                    "timeout": timedelta(hours=1),
                    "proxy_url": "http://127.0.0.1:1",
                    "proxy_excludes": "*,0.0.0.0/0,::/0",
                },
                retry_config={"max_retries": 0, "retry_timeout": timedelta(0)},
            )
        except (BaseError, ValueError) as error:
            raise StoreError("InvalidEndpoint", "the store's configured endpoint is not a valid URL", refused=True) from error

    def _store(self) -> LocalStore | S3Store:
        """Of a local disk anew each time, since that makes the folder: a disk that refuses now may not do so later. Raises OSError."""
        return self._s3 if self._root is None else LocalStore(prefix=self._root, mkdir=True)

    def key(self, name: str) -> str:
        return object_key(self._target, self._task_id, name)

    async def put(self, name: str, data: bytes, seconds: float | None = None) -> None:
        """Write one object and be sure that the store has it: by its ETag (MD5), else by its size; local: synced.

        Playlists are marked as not cacheable. Raises StoreError; one that is not ``refused`` may be tried again.
        """
        limit = PUT_SECONDS + len(data) / PUT_BYTES_PER_SECOND if seconds is None else seconds
        key = self.key(name)
        try:
            async with asyncio.timeout(limit):
                if self._root is not None:
                    await asyncio.to_thread(self._put_file, self._root, key, data)
                    return
                attributes: Attributes = {"Content-Type": CONTENT_TYPES.get(Path(name).suffix, "application/octet-stream")}
                if name.endswith(".m3u8"):
                    attributes["Cache-Control"] = "no-cache"
                result = await obstore.put_async(self._store(), key, data, attributes=attributes, use_multipart=False)
                tag = (result["e_tag"] or "").strip('"').lower()
                if tag != hashlib.md5(data, usedforsecurity=False).hexdigest():
                    # Encrypting stores answer another tag; the request was signed with the body's SHA-256 in any case.
                    size = (await obstore.head_async(self._store(), key))["size"]
                    if size != len(data):
                        raise StoreError("IncompleteBody", f"the store has {size} of {len(data)} bytes", refused=False)
        except TimeoutError:
            raise StoreError("RequestTimeout", f"the store did not answer within {limit:.0f} s", refused=False) from None
        except (BaseError, OSError, ValueError) as error:
            raise self._said(error) from None

    def _put_file(self, root: Path, key: str, data: bytes) -> None:
        """Into the local store, renamed into place and synced: blocking. Raises BaseError, OSError."""
        obstore.put(self._store(), key, data, use_multipart=False)
        path = root / key
        _sync(path)
        _sync(path.parent)
        if path.parent not in self._synced:
            for folder in path.parent.parents:
                if folder.is_relative_to(root):
                    _sync(folder)
            self._synced.add(path.parent)

    async def delete(self, name: str) -> None:
        """Delete one object. Raises StoreError."""
        try:
            async with asyncio.timeout(PUT_SECONDS):
                await obstore.delete_async(self._store(), self.key(name))
        except TimeoutError:
            raise StoreError("RequestTimeout", "the store did not answer", refused=False) from None
        except (BaseError, OSError, ValueError) as error:
            raise self._said(error) from None

    def _said(self, error: Exception) -> StoreError:
        """What the store said, from an exception's text, without secrets and addresses."""
        if self._root is not None:
            number = re.search(r"os error (\d+)", str(error))
            reason = os.strerror(int(number[1])) if number else "the file could not be written"
            return StoreError("DiskError", reason, refused=False)
        return said(str(error), (self._target.secret_key, self._target.access_key))


def said(text: str, secrets: tuple[str, ...] = ()) -> StoreError:
    """A StoreError from the text of an obstore exception: the store's <Code> and <Message>, or the HTTP status."""
    text = text.split("Debug source:")[0]
    code = re.search(r"<Code>\s*([\w.-]+)\s*</Code>", text)
    message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    status = re.search(r"status code: (\d{3})", text)
    number = int(status[1]) if status else 0
    refused = 300 <= number < 500 and number not in _TRIES_AGAIN
    clean = html.unescape(message[1]).strip() if message else ""
    for secret in filter(None, secrets):
        clean = clean.replace(secret, "***")
    clean = re.sub(r"https?://\S+", "***", clean)[:512]
    if code:
        return StoreError(code[1], clean or "the store gave no message", refused)
    if number:
        return StoreError(f"HTTP{number}", f"the store answered with HTTP status {number}", refused)
    return StoreError("NoAnswer", "the store could not be reached", refused=False)


async def probe(target: StoreTarget, task_id: str, stores: tuple[Store, ...], data: Path) -> None:
    """Create's check: a small real write below the task's own prefix, then delete it (a refused delete is no error).

    At most PROBE_SECONDS, no retries. Raises StoreError: ``refused`` when the store says no, not ``refused`` when it does not
    answer or fails itself.
    """
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            destination = Destination(target, task_id, stores, data)
            await destination.put(".probe", b"rokuga\n", PROBE_SECONDS)
            try:
                await destination.delete(".probe")
            except StoreError:
                pass
    except TimeoutError:
        raise StoreError("RequestTimeout", f"the store did not answer within {PROBE_SECONDS:.0f} s", refused=False) from None


def _sync(path: Path) -> None:
    """A file, or a folder's entries, are on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
