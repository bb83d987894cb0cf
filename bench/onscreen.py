"""The browser way: Chromium shows the room on a virtual screen, ffmpeg grabs screen and sound and encodes them."""

import asyncio
import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from playwright.async_api import Page, Route, async_playwright
from tests.kit.browser import ARGUMENTS, ORIGIN

from bench import meter
from bench.composers import SEGMENT_SECONDS, ComposerError, Mix, coded
from rokuga.config import Janus
from rokuga.embedded.process import die_with_parent

PAGE = Path(__file__).parent / "pages" / "watch.html"
START_SECONDS = 30.0
SINK = "recorder"


class OnScreen:
    """``async with``: ``users`` of ``room`` are seen, heard and recorded into ``folder``. Raises ComposerError."""

    def __init__(self, janus: Janus, room: str, users: list[str], mix: Mix, folder: Path) -> None:
        self._janus = janus
        self._room = room
        self._users = users
        self._mix = mix
        self._folder = folder
        self._stack = AsyncExitStack()
        self._pids: list[int] = []
        self._page: Page

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True)
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    def cpu(self) -> float:
        """CPU seconds so far of screen, sound server, browser and ffmpeg; not of what drives the browser."""
        return sum(meter.below(pid) for pid in self._pids)

    async def shown(self) -> int:
        """Pictures that the browser has shown so far, of all users together."""
        return int(await self._page.evaluate("watch.shown()"))

    async def _start(self) -> None:
        mix, sound = self._mix, self._folder / "pulse"
        read, write = os.pipe()
        with os.fdopen(read, "rb") as told:
            screen = ("Xvfb", "-displayfd", str(write), "-screen", "0", f"{mix.width}x{mix.height}x24", "-nolisten", "tcp")
            try:
                await self._run(*screen, pass_fds=(write,))
            finally:
                os.close(write)
            number = await asyncio.wait_for(asyncio.to_thread(told.readline), START_SECONDS)
        if not number:
            raise ComposerError(f"Xvfb did not start; see {self._folder}/Xvfb.log")
        environ = {"DISPLAY": f":{number.decode().strip()}", "PULSE_SERVER": f"unix:{sound}", "HOME": str(self._folder)}
        await self._run(
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            *("-L", f"module-null-sink sink_name={SINK} rate=48000", "-L", f"module-native-protocol-unix auth-anonymous=1 socket={sound}"),
            environ=environ,
        )
        async with asyncio.timeout(START_SECONDS):
            while not sound.exists():
                await asyncio.sleep(0.05)
        await self._browse(environ)
        grab = (
            "-f",
            "x11grab",
            "-draw_mouse",
            "0",
            "-framerate",
            str(mix.fps),
            "-video_size",
            f"{mix.width}x{mix.height}",
            "-i",
            environ["DISPLAY"],
        )
        hear = ("-f", "pulse", "-i", f"{SINK}.monitor")
        files = ("-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_list_size", "0", str(self._folder / "mix.m3u8"))
        await self._run(
            "ffmpeg", "-nostdin", "-loglevel", "error", *grab, *hear, "-pix_fmt", "yuv420p", *coded(mix), *files, environ=environ
        )

    async def _run(self, *command: str, environ: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()) -> None:
        with (self._folder / f"{command[0]}.log").open("wb") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, stdout=log, stderr=log, env=os.environ | (environ or {}), pass_fds=pass_fds, preexec_fn=die_with_parent
                )
            except FileNotFoundError:
                raise ComposerError(f"{command[0]} is not installed (make bench-mixed installs it)") from None

        async def end() -> None:
            if process.returncode is None:
                process.terminate()
            await process.wait()

        self._stack.push_async_callback(end)
        self._pids.append(process.pid)

    async def _browse(self, environ: dict[str, str]) -> None:
        command = shutil.which("chromium")
        if command is None:
            raise ComposerError("chromium is not installed (make bench-mixed installs it)")
        before = set(meter.processes())
        playwright = await self._stack.enter_async_context(async_playwright())
        size = f"--window-size={self._mix.width},{self._mix.height}"
        arguments = [*ARGUMENTS, "--window-position=0,0", size]
        browser = await playwright.chromium.launch(
            executable_path=command, headless=False, args=arguments, env={**os.environ, **environ}, ignore_default_args=["--mute-audio"]
        )
        self._stack.push_async_callback(browser.close)
        now = meter.processes()
        # Playwright's driver is a child of ours, and the browser a child of that.
        drivers = {pid for pid, stat in now.items() if stat.parent == os.getpid() and pid not in before}
        self._pids += [pid for pid, stat in now.items() if stat.parent in drivers]
        page = self._page = await browser.new_page(no_viewport=True)

        # Kiosk mode is for the first window, which Playwright does not let come.
        devtools = await browser.new_browser_cdp_session()
        (target,) = [t for t in (await devtools.send("Target.getTargets"))["targetInfos"] if t["type"] == "page"]
        window = (await devtools.send("Browser.getWindowForTarget", {"targetId": target["targetId"]}))["windowId"]
        await devtools.send("Browser.setWindowBounds", {"windowId": window, "bounds": {"windowState": "fullscreen"}})

        async def serve(route: Route) -> None:
            await route.fulfill(path=PAGE, content_type="text/html")

        await page.route(ORIGIN + PAGE.name, serve)
        await page.goto(ORIGIN + PAGE.name)
        await page.evaluate("([url, secret]) => watch.connect(url, secret)", [self._janus.url, self._janus.api_secret.get_secret_value()])
        rects = [place.rect for place in self._mix.places()]
        places = [[user, r.x, r.y, r.width, r.height] for user, r in zip(self._users, rects, strict=True)]
        await page.evaluate("([room, places]) => watch.show(room, places)", [self._room, places])
