"""What holds for all tests."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _ordinary_scheduling() -> Iterator[None]:
    """A test that leaves its process with real-time priority disturbs all that follow: see `tests.kit.scheduling`."""
    yield
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
