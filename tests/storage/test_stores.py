"""Destinations: local disk, a real S3 server in both addressings, and stores that refuse or say nothing."""

import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import obstore
import pytest
import pytest_asyncio
from obstore.store import S3Store

from rokuga.config import Store
from rokuga.control.model import StoreTarget
from rokuga.errors import StoreError
from rokuga.storage.stores import Destination, find_store, object_key, probe, said
from tests.kit.seaweed import Seaweed, free_ports

TARGET = StoreTarget(0, "ap-tokyo", "recordings", "AKIDkey", "very-secret", ["calls", "2026"])
FILE = (Store(endpoint="file"),)

FORBIDDEN = """The operation lacked the necessary privileges to complete for path x/y: Error performing PUT http://host/b/x in 1ms - \
Server returned non-2xx status code: 403 Forbidden: <?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SignatureDoesNotMatch</Code><Message>Not signed &amp; sealed by AKIDkey, see http://help/x?very-secret</Message>\
<Resource>/b/x</Resource></Error>

Debug source: <Code>Other</Code> AKIDkey very-secret"""


def test_the_stores_own_words_without_secrets_and_addresses() -> None:
    error = said(FORBIDDEN, ("very-secret", "AKIDkey"))
    assert (error.code, error.message, error.refused) == ("SignatureDoesNotMatch", "Not signed & sealed by ***, see ***", True)


@pytest.mark.parametrize(
    ("status", "code", "refused"),
    [("403 Forbidden", "HTTP403", True), ("404 Not Found", "HTTP404", True), ("429 Slow", "HTTP429", False), ("503 No", "HTTP503", False)],
)
def test_a_status_without_words(status: str, code: str, refused: bool) -> None:
    error = said(f"Generic S3 error: Error performing PUT http://h/ - Server returned non-2xx status code: {status}: ")
    assert (error.code, error.refused) == (code, refused)


def test_no_answer_is_no_refusal() -> None:
    error = said("Generic S3 error: Error performing PUT http://127.0.0.1:1/b in 1ms - HTTP error: error sending request")
    assert not error.refused
    assert "127.0.0.1" not in str(error)


def test_the_first_matching_store_counts() -> None:
    stores = (Store(bucket="other"), Store(region="ap-osaka", endpoint="https://o"), Store(endpoint="https://all"), Store(endpoint="no"))
    assert find_store(TARGET, stores).endpoint == "https://all"
    with pytest.raises(StoreError, match="NoSuchStore"):
        find_store(replace(TARGET, vendor=9), stores)


def test_keys() -> None:
    assert object_key(TARGET, "task", "a.ts") == "calls/2026/task/a.ts"
    assert object_key(replace(TARGET, prefix=[]), "task", "a.ts") == "task/a.ts"


async def test_local_disk(tmp_path: Path) -> None:
    place = Destination(TARGET, "task", FILE, tmp_path)
    await place.put("a.ts", b"one")
    await place.put("a.ts", b"two")
    assert (tmp_path / "store/recordings/calls/2026/task/a.ts").read_bytes() == b"two"
    await probe(TARGET, "task", FILE, tmp_path)
    assert [p.name for p in (tmp_path / "store").rglob("*") if p.is_file()] == ["a.ts"]


@pytest.mark.parametrize("bucket", ["../evil", "a/b", "", "..", ".hidden"])
async def test_a_bucket_cannot_lead_out_of_the_folder(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(StoreError, match="InvalidBucketName") as caught:
        await probe(replace(TARGET, bucket=bucket), "task", FILE, tmp_path)
    assert caught.value.refused


async def test_a_disk_that_refuses_is_named_without_its_path(tmp_path: Path) -> None:
    place = Destination(TARGET, "task", FILE, tmp_path)
    (tmp_path / "store/recordings/calls").write_text("in the way")
    with pytest.raises(StoreError) as caught:
        await place.put("a.ts", b"one")
    assert caught.value.code == "DiskError"
    assert not caught.value.refused
    assert str(tmp_path) not in caught.value.message


async def test_a_disk_that_refuses_the_buckets_folder_may_take_it_later(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    place = Destination(TARGET, "task", FILE, tmp_path)
    with pytest.raises(StoreError, match="DiskError") as caught:
        await place.put("a.ts", b"one")
    assert not caught.value.refused
    (tmp_path / "store").unlink()
    await place.put("a.ts", b"one")
    assert (tmp_path / "store/recordings/calls/2026/task/a.ts").read_bytes() == b"one"


async def test_a_store_that_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stores = (Store(endpoint=f"http://127.0.0.1:{listening.getsockname()[1]}", addressing="path"),)
        began = time.monotonic()
        with pytest.raises(StoreError) as caught:
            await probe(TARGET, "task", stores, tmp_path)
    assert not caught.value.refused
    assert time.monotonic() - began < 3.5


async def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    stores = (Store(endpoint=f"http://127.0.0.1:{free_ports(1)[0]}", addressing="path"),)
    with pytest.raises(StoreError) as caught:
        await probe(TARGET, "task", stores, tmp_path)
    assert not caught.value.refused


@pytest_asyncio.fixture(params=[False, True], ids=["path", "virtual"], scope="module", loop_scope="module")
async def seaweed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seaweed]:
    async with Seaweed(tmp_path_factory.mktemp("seaweed"), virtual=request.param) as store:
        yield store


def target_of(store: Seaweed) -> StoreTarget:
    return StoreTarget(0, "ap-tokyo", store.bucket, store.access_key, store.secret_key, ["calls"])


@pytest.mark.live
@pytest.mark.asyncio(loop_scope="module")
async def test_s3_keeps_bytes_and_headers(seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    place = Destination(target_of(seaweed), "task", (seaweed.section,), tmp_path)
    data = bytes(range(256)) * 4096 * 7
    await place.put("a b+c.ts", data)
    await place.put("a.m3u8", b"#EXTM3U")
    monkeypatch.delenv("HTTP_PROXY")
    url = seaweed.endpoint.replace("{bucket}", seaweed.bucket)
    virtual = url != seaweed.endpoint
    reader = S3Store(
        seaweed.bucket,
        endpoint=url,
        access_key_id=seaweed.access_key,
        secret_access_key=seaweed.secret_key,
        region="us-east-1",
        virtual_hosted_style_request=virtual,
        client_options={"allow_http": True},
    )
    segment = await obstore.get_async(reader, "calls/task/a b+c.ts")
    assert bytes(await segment.bytes_async()) == data
    assert segment.attributes["Content-Type"] == "video/mp2t"
    playlist = await obstore.get_async(reader, "calls/task/a.m3u8")
    assert playlist.attributes["Content-Type"] == "application/vnd.apple.mpegurl"
    assert playlist.attributes["Cache-Control"] == "no-cache"


@pytest.mark.live
@pytest.mark.asyncio(loop_scope="module")
async def test_the_probe_leaves_nothing(seaweed: Seaweed, tmp_path: Path) -> None:
    await probe(target_of(seaweed), "probed", (seaweed.section,), tmp_path)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{seaweed.filer_url}/buckets/{seaweed.bucket}/calls/probed/.probe")
    assert answer.status_code == 404


@pytest.mark.live
@pytest.mark.asyncio(loop_scope="module")
async def test_wrong_keys_and_buckets_are_refused_in_the_stores_words(seaweed: Seaweed, tmp_path: Path) -> None:
    right = target_of(seaweed)
    wrong = {
        "SignatureDoesNotMatch": replace(right, secret_key="wrong-secret"),
        "InvalidAccessKeyId": replace(right, access_key="nobody"),
    }
    if "{bucket}" not in seaweed.endpoint:
        wrong["AccessDenied"] = replace(right, bucket="somebody-elses")
    for code, target in wrong.items():
        with pytest.raises(StoreError) as caught:
            await probe(target, "task", (seaweed.section,), tmp_path)
        assert (caught.value.code, caught.value.refused) == (code, True)
        assert caught.value.message
        assert not any(word in str(caught.value) for word in ("wrong-secret", "nobody", "127.0.0.1", "http"))
