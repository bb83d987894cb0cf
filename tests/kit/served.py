"""A folder over HTTP, for players."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.kit.running import until
from tests.kit.seaweed import free_ports


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    """The folder's address, which ends with a slash."""
    port = free_ports(1)[0]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=[Mount("/", StaticFiles(directory=folder))]), port=port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        await serving
