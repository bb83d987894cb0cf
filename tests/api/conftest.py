"""A real API server on a free port, with tasks and a bucket in memory behind it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from rokuga.api.server import build_app, listening
from rokuga.config import App, Config, Server, Temporal
from rokuga.folders import DataFolder

from .calls import APP, OTHER_APP, OTHER_ID, OTHER_KEY, SECRET_ID, SECRET_KEY, USER_SIG_KEY
from .memory import MemoryBucket, MemoryTasks
from .wire import Wire


@dataclass
class Running:
    url: str
    config: Config
    data: DataFolder
    tasks: MemoryTasks
    bucket: MemoryBucket


@pytest.fixture
def config() -> Config:
    return Config(
        server=Server(port=0),
        temporal=Temporal(payload_key=SecretStr("a server's secret")),
        apps=(
            App(sdk_app_id=APP, secret_id=SECRET_ID, secret_key=SecretStr(SECRET_KEY), user_sig_key=SecretStr(USER_SIG_KEY), max_tasks=2),
            App(sdk_app_id=OTHER_APP, secret_id=OTHER_ID, secret_key=SecretStr(OTHER_KEY), user_sig_key=SecretStr(USER_SIG_KEY)),
        ),
    )


@pytest.fixture
async def api(config: Config, tmp_path: Path) -> AsyncIterator[Running]:
    tasks, bucket, data = MemoryTasks(), MemoryBucket(), DataFolder(tmp_path)
    async with listening(config, build_app(config, data, tasks, bucket.probe, rate=10000)) as url:
        yield Running(url, config, data, tasks, bucket)


@pytest.fixture
async def wire(api: Running) -> AsyncIterator[Wire]:
    """A connection to ``api``."""
    opened = await Wire.open(api.url)
    yield opened
    await opened.close()
