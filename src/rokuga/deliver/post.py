"""One try of one callback: a short activity. URL and key are the app's configuration, never in Temporal."""

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import structlog
from temporalio import activity

from rokuga.config import App, Config
from rokuga.deliver.events import sign

TRY_SECONDS = 5.0
"""No answer within this is a failure (callback section of TRTC's guide)."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PostOrder:
    """Argument of the activity ``post``."""

    sdk_app_id: int
    task_id: str
    body: str


class Poster:
    """``async with``: sends bodies to the apps' receivers. Proxy variables of the environment are ignored, redirects are failures."""

    def __init__(self, config: Config, seconds: float = TRY_SECONDS) -> None:
        self._config = config
        self._seconds = seconds
        self._clients: dict[int, httpx.AsyncClient] = {}

    async def __aenter__(self) -> "Poster":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    @activity.defn(name="post")
    async def post(self, order: PostOrder) -> str:
        """Try once. Returns "" if the receiver took it (HTTP 200), else why not: a refusal is no failure of the activity."""
        app = self._config.app(order.sdk_app_id)
        if app is None or not app.callback_url:
            return "the app has no callback_url"
        raw = order.body.encode()
        headers = {"Content-Type": "application/json", "SdkAppId": str(order.sdk_app_id)}
        if key := app.callback_key.get_secret_value():
            headers["Sign"] = sign(key, raw)
        why = ""
        try:
            # httpx bounds each step; the whole try has one bound.
            async with asyncio.timeout(self._seconds):
                async with self._client(app).stream("POST", app.callback_url, content=raw, headers=headers) as answer:
                    if answer.status_code != 200:
                        why = f"HTTP {answer.status_code}"
        except TimeoutError:
            why = f"no answer within {self._seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            # Only the host: the rest of a callback URL may carry a token.
            _log.info("callback not taken", task_id=order.task_id, host=urlsplit(app.callback_url).hostname, why=why)
        return why

    def _client(self, app: App) -> httpx.AsyncClient:
        if app.sdk_app_id not in self._clients:
            trust = ssl.create_default_context(cafile=app.callback_ca or None)
            self._clients[app.sdk_app_id] = httpx.AsyncClient(trust_env=False, verify=trust, timeout=self._seconds)
        return self._clients[app.sdk_app_id]
