"""A real S3 server for tests: SeaweedFS, one process, all ports free ones on loopback."""

import asyncio
import json
import secrets
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from rokuga.config import Store
from rokuga.embedded.process import die_with_parent, free_port, program

START_SECONDS = 90.0
STARTS = 3
"""Others look for free ports meanwhile: one may be taken before the server listens there."""


def free_ports(count: int) -> list[int]:
    """Different TCP ports on loopback that nobody listens on now."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


class PortTaken(Exception):
    """Somebody else listens on one of the ports by now."""


class Seaweed:
    """``async with Seaweed(folder) as store``: a bucket, and an identity that may read, write and list it and nothing else.

    ``virtual``: the bucket's name is in the host name. Names below ``localhost`` do not resolve everywhere, so the bucket is
    called ``127`` and the domain ``0.0.1``: the host is an address on loopback. ``stop`` and ``start`` keep ports and data.
    """

    def __init__(self, folder: Path, virtual: bool = False) -> None:
        self.folder = folder
        self.bucket = "127" if virtual else "recordings"
        self.access_key = "test-" + secrets.token_hex(8)
        self.secret_key = secrets.token_hex(20)
        self._virtual = virtual
        self._process: asyncio.subprocess.Process | None = None
        self._choose_ports()

    @property
    def endpoint(self) -> str:
        return f"http://{{bucket}}.0.0.1:{self.port}" if self._virtual else f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The S3 port."""
        return self._ports["s3"]

    @property
    def filer_url(self) -> str:
        """The file system behind the buckets: ``/buckets/<bucket>/<key>``, without authentication."""
        return f"http://127.0.0.1:{self._ports['filer']}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stopped(self) -> bool:
        return self._process is None

    @property
    def section(self) -> Store:
        """The ``[[stores]]`` entry that leads here."""
        return Store(vendor=0, endpoint=self.endpoint, addressing="virtual" if self._virtual else "path")

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        actions = [f"{verb}:{self.bucket}" for verb in ("Read", "Write", "List")]
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        identities = {"identities": [{"name": "test", "credentials": credentials, "actions": actions}]}
        (self.folder / "s3.json").write_text(json.dumps(identities))
        for left in range(STARTS - 1, -1, -1):
            try:
                await self.start()
                break
            except PortTaken:
                if not left:
                    raise
                self._choose_ports()
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
                made = await client.post(f"{self.filer_url}/buckets/{self.bucket}/")
                made.raise_for_status()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    def _choose_ports(self) -> None:
        names = ["master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "s3", "s3_grpc"]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    async def start(self) -> None:
        """Start the server and wait until it answers. Raises PortTaken, RuntimeError."""
        p = self._ports
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        arguments = ["-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}"]
        arguments += ["-s3", "-filer", "-master.telemetry=false"]
        arguments += [f"-master.port={p['master']}", f"-master.port.grpc={p['master_grpc']}"]
        arguments += [f"-volume.port={p['volume']}", f"-volume.port.grpc={p['volume_grpc']}"]
        arguments += ["-volume.max=20", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0", "-master.electionTimeout=1s"]
        arguments += [f"-filer.port={p['filer']}", f"-filer.port.grpc={p['filer_grpc']}"]
        arguments += [f"-s3.port={p['s3']}", f"-s3.port.grpc={p['s3_grpc']}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        arguments += [f"-s3.config={self.folder / 's3.json'}", "-s3.autoCreateBucket=false"]
        if self._virtual:
            arguments.append("-s3.domainName=0.0.1")
        with (self.folder / "weed.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                program("weed"), *arguments, cwd=self.folder, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        try:
            await asyncio.wait_for(self._answers(), START_SECONDS)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, kill: bool = True) -> None:
        """End the server: at once, or in order."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            await process.wait()

    async def _answers(self) -> None:
        """The volume server has registered with the master, so that a put will find a place, and S3 listens."""
        paths = (("master", "dir/assign"), ("filer", ""), ("s3", ""))
        urls = [f"http://127.0.0.1:{self._ports[name]}/{path}" for name, path in paths]
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while urls:
                assert self._process is not None
                if self._process.returncode is not None:
                    taken = "address already in use" in (self.folder / "weed.log").read_text()
                    raise (PortTaken if taken else RuntimeError)(f"weed ended with {self._process.returncode}, see {self.folder}/weed.log")
                try:
                    answer = await client.get(urls[0])
                    if answer.status_code < 500 and "error" not in answer.text[:20]:
                        urls.pop(0)
                        continue
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
