"""Whatever well-formed HTTP comes over a real connection is answered with the envelope; what is none, with that or not at all."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from rokuga.api.server import MEDIA, PAGES, build_app, listening
from rokuga.config import App, Config, Server, Temporal
from rokuga.folders import DataFolder

from .calls import APP, SECRET_ID, SECRET_KEY, TASK, USER_SIG_KEY
from .memory import MemoryBucket, MemoryTasks
from .wire import http, tc3

pytestmark = pytest.mark.live

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=40)
FRAMING = {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server in a thread of its own: hypothesis calls tests that do not wait."""
    app = App(sdk_app_id=APP, secret_id=SECRET_ID, secret_key=SecretStr(USER_SIG_KEY), user_sig_key=SecretStr(USER_SIG_KEY))
    config = Config(server=Server(port=0), temporal=Temporal(payload_key=SecretStr("a key")), apps=(app,))
    found: list[int] = []
    loop, up, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        built = build_app(config, DataFolder(tmp_path_factory.mktemp("data")), MemoryTasks(), MemoryBucket().probe, rate=1e9)
        async with listening(config, built) as url:
            found.append(int(url.rsplit(":", 1)[1]))
            up.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(60)
    yield found[0]
    loop.call_soon_threadsafe(end.set)
    thread.join()
    loop.close()


def exchange(port: int, sent: bytes) -> bytes:
    """All that answers ``sent`` and the end of it."""
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        received = bytearray()
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionError:
            pass  # closed by the server, which had seen enough
        return bytes(received)


def check(answer: bytes, head_only: bool = False) -> None:
    """One answer after the other, each with the envelope."""
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        if head == b"HTTP/1.1 100 Continue":
            answer = rest
            continue
        assert re.match(rb"HTTP/1\.1 (200|405) ", head), head
        assert b"\r\ncontent-type: application/json\r\n" in head.lower() + b"\r\n"
        if head_only:
            return
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        assert len(json.loads(rest[:length])["Response"]["RequestId"]) == 36
        answer = rest[length:]


@FUZZ
@given(
    method=st.one_of(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "TRACE"]), st.text(TOKEN, min_size=1, max_size=12)),
    target=VISIBLE.map("/{}".format).filter(lambda path: path.split("?")[0] not in PAGES and not path.startswith(MEDIA)),
    headers=st.dictionaries(st.text(TOKEN, min_size=1, max_size=10).filter(lambda name: name.lower() not in FRAMING), VISIBLE, max_size=4),
    body=st.binary(max_size=60),
)
def test_well_formed_requests(port: int, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
    answer = exchange(port, http(method, target, {"Host": "x", "Connection": "close", **headers}, body))
    assert answer
    check(answer, head_only=method == "HEAD")


@FUZZ
@given(
    sent=st.one_of(
        st.binary(max_size=200),
        st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=4)).map(
            # A right request, damaged at one place.
            lambda damage: (right := signed())[: damage[0]] + damage[1] + right[damage[0] + 1 :]
        ),
    )
)
def test_bytes_of_any_kind(port: int, sent: bytes) -> None:
    check(exchange(port, sent))


def signed() -> bytes:
    return tc3("127.0.0.1:1", "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK})


def test_the_undamaged_request(port: int) -> None:
    # Signed with another key: the one thing that is wrong with it.
    assert SECRET_KEY != USER_SIG_KEY
    assert b"AuthFailure.SignatureFailure" in exchange(port, signed())
