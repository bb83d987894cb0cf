"""What a figure was measured on."""

import asyncio
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import av

from bench.meter import Load

LOOK_SECONDS = 3.0


def _said(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return "not installed"
    found = re.search(r"\d+\.\d+(\.\d+)*[\w.+-]*", result.stdout + result.stderr)
    return found.group(0) if found else "unknown"


def _model() -> str:
    return next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")


async def describe(*more: str) -> None:
    """Print versions, the machine, and what it does before anything of ours runs."""
    load = Load()
    await asyncio.sleep(LOOK_SECONDS)
    codec = ".".join(str(n) for n in av.library_versions["libavcodec"])
    print(f"date        {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    print(f"machine     {os.cpu_count()} x {_model()}, Linux {platform.release()}")
    print(f"before      busy {100 * load.busy():.0f} % of all cores for {LOOK_SECONDS:.0f} s, load average {os.getloadavg()[0]:.2f}")
    print(
        f"versions    Python {platform.python_version()} of {sys.base_prefix}, PyAV {av.__version__} (libavcodec {codec}), "
        f"Janus {_said('janus', '--version')}"
    )
    for line in more:
        print(f"            {line}")
    print(flush=True)


def table(rows: list[list[str]]) -> None:
    """Print rows of cells, the first one their titles."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
