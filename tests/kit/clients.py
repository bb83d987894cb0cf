"""Tencent's official clients over TLS, as a customer runs them: the SDKs for Python and Node, and ``tccli``.

`make setup-test` installs the latter two.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models, trtc_client

from rokuga.config import App

CLIENTS = Path(__file__).parents[1] / "clients"
TCCLI = CLIENTS / ".tccli"
"""Where pip has put it, its SDK with it."""
VERSION = "2019-07-22"
SECONDS = 60.0


class ClientError(Exception):
    """What the client says of an answer that is an error."""


class PythonSdk:
    """The SDK for Python, https to ``endpoint`` (host:port), which has a certificate of ``ca``; ``sign`` is its signMethod."""

    def __init__(self, endpoint: str, app: App, ca: Path, method: str = "POST", sign: str = "TC3-HMAC-SHA256") -> None:
        # Its HTTP client would ask a proxy from the environment for the way to this machine.
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
        http = HttpProfile(endpoint=endpoint, reqMethod=method, certification=str(ca))
        profile = ClientProfile(signMethod=sign, httpProfile=http, language="en-US")
        self._client = trtc_client.TrtcClient(Credential(app.secret_id, app.secret_key.get_secret_value()), "ap-singapore", profile)

    async def call(self, action: str, **params: Any) -> dict[str, Any]:
        """Raises ClientError with TRTC's code."""
        request = getattr(models, f"{action}Request")()
        request.from_json_string(json.dumps(params))
        try:
            answer = await asyncio.to_thread(getattr(self._client, action), request)
        except TencentCloudSDKException as error:
            raise ClientError(f"{error.get_code()}: {error.get_message()}") from None
        told: dict[str, Any] = json.loads(answer.to_json_string())
        return told


class NodeSdk:
    """Calls through a process that lives as long as this does. See `node_sdk`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, action: str, **params: Any) -> dict[str, Any]:
        """Raises ClientError with TRTC's code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, "params": params}).encode() + b"\n")
        async with asyncio.timeout(SECONDS):
            answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        if "code" in answer:
            raise ClientError(f"{answer['code']}: {answer['message']}")
        return answer


@asynccontextmanager
async def node_sdk(endpoint: str, app: App, ca: Path, method: str = "POST") -> AsyncIterator[NodeSdk]:
    """The SDK for Node, https to ``endpoint`` (host:port), which has a certificate of ``ca``."""
    process = await asyncio.create_subprocess_exec(
        *["node", str(CLIENTS / "client.js")],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environ(app) | {"ENDPOINT": endpoint, "METHOD": method, "NODE_EXTRA_CA_CERTS": str(ca)},
    )
    try:
        yield NodeSdk(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


class Tccli:
    """``tccli``, https to ``endpoint`` (host:port). It trusts certifi's bundle and nothing else: ``folder`` gets one with ``ca`` added."""

    def __init__(self, endpoint: str, app: App, ca: Path, folder: Path) -> None:
        self._endpoint = endpoint
        ours = folder / "certifi"
        shutil.copytree(TCCLI / "certifi", ours)
        with (ours / "cacert.pem").open("a") as bundle:
            bundle.write("\n" + ca.read_text())
        environ = {"PYTHONPATH": f"{folder}{os.pathsep}{TCCLI}", "HOME": str(folder)}
        self._environ = _environ(app) | environ | {"TENCENTCLOUD_SECRET_ID": app.secret_id, "TENCENTCLOUD_REGION": "ap-singapore"}
        self._environ["TENCENTCLOUD_SECRET_KEY"] = app.secret_key.get_secret_value()

    async def call(self, action: str, **params: Any) -> dict[str, Any]:
        """Raises ClientError with what it printed."""
        arguments = ["trtc", action, "--version", VERSION, "--endpoint", self._endpoint]
        for name, value in params.items():
            arguments += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", "import sys; from tccli.main import main; sys.exit(main())", *arguments],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environ,
        )
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
        if process.returncode != 0:
            raise ClientError((out + err).decode())
        answer: dict[str, Any] = json.loads(out)
        return answer


def _environ(app: App) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | {"SECRET_ID": app.secret_id, "SECRET_KEY": app.secret_key.get_secret_value()}
