"""Temporal's dev server as a child process: one machine, its database file is the truth."""

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rokuga.config import Temporal
from rokuga.embedded.process import READY_SECONDS, Child, ChildError, answers, free_port, program

# ResourceExpiredHour goes up to 720 h: what ended must be found that long.
RETENTION_SECONDS = 31 * 24 * 3600
GARBAGE = {"GOGC": "400", "GOMEMLIMIT": "600MiB"}
"""Go's collector: once the heap has grown fivefold, but sooner near this much memory. The environment may say otherwise."""


class EmbeddedTemporal:
    """``async with``: a running dev server with our namespace. ``address`` is host:port. Raises ChildError.

    Ports given as 0 are chosen once and kept over ``child.kill()`` and ``start()``.
    """

    def __init__(self, folder: Path, config: Temporal | None = None) -> None:
        given = config or Temporal()
        self._folder = folder
        self._port = given.port or free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.config = given.model_copy(update={"port": self._port, "address": self.address})
        command = [program("temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
        command += ["--port", str(self._port), "--http-port", str(free_port()), "--metrics-port", str(free_port())]
        command += ["--db-filename", str(folder / "temporal.db"), "--log-level", "error"]
        command += ["--dynamic-config-value", "system.forceSearchAttributesCacheRefreshOnRead=true"]
        # One fsync a transaction instead of several, and as durable: under load its calls took a quarter of the time.
        command += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=2"]
        self.child = Child("temporal", command, folder / "temporal.log", env=GARBAGE | dict(os.environ))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.child.stop()

    async def start(self) -> None:
        """Start on the database file and make sure of the namespace; also after ``child.kill()``."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

        async def ready() -> bool:
            return await answers("127.0.0.1", self._port)

        await self.child.start(ready)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._namespace()
        except TimeoutError:
            await self.child.stop()
            raise ChildError(f"temporal has no namespace {self.config.namespace}") from None

    async def _namespace(self) -> None:
        """Register ours (``default`` keeps histories for 24 h only) and wait until it can be used."""
        name = self.config.namespace
        while True:
            try:
                client = await Client.connect(self.address, namespace=name)
                await client.workflow_service.register_namespace(
                    RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=RETENTION_SECONDS))
                )
            except RPCError as error:
                if error.status != RPCStatusCode.ALREADY_EXISTS:
                    await asyncio.sleep(0.1)
                    continue
            except RuntimeError:
                # The bridge's word for "cannot connect yet".
                await asyncio.sleep(0.1)
                continue
            break
        # Frontend and history know it each from a cache of their own: a signal goes through both. It is usable when the
        # workflow is what is not found.
        nobody = client.get_workflow_handle("rokuga-is-the-namespace-there")
        while True:
            try:
                await nobody.signal("hello")
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND and "workflow" in error.message.lower():
                    return
            await asyncio.sleep(0.1)
