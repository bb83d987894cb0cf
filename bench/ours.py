"""Rokuga as a contender: a `rokuga up` of its own, driven through the official SDK."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from bench.meter import usage
from rokuga.demo.client import Client
from rokuga.demo.system import System
from rokuga.errors import RokugaError
from rokuga.folders import DataFolder, Generation
from rokuga.journal.reader import Entry, JournalReader
from rokuga.journal.records import Loss
from rokuga.running import read as read_run

BUCKET = "bench"
GONE_SECONDS = 120.0
START_SECONDS = 30.0


class OursError(RokugaError):
    """Rokuga does not do what it shall."""


class Ours:
    """What the benches ask of a running system in ``data``."""

    def __init__(self, system: System, data: Path) -> None:
        self._client = Client(system.api, system.app)
        self._data = DataFolder(data)
        self._pids: dict[str, int] = read_run(data)["pids"]

    @property
    def janus(self) -> int:
        return self._pids["janus"]

    async def create(self, room: str, **more: Any) -> str:
        """The TaskId. ``more`` as of `Client.create`."""
        return await self._client.create(room, BUCKET, **more)

    async def delete(self, task_id: str) -> None:
        """Stop, and wait until everything is uploaded and the task is gone."""
        await self._client.delete(task_id)
        try:
            async with asyncio.timeout(GONE_SECONDS):
                while True:
                    await self._client.describe(task_id)
                    await asyncio.sleep(0.2)
        except TencentCloudSDKException as error:
            if error.get_code() != "ResourceNotFound":
                raise
        except TimeoutError:
            raise OursError(f"{task_id} does not end") from None

    def generation(self, task_id: str) -> Generation:
        return self._data.generation(task_id, 0)

    def pids(self, task_id: str) -> dict[str, int]:
        """``capture`` and ``render`` of a task."""
        folder = self.generation(task_id).folder
        return {name: int((folder / f"{name}.pid").read_text()) for name in ("capture", "render")}

    def usage(self, task_id: str = "") -> dict[str, float]:
        """CPU seconds so far of capture, render, node (with its zygote) and rest (up, api, control, Temporal). Janus is left out."""
        roles = {self._pids["node"]: "node", self._pids["janus"]: "janus", self._pids["up"]: "rest"}
        if task_id:
            roles |= {pid: name for name, pid in self.pids(task_id).items()}
        return usage(self._pids["up"], roles, without="janus")

    def lost(self, task_id: str) -> int:
        """Packets that the journal names as lost."""
        with JournalReader(self.generation(task_id).journal) as reader:
            entries = list(reader.read())
        if any(not isinstance(entry, Entry) for entry in entries):
            raise OursError(f"the journal of {task_id} is damaged")
        losses = [e.record for e in entries if isinstance(e, Entry) and isinstance(e.record, Loss)]
        # A picture that the end of the recording cut in two is in the journal, too, and nothing of it was lost on its way.
        return sum(loss.last_sequence - loss.first_sequence + 1 for loss in losses if loss.cause != "incomplete")

    def tracks(self, task_id: str) -> Iterator[tuple[str, str, list[Path]]]:
        """Name, kind and segments of each playlist."""
        for path in sorted((self._data.store / BUCKET / task_id).glob("*.m3u8")):
            names = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
            kind = "video" if path.stem.endswith("_video") else "audio"
            yield path.stem, kind, [path.parent / name for name in names]
