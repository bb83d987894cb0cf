"""Tasks in memory, for tests of the API layer alone; the recorder's own tests run the real ones."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from rokuga.control.model import Description, FileInfo, Lists, StoreTarget, TaskInput
from rokuga.errors import ApiError


def not_found() -> ApiError:
    return ApiError("ResourceNotFound", "no such task")


@dataclass
class MemoryTasks:
    """Keeps what it is told; ``hang`` makes every call wait for ``go``, ``error`` makes it fail."""

    tasks: dict[str, TaskInput] = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    files: list[FileInfo] = field(default_factory=list)
    modified: list[tuple[Lists, dict[str, Any]]] = field(default_factory=list)
    foretold: list[tuple[int, str, tuple[str, ...], int]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    hang: bool = False
    waiting: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    expire_hours: int = 0
    status: str = "InProgress"

    async def create(self, task: TaskInput, max_tasks: int, expire_hours: int) -> None:
        if len(self.tasks) >= max_tasks:
            raise ApiError("FailedOperation.RestrictedConcurrency", "too many tasks")
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.cancelled.append(task.task_id)
            raise
        self.tasks[task.task_id] = task
        self.expire_hours = expire_hours

    async def describe(self, sdk_app_id: int, task_id: str) -> Description:
        await self._wait()
        task = self._task(sdk_app_id, task_id)
        return Description(task.params.sdk_app_id, self.status, self.files)

    async def modify(self, sdk_app_id: int, task_id: str, request_id: str, lists: Lists, layout: dict[str, Any]) -> None:
        await self._wait()
        self._task(sdk_app_id, task_id)
        self.calls.append(("modify", task_id, request_id))
        self.modified.append((lists, layout))

    async def stop(self, sdk_app_id: int, task_id: str, request_id: str) -> None:
        await self._wait()
        self._task(sdk_app_id, task_id)
        self.calls.append(("stop", task_id, request_id))
        del self.tasks[task_id]

    async def foretell(self, sdk_app_id: int, room_id: str, bots: Collection[str], leave_code: int) -> None:
        await self._wait()
        self.foretold.append((sdk_app_id, room_id, tuple(sorted(bots)), leave_code))

    async def _wait(self) -> None:
        if self.error:
            raise self.error
        if self.hang:
            self.waiting += 1
            await self.go.wait()

    def _task(self, sdk_app_id: int, task_id: str) -> TaskInput:
        task = self.tasks.get(task_id)
        if task is None or task.params.sdk_app_id != sdk_app_id:
            raise not_found()
        return task


@dataclass
class MemoryBucket:
    """A probe that answers as told."""

    error: Exception | None = None
    hang: bool = False
    probed: list[tuple[StoreTarget, str]] = field(default_factory=list)

    async def probe(self, target: StoreTarget, task_id: str) -> None:
        self.probed.append((target, task_id))
        if self.hang:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
