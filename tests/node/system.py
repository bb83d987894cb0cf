"""Real Janus, Temporal, SeaweedFS and control worker around one node: what the node's live tests run on."""

import asyncio
import base64
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self, TypeVar

import obstore
import psutil
from obstore.store import S3Store
from pydantic import SecretStr

from rokuga import settings
from rokuga.config import App, Config, Recorder, Temporal
from rokuga.control.client import TaskClient
from rokuga.control.codec import connect
from rokuga.control.model import Description, Params, StoreTarget, TaskInput
from rokuga.control.worker import run_worker
from rokuga.embedded import EmbeddedJanus, EmbeddedTemporal
from rokuga.folders import DataFolder, Generation
from rokuga.publish.media import generate, look_of
from rokuga.publish.publisher import Publisher
from tests.kit.seaweed import Seaweed

APP = 1400000001
T = TypeVar("T")


async def until(what: Callable[[], T], seconds: float, why: str) -> T:
    """Poll until ``what`` is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {why}"
        await asyncio.sleep(0.05)
    return found


class NodeSystem:
    """``async with``. The node is a process of its own: it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = DataFolder(folder / "data")
        self._stack = AsyncExitStack()
        self.node: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.janus = await stack.enter_async_context(EmbeddedJanus(self.folder / "janus"))
            key = SecretStr(base64.b64encode(os.urandom(32)).decode())
            self.temporal = await stack.enter_async_context(EmbeddedTemporal(self.folder / "temporal", Temporal(payload_key=key)))
            self.seaweed = await stack.enter_async_context(Seaweed(self.folder / "seaweed"))
            app = App(sdk_app_id=APP, secret_id="id", secret_key=SecretStr("k"), user_sig_key=SecretStr("u"))
            self.config = Config(
                apps=(app,),
                janus=self.janus.config,
                temporal=self.temporal.config,
                stores=(self.seaweed.section,),
                recorder=Recorder(segment_seconds=4, shutdown_seconds=15),
            )
            self.client = await connect(self.config.temporal, self.config.temporal.address)
            self.tasks = TaskClient(self.client)
            self._worker = asyncio.create_task(run_worker(self.config, self.client, self.data))
            stack.push_async_callback(self.stop_control)
            stack.push_async_callback(self.end)
            self.start_node()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def stop_control(self) -> None:
        """No workflow goes on until ``control_from``."""
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    async def control_from(self, data: DataFolder) -> None:
        """Another control worker instead of the one before: on the node's machine, with its data folder, or elsewhere."""
        await self.stop_control()
        self._worker = asyncio.create_task(run_worker(self.config, self.client, data))

    async def mend(self) -> None:
        """Start what a test has left dead."""
        if self.seaweed.stopped:
            await self.seaweed.start()
        if self.node is None or self.node.poll() is not None:
            self.start_node()

    def start_node(self) -> None:
        """Another node process on the same data folder."""
        fd = os.memfd_create("config")
        os.write(fd, settings.dump(self.config).encode())
        command = [sys.executable, "-m", "rokuga", "node", "--data", str(self.data.root), "--effective-config", str(fd)]
        with (self.folder / "node.err").open("ab") as log:
            self.node = subprocess.Popen(command, pass_fds=[fd], stdout=log, stderr=log)
        os.close(fd)

    def kill_node(self) -> None:
        """-9, and its zygote goes with it; captures and renders stay."""
        assert self.node is not None
        self.node.kill()
        self.node.wait()

    async def stop_node(self, seconds: float = 60) -> int:
        """SIGTERM; its exit code."""
        assert self.node is not None
        self.node.terminate()
        return await asyncio.to_thread(self.node.wait, seconds)

    async def end(self) -> None:
        """Kill the node and every process of a generation, by id."""
        if self.node is not None and self.node.poll() is None:
            self.kill_node()
        for path in self.data.tasks.glob("*/g*/*.pid"):
            self.kill(Generation(path.parent), path.stem)

    def pid(self, generation: Generation, name: str) -> int:
        """Of a generation's ``capture`` or ``render`` process, 0 if there is none."""
        path = generation.folder / f"{name}.pid"
        text = path.read_text() if path.exists() else ""
        return int(text) if text and psutil.pid_exists(int(text)) else 0

    def kill(self, generation: Generation, name: str) -> None:
        pid = self.pid(generation, name)
        if pid:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    def publisher(self, room: str, user: str) -> Publisher:
        """A user who publishes a camera and a microphone."""
        clip = generate(look_of(user), Path("/tmp") / f"rokuga-media-{os.getuid()}")
        return Publisher(self.config.janus, room, user, clip)

    async def create(self, room: str, heartbeat_timeout: float = 3) -> str:
        """A task that records ``room``; its id."""
        task_id = f"t{uuid.uuid4().hex}"
        params = Params(sdk_app_id=APP, room_id=room, room_id_type=0, user_id="recorder", max_idle_time=30, segment_seconds=4)
        target = StoreTarget(0, "ap-test", self.seaweed.bucket, self.seaweed.access_key, self.seaweed.secret_key, ["calls"])
        await self.tasks.create(TaskInput(task_id, params, target, "sig", heartbeat_timeout), 10, 72)
        return task_id

    async def describe(self, task_id: str) -> Description:
        return await self.tasks.describe(APP, task_id)

    async def stop_task(self, task_id: str) -> None:
        await self.tasks.stop(APP, task_id, uuid.uuid4().hex)

    def store(self) -> S3Store:
        """The bucket, read by others than the code under test."""
        return S3Store(
            self.seaweed.bucket,
            endpoint=self.seaweed.endpoint,
            access_key_id=self.seaweed.access_key,
            secret_access_key=self.seaweed.secret_key,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    async def objects(self, task_id: str) -> dict[str, bytes]:
        """Everything of a task in the bucket, by bare name."""
        store, found = self.store(), {}
        prefix = f"calls/{task_id}/"
        async for batch in obstore.list(store, prefix=prefix):
            for entry in batch:
                got = await obstore.get_async(store, entry["path"])
                found[entry["path"].removeprefix(prefix)] = bytes(await got.bytes_async())
        return found


def check_closed(objects: dict[str, bytes]) -> None:
    """Every playlist is closed, every listed segment is there, and every segment there is listed."""
    playlists = {name: data.decode() for name, data in objects.items() if name.endswith(".m3u8")}
    assert playlists
    listed = set()
    for name, text in playlists.items():
        assert text.rstrip().endswith("#EXT-X-ENDLIST"), name
        segments = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert segments, name
        listed |= set(segments)
    assert listed == {name for name in objects if name.endswith(".ts")}


__all__ = ["APP", "NodeSystem", "check_closed", "until"]
