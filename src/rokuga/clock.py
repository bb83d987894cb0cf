"""The only reader of wall and monotonic time; everything else takes times as arguments."""

import time


def monotonic_ns() -> int:
    """Nanoseconds of CLOCK_MONOTONIC: the clock of arrivals and of the journal."""
    return time.monotonic_ns()


def utc_ns() -> int:
    """Nanoseconds since the Unix epoch, UTC."""
    return time.time_ns()


def utc_ms() -> int:
    """Milliseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1_000_000
