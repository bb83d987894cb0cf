from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.control.system import System


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with System(tmp_path_factory.mktemp("control")) as running:
        yield running
