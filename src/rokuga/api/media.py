"""Serves the local disk store: ``/media/<expiry>.<hmac>/<Bucket>/<key>``.

The token stands in the path and covers the folder, so a playlist's bare segment names carry the same right as the playlist itself.
"""

import base64
import hmac
import re
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from rokuga import clock
from rokuga.config import Config
from rokuga.errors import ConfigError

CONTENT_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".mp4": "video/mp4", ".aac": "audio/aac"}
PLAYLIST_MAX = 64 * 1024 * 1024
"""bytes; 14 days in segments of 2 s have fewer"""
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}

_TOKEN = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def media_key(config: Config) -> bytes:
    """The key of media links: of the installation's own key, so the same on all machines and unknown to those who know an app's secrets.

    Raises ConfigError if there is none.
    """
    if not config.temporal.payload_key.get_secret_value():
        raise ConfigError(["temporal.payload_key: must be set, media links are signed with a key made from it"])
    return hmac.digest(config.temporal.payload_key.get_secret_value().encode(), b"rokuga media links", "sha256")


def media_url(base: str, key_material: bytes, bucket: str, key_prefix: str, expires: int) -> str:
    """The URL, ending in a slash, below which the files of one folder can be fetched by their names.

    ``base`` is how clients reach the API (``http://host:port``), ``key_prefix`` the folder in the bucket, without slashes at its ends
    (``prefix/<TaskId>``), ``expires`` seconds since the epoch.
    """
    return f"{base.rstrip('/')}/media/{_sign(key_material, bucket, key_prefix, expires)}/{quote(f'{bucket}/{key_prefix}')}/"


def _sign(key: bytes, bucket: str, folder: str, expires: int) -> str:
    digest = hmac.digest(key, f"{expires}\n{bucket}/{folder}".encode(), "sha256")
    return f"{expires}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def allowed(token: str, key_material: bytes, bucket: str, folder: str, now: float) -> bool:
    """Whether ``token`` gives a right to the files of ``folder`` at ``now`` (seconds since the epoch)."""
    match = _TOKEN.fullmatch(token)
    if match is None or now > (expires := int(match[1])):
        return False
    return hmac.compare_digest(token, _sign(key_material, bucket, folder, expires))


def content_type(name: str) -> str:
    """By the file name's end."""
    return CONTENT_TYPES.get(Path(name).suffix, "application/octet-stream")


class Media:
    """One store folder; `serve` answers the requests below ``/media/``."""

    def __init__(self, folder: Path, key_material: bytes) -> None:
        self._folder = folder
        self._key = key_material

    async def serve(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=CORS)
        token, bucket, key = (request.path_params[name] for name in ("token", "bucket", "key"))
        folder, _, name = key.rpartition("/")
        if not all(map(_is_name, [bucket, *key.split("/")])) or not allowed(token, self._key, bucket, folder, clock.utc_ns() / 1e9):
            return PlainTextResponse("This link is not valid, or no longer.", 403, headers=CORS)
        return await anyio.to_thread.run_sync(self._response, self._folder / bucket / folder / name)

    def _response(self, path: Path) -> Response:
        absent = PlainTextResponse("There is no such file.", 404, headers=CORS)
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._folder.resolve()) or not real.is_file():
                return absent
            kind = content_type(path.name)
            if path.suffix != ".m3u8":
                return FileResponse(real, media_type=kind, headers=CORS, stat_result=real.stat())
            # A growing playlist is replaced while it is read: its size must be that of the very bytes sent.
            with real.open("rb") as file:
                text = file.read(PLAYLIST_MAX)
        except OSError:
            return absent
        response = Response(text, headers={**CORS, "Cache-Control": "no-cache"})
        response.headers["content-type"] = kind
        return response


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and len(part.encode("utf-8", "replace")) <= 255 and not any(char in part for char in "\\\0")
