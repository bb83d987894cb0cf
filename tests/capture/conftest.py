"""Real Janus and pre-encoded clips for the live tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rokuga.embedded import EmbeddedJanus
from rokuga.publish import Clip, generate, look_of


@pytest.fixture
async def janus(tmp_path: Path) -> AsyncIterator[EmbeddedJanus]:
    async with EmbeddedJanus(tmp_path / "janus") as server:
        yield server


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    """Long enough that no test meets the same unit twice."""
    cache = tmp_path_factory.mktemp("cache")
    gops = {"alice": 1, "bob": 1, "rare keyframes": 5}
    return {name: generate(look_of(name, width=320, height=180, gop=gop, seconds=40), cache) for name, gop in gops.items()}
