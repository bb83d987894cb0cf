"""Debian's Chromium: a real publisher with fake devices, and a real player of HLS without any library."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, Route, async_playwright

from rokuga.config import Janus

PAGES = Path(__file__).parent / "pages"
ORIGIN = "http://localhost/"
"""Nobody listens there: the pages come from the folder. Only a page of localhost may use devices without TLS."""
ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # Media stay on this machine, whether it has another network interface or not; the pages come from nowhere (see ORIGIN) and
    # may speak to servers on this machine all the same.
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks",
]
SIMULCAST: list[dict[str, Any]] = [
    {"rid": "h", "maxBitrate": 600_000},
    {"rid": "m", "maxBitrate": 250_000, "scaleResolutionDownBy": 2},
    {"rid": "l", "maxBitrate": 100_000, "scaleResolutionDownBy": 4},
]


@dataclass
class BrowserUser:
    """Somebody in a room with a browser."""

    page: Page

    async def sent(self) -> dict[str, dict[str, int]]:
        """Packets, frames and bytes sent so far, by kind."""
        found: dict[str, dict[str, int]] = await self.page.evaluate("user.sent()")
        return found

    async def run(self, script: str) -> Any:
        """Any JavaScript in the page; ``user`` is the room user, ``user.video`` and ``user.audio`` its senders."""
        return await self.page.evaluate(script)

    async def leave(self) -> None:
        await self.page.evaluate("user.leave()")
        await self.page.close()


@dataclass
class Playback:
    """What a player did: ``time`` is how far it came, ``log`` its events with the times at which they came."""

    time: float
    duration: float
    ended: bool
    error: str
    width: int
    height: int
    frames: int
    log: list[tuple[str, float]]


class Chromium:
    """A running browser. Made by ``chromium``."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    async def _page(self, name: str) -> Page:
        page = await self._browser.new_page()

        async def serve(route: Route) -> None:
            await route.fulfill(path=PAGES / name, content_type="text/html")

        await page.route(ORIGIN + name, serve)
        await page.goto(ORIGIN + name)
        return page

    async def publish(
        self,
        janus: Janus,
        room: str | int,
        user_id: str,
        codec: str = "h264",
        width: int = 640,
        height: int = 360,
        fps: int = 15,
        audio: str = "",
        layers: Sequence[dict[str, Any]] = (),
    ) -> BrowserUser:
        """Join and publish fake camera and microphone; returns when media flow.

        ``codec``: h264, vp8, vp9 or av1; ``audio``: opus, pcmu, pcma or g722, without one the browser offers all it has;
        ``layers``: the encodings of a simulcast camera, as RTCRtpEncodingParameters, highest first (see SIMULCAST).
        """
        page = await self._page("publish.html")
        await page.evaluate("([url, secret]) => user.connect(url, secret)", [janus.url, janus.api_secret.get_secret_value()])
        await page.evaluate("([room, id]) => user.join(room, id)", [room, user_id])
        await page.evaluate("(wanted) => user.publish(...wanted)", [codec, width, height, fps, audio, list(layers)])
        return BrowserUser(page)

    async def play(self, url: str, seconds: float = 120, rate: float = 1.0) -> Playback:
        """Play a URL, ``rate`` times as fast as it is, until it ends, fails or ``seconds`` have passed."""
        page = await self._page("play.html")
        try:
            await page.evaluate("([url, rate]) => player.start(url, rate)", [url, rate])
            deadline = time.monotonic() + seconds
            while True:
                state: dict[str, Any] = await page.evaluate("player.state()")
                if state["ended"] or state["error"] or time.monotonic() > deadline:
                    state["log"] = [(name, at) for name, at in state["log"]]
                    return Playback(**state)
                await asyncio.sleep(0.25)
        finally:
            await page.close()


@contextmanager
def _ordinary_chromium() -> Iterator[Path]:
    """A command that starts Chromium without the right to raise its priority, which root has.

    With it the browser's media threads are real-time ones and others nicer to themselves than to us; those that it talks to, which a
    test is about, then wait for them on a small machine.
    """
    assert shutil.which("chromium"), "chromium is not installed (make setup-test installs it)"
    with tempfile.TemporaryDirectory(prefix="rokuga-chromium-") as folder:
        command = Path(folder) / "chromium"
        without = "setpriv --bounding-set -sys_nice " if os.geteuid() == 0 else ""
        command.write_text(f'#!/bin/sh\nexec {without}chromium "$@"\n')
        command.chmod(0o755)
        yield command


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """The system's Chromium, headless."""
    with _ordinary_chromium() as path:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            try:
                yield Chromium(browser)
            finally:
                await browser.close()
