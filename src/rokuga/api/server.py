"""Puts the API together and serves it: the envelope's endpoint in front, health, metrics and media behind path prefixes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rokuga.api.actions import Recording
from rokuga.api.endpoint import Endpoint
from rokuga.api.limits import RATE
from rokuga.api.media import Media, media_key
from rokuga.api.metrics import Metrics
from rokuga.api.ports import Probe, Ready, Tasks, always_ready
from rokuga.api.protocol import HEADER_BYTES, TimedProtocol
from rokuga.api.rooms import Rooms
from rokuga.config import Config, Server
from rokuga.folders import DataFolder

PAGES = ("/healthz", "/readyz", "/metrics")
MEDIA = "/media/"
READY_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 7
"""for requests under way at the end: one more than any request takes"""
BACKLOG = 1024

logger = structlog.get_logger(__name__)


def is_page(method: str, path: str) -> bool:
    """Whether a request is for what is served beside the API."""
    return (method in ("GET", "HEAD") and path in PAGES) or (method in ("GET", "HEAD", "OPTIONS") and path.startswith(MEDIA))


class Api:
    """The ASGI application."""

    def __init__(self, endpoint: Endpoint, pages: Starlette) -> None:
        self._endpoint = endpoint
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"unsupported ASGI scope {scope['type']}")
        await (self._pages if is_page(scope["method"], scope["path"]) else self._endpoint)(scope, receive, send)


def build_app(config: Config, data: DataFolder, tasks: Tasks, probe: Probe, ready: Ready = always_ready, rate: float = RATE) -> Api:
    """The application; ``rate`` is requests a second per API and SecretId. Raises ConfigError."""
    metrics = Metrics()
    rooms = Rooms(config.janus, tasks)
    actions = {**Recording(config, tasks, probe, rooms.taken).actions(), **rooms.actions()}
    endpoint = Endpoint(config, actions, metrics, rate)
    media = Media(data.store, media_key(config))

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        try:
            async with asyncio.timeout(READY_SECONDS):
                well = await ready()
        except TimeoutError:
            well = False
        return PlainTextResponse("ready" if well else "not ready", 200 if well else 503)

    async def metrics_page(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics_page),
        Route("/media/{token}/{bucket}/{key:path}", media.serve, methods=["GET", "HEAD", "OPTIONS"]),
    ]
    return Api(endpoint, Starlette(routes=routes))


def url_of(server: Server, port: int) -> str:
    """How clients reach an API that listens on ``port``."""
    if server.public_url:
        return server.public_url.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server.host, server.host)
    return f"{'https' if server.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server, started and ended by `listening` instead of by signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def wait_up(self, running: asyncio.Task[None]) -> None:
        """Until it listens. Raises what ended ``running``, if that came first."""
        up = asyncio.create_task(self.up.wait())
        await asyncio.wait({up, running}, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
            await running

    async def abort_rest(self) -> None:
        """Connections that did not close in their grace."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, TimedProtocol):
                connection.transport.abort()
        await asyncio.sleep(0)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(config: Config, app: Api) -> AsyncIterator[str]:
    """Serve ``app`` while inside; yields its URL. At the end requests under way are answered.

    Raises OSError if the address cannot be bound or the certificate cannot be read (ssl.SSLError if it is none).
    """
    server = config.server
    settings = uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=server.tls_cert or None,
        ssl_keyfile=server.tls_key or None,
    )
    settings.load()
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.create_server((server.host, server.port), family=family, backlog=BACKLOG)
    # Connections inherit it. Header and body of an answer are written one after the other: with Nagle's algorithm the body would wait
    # for the client's delayed acknowledgement, 40 ms. asyncio does this only for sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    uvicorn_server = _Server(settings)
    running = asyncio.create_task(uvicorn_server.serve(sockets=[listener]), name="http server")
    try:
        await uvicorn_server.wait_up(running)
        yield url_of(server, listener.getsockname()[1])
    finally:
        uvicorn_server.should_exit = True
        await running
        await uvicorn_server.abort_rest()


async def serve(
    config: Config,
    data: DataFolder,
    tasks: Tasks,
    probe: Probe,
    ready: Ready = always_ready,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the API until cancelled; ``on_ready`` gets its URL once it answers. Raises as `listening`."""
    app = build_app(config, data, tasks, probe, ready, config.server.requests_per_second)
    async with listening(config, app) as url:
        on_ready(url)
        await asyncio.Event().wait()
