"""What holds for all tests."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's business: other work on it must turn no test red.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _ordinary_scheduling() -> Iterator[None]:
    """A test that leaves its process with real-time priority disturbs all that follow: see `tests.kit.scheduling`."""
    yield
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
