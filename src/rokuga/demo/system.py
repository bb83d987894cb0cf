"""A `rokuga up` of the demo's own, as a child process, on free ports."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rokuga import settings
from rokuga.config import App, Config, Janus
from rokuga.embedded.process import die_with_parent
from rokuga.errors import RokugaError
from rokuga.running import RUN_FILE

START_SECONDS = 120.0
STOP_SECONDS = 60.0


class DemoError(RokugaError):
    """The demo cannot go on; the message says at which step and why."""


class System:
    """``async with``: a running system in ``data``. ``app`` is its first app, ``api`` its address, ``janus`` how to publish.

    Raises DemoError if it does not start.
    """

    def __init__(self, data: Path, environ: dict[str, str]) -> None:
        self._data = data
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self.api = ""
        self.config: Config
        self.app: App
        self.janus: Janus

    async def __aenter__(self) -> Self:
        command = [sys.executable, "-m", "rokuga", "up", "--data", str(self._data)]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | self._environ,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready(self._process)
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise DemoError(f"rokuga up is not ready after {START_SECONDS:.0f} s; its logs: {self._data}/log") from None
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        if not line.startswith("ready "):
            raise DemoError(f"rokuga up does not start; its logs: {self._data}/log")
        self.api = line.split()[1]
        self.config = settings.load(self._data / settings.GENERATED, "up", os.environ | self._environ)
        self.app = self.config.apps[0]
        facts = json.loads((self._data / RUN_FILE).read_text())
        self.janus = self.config.janus.model_copy(update={"url": facts["janus"]})

    async def stop(self) -> int:
        """SIGTERM, and its exit code; the same at every further call."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        return process.returncode or 0
