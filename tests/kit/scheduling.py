"""Encoding AV1 in a process that goes on afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ordinary_scheduling() -> Iterator[None]:
    """Around a use of SVT-AV1, which makes the thread that opens an encoder SCHED_FIFO with priority 99 where it may (as root).

    All that this thread starts later inherits that. A browser whose pages run so can stop a machine of two cores for good: they spin,
    waiting for threads of lower priority.
    """
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
