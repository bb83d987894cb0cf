"""The whole product as a user runs it: ``rokuga up`` as a child process, driven through the official SDK."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from temporalio.client import Client
from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models, trtc_client

from rokuga import settings
from rokuga.api.media import media_key, media_url
from rokuga.api.usersig import make
from rokuga.config import Config, Janus, Store
from rokuga.control.codec import connect
from rokuga.folders import DataFolder
from rokuga.running import read

SDK_APP_ID = 1400000001
START_SECONDS = 120.0
STOP_SECONDS = 60.0
MARK = "ROKUGATEST"
"""Environment variable that all processes of one running system inherit; kill_everything finds them by it."""
BUCKET = "recordings"


def toml(tables: dict[str, Any]) -> str:
    """Tables, and lists of tables, of plain values as TOML."""
    lines = []
    for name, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
            lines += [f"{key} = {json.dumps(item)}" for key, item in table.items()]
    return "\n".join(lines) + "\n"


def _app(number: int) -> dict[str, Any]:
    keys = {"secret_id": f"AKIDtest{number or ''}", "secret_key": secrets.token_hex(16), "user_sig_key": secrets.token_hex(32)}
    return {"sdk_app_id": SDK_APP_ID + number} | keys


def processes(mark: str) -> list[int]:
    """All processes that inherited the mark, ended ones that nobody has waited for left out."""
    found = []
    needle = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


async def until(seen: Any, seconds: float = 60, every: float = 0.1) -> Any:
    """Poll ``seen`` (plain or a coroutine function) until it is true, and return what it said. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        value = seen()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {getattr(seen, '__name__', seen)}")
        await asyncio.sleep(every)


class Running:
    """``async with Running(folder) as system``: up and ready. ``api``, ``janus``, ``config`` and ``pids`` say where everything is.

    ``other_apps``: how many more than the one whose settings ``app`` has. Everything is kept in ``folder``: ``stop`` or
    ``kill_everything``, then ``start``, is the same installation again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stores: Iterable[Store] = (Store(endpoint="file"),),
        callback_url: str = "",
        server: dict[str, Any] | None = None,
        janus: dict[str, Any] | None = None,
        recorder: dict[str, Any] | None = None,
        app: dict[str, Any] | None = None,
        other_apps: int = 0,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.callback_key = secrets.token_hex(8)
        self._environ = environ or {}
        callbacks = {"callback_url": callback_url, "callback_key": self.callback_key} if callback_url else {}
        self._tables = {
            "server": {"port": 0} | (server or {}),
            "apps": [_app(0) | callbacks | (app or {}), *map(_app, range(1, 1 + other_apps))],
            "janus": {"admin_secret": secrets.token_hex(16)} | (janus or {}),
            "temporal": {"payload_key": base64.b64encode(secrets.token_bytes(32)).decode()},
            "recorder": recorder or {},
            "stores": [store.model_dump() for store in stores],
        }
        self._mark = secrets.token_hex(8)
        self._process: asyncio.subprocess.Process | None = None
        self.api = ""
        self.janus: Janus
        self.config: Config
        self.pids: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            await self.stop()
        finally:
            await self.kill_everything()

    async def start(self) -> None:
        """``rokuga up``, until it says that it is ready."""
        file = self.folder / "rokuga.toml"
        file.write_text(toml(self._tables))
        file.chmod(0o600)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ROKUGA_")}
        with (self.folder / "up.stderr").open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "rokuga", "up", "--config", str(file), "--data", str(self.data)],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=environ | self._environ | {MARK: self._mark},
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                assert self._process.stdout is not None
                line = (await self._process.stdout.readline()).decode()
            if not line.startswith("ready "):
                raise RuntimeError(f"rokuga up said {line!r}; see {self.folder}/up.stderr: {self.errors()}")
        except BaseException:
            await self.kill_everything()
            raise
        self.api = line.split()[1]
        self.config = settings.load(file, "up", self._environ)
        facts = json.loads((self.data / "run.json").read_text())
        self.janus = self.config.janus.model_copy(update={"url": facts["janus"]})
        self.pids = facts["pids"]

    def errors(self) -> str:
        """The end of what ``rokuga up`` wrote to stderr."""
        return (self.folder / "up.stderr").read_text()[-2000:]

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        assert process.returncode is not None
        return process.returncode

    async def kill_everything(self) -> int:
        """SIGKILL to every process of this system, sessions of their own included, at once; how many there were."""
        killed = set()
        deadline = time.monotonic() + STOP_SECONDS
        while pids := processes(self._mark):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= set(pids)
            if time.monotonic() > deadline:
                raise TimeoutError(f"still there: {pids}")
            if self._process is not None and self._process.returncode is None:
                await self._process.wait()
            await asyncio.sleep(0.02)
        return len(killed)

    def processes(self) -> list[int]:
        """Ids of all processes of this system."""
        return processes(self._mark)

    async def orchestrator(self) -> Client:
        """A client of this system's Temporal."""
        temporal = self.config.temporal.model_copy(update={"address": read(self.data)["temporal"]})
        return await connect(temporal, temporal.address)

    # The API, as a customer's backend uses it.

    def sdk(self) -> trtc_client.TrtcClient:
        """The official client; only its endpoint is ours."""
        # Its HTTP client would ask a proxy from the environment for the way to this machine.
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
        app = self.config.apps[0]
        scheme, _, endpoint = self.api.partition("://")
        profile = ClientProfile(httpProfile=HttpProfile(protocol=scheme, endpoint=endpoint), language="en-US")
        return trtc_client.TrtcClient(Credential(app.secret_id, app.secret_key.get_secret_value()), "ap-singapore", profile)

    async def call(self, action: str, **fields: Any) -> dict[str, Any]:
        """One API call. Raises TencentCloudSDKException with TRTC's code."""
        request = getattr(models, f"{action}Request")()
        request.from_json_string(json.dumps({"SdkAppId": SDK_APP_ID} | fields))
        answer = await asyncio.to_thread(getattr(self.sdk(), action), request)
        told: dict[str, Any] = json.loads(answer.to_json_string())
        return told

    def user_sig(self, user_id: str, seconds: int = 86400) -> str:
        return make(SDK_APP_ID, user_id, self.config.apps[0].user_sig_key.get_secret_value(), int(time.time()), seconds)

    async def create(
        self,
        room: str,
        *,
        bot: str = "recorder_1",
        storage: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
        room_id_type: int = 0,
        user_sig: str = "",
        **fields: Any,
    ) -> str:
        """Start a single-stream recording; the TaskId. ``storage`` and ``record`` go over the defaults."""
        asked = self.recording_of(room, bot, storage, record, room_id_type, user_sig)
        return str((await self.call("CreateCloudRecording", **asked | fields))["TaskId"])

    def recording_of(
        self,
        room: str,
        bot: str = "recorder_1",
        storage: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
        room_id_type: int = 0,
        user_sig: str = "",
    ) -> dict[str, Any]:
        """The fields of such a Create."""
        cloud = {"Vendor": 0, "Region": "local", "Bucket": BUCKET, "AccessKey": "none", "SecretKey": "none"}
        return {
            "SdkAppId": SDK_APP_ID,
            "RoomId": room,
            "RoomIdType": room_id_type,
            "UserId": bot,
            "UserSig": user_sig or self.user_sig(bot),
            "RecordParams": {"RecordMode": 1} | (record or {}),
            "StorageParams": {"CloudStorage": cloud | (storage or {})},
        }

    async def describe(self, task_id: str) -> dict[str, Any]:
        return await self.call("DescribeCloudRecording", TaskId=task_id)

    async def files(self, task_id: str) -> list[str]:
        """The names of the playlists that Describe lists."""
        return sorted(file["FileName"] for file in (await self.describe(task_id)).get("StorageFileList") or [])

    async def recording(self, task_id: str, files: int) -> float:
        """Wait until so many playlists have begun, as Describe says; the time since the epoch in s then."""
        await until(lambda: self._lists(task_id, files))
        return time.time()

    async def _lists(self, task_id: str, files: int) -> bool:
        return len(await self.files(task_id)) >= files

    async def modify(self, task_id: str, **fields: Any) -> None:
        await self.call("ModifyCloudRecording", TaskId=task_id, **fields)

    async def delete(self, task_id: str) -> None:
        await self.call("DeleteCloudRecording", TaskId=task_id)

    # Where the files are, with endpoint = "file".

    def store(self, task_id: str, bucket: str = BUCKET, prefix: str = "") -> Path:
        """The folder of a task's files in the local store."""
        return DataFolder(self.data).store / bucket / prefix / task_id

    def url(self, task_id: str, name: str, bucket: str = BUCKET) -> str:
        """What a player is given for a file of the local store."""
        return media_url(self.api, media_key(self.config), bucket, task_id, int(time.time()) + 3600) + name
