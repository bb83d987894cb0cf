"""Reports to a task: on disk before they are sent, sent in order, some at a time, until the task has accepted them.

Two files in a generation's folder: ``reports`` (one Report a line) and ``reports.acked`` (how many of them were accepted).
"""

import asyncio
import json
import os
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rokuga import clock
from rokuga.control.model import Report
from rokuga.node import metrics
from rokuga.storage import spool

SEND_SECONDS = 5.0
MOST = 100
"""Reports in one signal: what comes while one is under way goes in the next. Each is three writes of the orchestrator."""
GATHER_SECONDS = 0.1
"""From the first that is to be sent: what happens at the same time, as at a recording's start, goes in one."""
RETRY_FIRST_SECONDS = 0.5
RETRY_LAST_SECONDS = 10.0


class Outbox:
    """One generation's reports. ``run`` sends them while the process lives."""

    def __init__(self, path: Path, task_id: str, generation: int, client: Client) -> None:
        self._path = path
        self._acked_path = path.with_name(path.name + ".acked")
        self._task_id = task_id
        self._generation = generation
        self._client = client
        self._reports = [Report(**line) for _, line in spool.lines(path)]
        self._keys = {report.key for report in self._reports}
        self._acked = min(_count(self._acked_path), len(self._reports))
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        self._log = structlog.get_logger(__name__).bind(task_id=task_id, generation=generation)
        self.closed = False
        """the task does not take signals any more: reports are kept for ``recover``"""
        metrics.UNSENT_REPORTS.inc(len(self.unacknowledged))

    @property
    def unacknowledged(self) -> list[Report]:
        return self._reports[self._acked :]

    def has(self, key: str) -> bool:
        return key in self._keys

    def find(self, key: str) -> Report | None:
        return next((r for r in self._reports if r.key == key), None)

    def of(self, kind: str) -> list[Report]:
        return [r for r in self._reports if r.kind == kind]

    async def add(self, kind: str, key: str, payload: dict[str, Any]) -> None:
        """Report it, once per key. It is on disk when this returns. Raises OSError."""
        async with self._lock:
            if key in self._keys:
                return
            report = Report(self._generation, key, kind, clock.utc_ms(), payload)
            line = json.dumps(asdict(report), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
            await asyncio.to_thread(spool.append, self._path, line)
            self._reports.append(report)
            self._keys.add(key)
        metrics.UNSENT_REPORTS.inc()
        self._wake.set()

    async def run(self) -> None:
        """Send what was not accepted yet, in order, and what is added, until the task is closed or we are cancelled."""
        handle = self._client.get_workflow_handle(self._task_id)
        delay = RETRY_FIRST_SECONDS
        while True:
            if not self.unacknowledged:
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(GATHER_SECONDS)
                continue
            reports = self.unacknowledged[:MOST]
            try:
                await handle.signal("reported", reports, rpc_timeout=timedelta(seconds=SEND_SECONDS))
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:
                    self._log.info("the task is closed; its reports are kept", reports=len(self.unacknowledged))
                    async with self._moved:
                        self.closed = True
                        self._moved.notify_all()
                    return
                self._log.warning("reports wait", kind=reports[0].kind, count=len(reports), status=error.status.name)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_LAST_SECONDS)
                continue
            delay = RETRY_FIRST_SECONDS
            await self._acknowledge(len(reports))

    async def flushed(self) -> bool:
        """Wait until all reports so far were accepted; False if the task is closed. Needs ``run``."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.closed or not self.unacknowledged)
        return not self.unacknowledged

    async def _acknowledge(self, count: int) -> None:
        await asyncio.to_thread(_write_count, self._acked_path, self._acked + count)
        metrics.UNSENT_REPORTS.dec(count)
        async with self._moved:
            self._acked += count
            self._moved.notify_all()


def _count(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _write_count(path: Path, count: int) -> None:
    """Not synced: a count lost in a power cut means that reports are sent again, which the task passes over."""
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, str(count).encode())
    finally:
        os.close(fd)
    fresh.replace(path)
