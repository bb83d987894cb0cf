"""A real API process beside a test's Temporal: ``rokuga api``, as on a machine of its own."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from rokuga import settings
from rokuga.config import Config, Server, Store
from rokuga.embedded.process import Child
from tests.kit.seaweed import free_ports

RATE = 10_000.0


class ApiProcess:
    """``async with``: answers on ``url``, any number of requests a second. ``child.kill()`` is kill -9."""

    def __init__(self, folder: Path, config: Config) -> None:
        port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        stores = (Store(endpoint="file", shared=True),)
        self._file = folder / f"api-{port}.json"
        self._file.touch(mode=0o600)
        server = Server(port=port, requests_per_second=RATE)
        self._file.write_text(settings.dump(config.model_copy(update={"server": server, "stores": stores})))
        self._folder = folder
        self._port = port

    async def __aenter__(self) -> Self:
        with self._file.open("rb") as effective:
            number = effective.fileno()
            command = [sys.executable, "-m", "rokuga", "api", "--data", str(self._folder), "--effective-config", str(number)]
            self.child = Child("api", command, self._folder / f"api-{self._port}.log", pass_fds=[number])
            await self.child.start(self._ready)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.child.stop()

    async def _ready(self) -> bool:
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=5) as client:
            try:
                return (await client.get(f"{self.url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False
