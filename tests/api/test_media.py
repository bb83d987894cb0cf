"""Media links over HTTP: who gets what."""

import time
from pathlib import Path

import httpx
import pytest

from rokuga.api.media import allowed, media_key, media_url

from .conftest import Running

NAME = "1400000001_cm9vbQ..__UserId_s_YWxp+2U.__UserId_e_main_video"
PREFIX = "p1/task-1"


@pytest.fixture
def files(api: Running) -> Path:
    folder = api.data.store / "bucket-1" / PREFIX
    folder.mkdir(parents=True)
    (folder / f"{NAME}.m3u8").write_text("#EXTM3U\n")
    (folder / f"{NAME}_1.ts").write_bytes(bytes(range(256)) * 1000)
    (folder / "x.mp4").write_bytes(b"mp4")
    (folder / "x.aac").write_bytes(b"aac")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "x.ts").write_bytes(b"deeper")
    (api.data.root / "secret.ts").write_text("secret")
    (folder.parent / "secret.ts").write_text("secret")
    (folder / "link.ts").symlink_to(api.data.root / "secret.ts")
    return folder


def link(api: Running, expires: float = 60, prefix: str = PREFIX, bucket: str = "bucket-1") -> str:
    return media_url(api.url, media_key(api.config), bucket, prefix, int(time.time() + expires))


async def get(url: str, method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as http:
        return await http.request(method, url, headers=headers)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(f"{NAME}.m3u8", "application/vnd.apple.mpegurl"), (f"{NAME}_1.ts", "video/mp2t"), ("x.mp4", "video/mp4"), ("x.aac", "audio/aac")],
)
async def test_whole_files(api: Running, files: Path, name: str, kind: str) -> None:
    answer = await get(link(api) + name)
    assert (answer.status_code, answer.content) == (200, (files / name).read_bytes())
    assert answer.headers["content-type"] == kind
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (answer.headers.get("cache-control") == "no-cache") == name.endswith(".m3u8")
    head = await get(link(api) + name, "HEAD")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(answer.content)), b"")


async def test_a_playlists_bare_names_carry_the_right(api: Running, files: Path) -> None:
    playlist = httpx.URL(link(api) + f"{NAME}.m3u8")
    assert (await get(str(playlist.join(f"{NAME}_1.ts")))).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "status", "first", "size"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=5-14", 206, 5, 10),
        ("bytes=255990-", 206, 255990, 10),
        ("bytes=-6", 206, 255994, 6),
        ("bytes=255999-400000", 206, 255999, 1),
        ("bytes=256000-", 416, 0, 0),
        ("bytes=9-5", 416, 0, 0),
    ],
)
async def test_ranges(api: Running, files: Path, wanted: str, status: int, first: int, size: int) -> None:
    answer = await get(link(api) + f"{NAME}_1.ts", Range=wanted)
    assert answer.status_code in ((416, 400) if status == 416 else (206,))
    if status == 206:
        assert answer.content == (files / f"{NAME}_1.ts").read_bytes()[first : first + size]
        assert answer.headers["content-range"] == f"bytes {first}-{first + size - 1}/256000"


async def test_cors_preflight(api: Running, files: Path) -> None:
    answer = await get(link(api) + "x.mp4", "OPTIONS", Origin="http://console", **{"Access-Control-Request-Headers": "range"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "Range"


async def test_nothing_without_a_valid_token(api: Running, files: Path) -> None:
    right = link(api)
    token = right.split("/media/")[1].split("/")[0]
    expiry, proof = token.split(".")
    assert (await get(right + "x.mp4")).status_code == 200
    for wrong in (
        right.replace(token, f"{int(expiry) + 1}.{proof}"),
        right.replace(token, f"{expiry}.{proof[:-1]}{'A' if proof[-1] != 'A' else 'B'}"),
        right.replace(token, f"{expiry}."),
        right.replace(token, "x"),
        link(api, expires=-5),
        link(api, prefix="p1"),
        link(api, prefix="p1/task-2").replace("task-2", "task-1"),
        link(api, bucket="bucket-2").replace("bucket-2", "bucket-1"),
        media_url(api.url, b"another key", "bucket-1", PREFIX, int(time.time()) + 60),
    ):
        if wrong.endswith("/p1/"):
            wrong += "task-1/"
        answer = await get(wrong + "x.mp4")
        assert (answer.status_code, answer.content[:4]) == (403, b"This"), wrong


@pytest.mark.parametrize(
    "tail",
    [
        "../secret.ts",
        "%2e%2e/secret.ts",
        "..%2fsecret.ts",
        "../../../../secret.ts",
        "..%2f..%2f..%2f..%2fsecret.ts",
        "..%5csecret.ts",
        "deeper/x.ts",
        "deeper/../x.mp4",
        "./x.mp4",
        "/x.mp4",
        "x.mp4%00",
        "link.ts",
        "absent.ts",
        "deeper",
        "",
    ],
)
async def test_no_way_out_of_the_folder(api: Running, files: Path, tail: str) -> None:
    base = httpx.URL(link(api))
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as http:
        # As written: httpx itself would take the dots out.
        answer = await http.get(base, extensions={"target": base.raw_path + tail.encode()})
    assert answer.status_code in (200, 403, 404)
    assert b"secret" not in answer.content
    assert b"deeper" not in answer.content
    assert answer.status_code != 200 or answer.headers["content-type"] == "application/json"


def test_a_token_ends_with_its_expiry() -> None:
    url = media_url("http://h/", b"key", "b", "p/t", 1000)
    token = url.split("/")[4]
    assert url == f"http://h/media/{token}/b/p/t/"
    assert allowed(token, b"key", "b", "p/t", 1000)
    assert not allowed(token, b"key", "b", "p/t", 1000.5)
    assert not allowed(token, b"other", "b", "p/t", 1000)
