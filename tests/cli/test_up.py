"""`rokuga up` on the real parts: it says ready, keeps its parts alive, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from rokuga.demo.system import System
from rokuga.running import RUN_FILE

pytestmark = pytest.mark.live

FREE = {"ROKUGA_SERVER__PORT": "0"}
PARTS = {"up", "api", "control", "node", "janus", "temporal"}


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


def facts(data: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((data / RUN_FILE).read_text())
    return told


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def answers(url: str, page: str = "readyz") -> bool:
    try:
        return httpx.get(f"{url}/{page}", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def rokuga_up(data: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "rokuga", "up", "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | environ, check=False)


async def test_a_day_in_the_life_of_a_system(tmp_path: Path) -> None:
    async with System(tmp_path, FREE) as system:
        told = facts(tmp_path)
        assert told["api"] == system.api
        assert set(told["pids"]) == PARTS
        assert answers(system.api)
        assert system.app.secret_key.get_secret_value() not in (tmp_path / RUN_FILE).read_text()
        processes = family(told["pids"]["up"])
        everything = " ".join(" ".join([*p.cmdline(), *p.environ().values()]) for p in processes)
        for secret in (system.app.secret_key, system.app.user_sig_key, system.config.temporal.payload_key):
            assert secret.get_secret_value() not in everything

        second = await asyncio.to_thread(rokuga_up, tmp_path)
        assert second.returncode == 2
        assert "in use by another `rokuga up`" in second.stderr

        for part in ("api", "temporal", "janus", "control", "node"):
            before = facts(tmp_path)["pids"][part]
            os.kill(before, signal.SIGKILL)
            await until(lambda part=part, before=before: facts(tmp_path)["pids"][part] != before)  # type: ignore[misc]
        assert {**facts(tmp_path), "pids": 0} == {**told, "pids": 0}
        await until(lambda: answers(system.api))

        processes = family(told["pids"]["up"])
        assert await system.stop() == 0
    assert gone(processes)
    assert not (tmp_path / RUN_FILE).exists()
    lines = [json.loads(line) for line in (tmp_path / "log" / "up.log").read_text().splitlines()]
    assert [line["part"] for line in lines if line["event"] == "stopped"] == ["node", "api", "control", "janus", "temporal"]


async def test_the_supervisor_killed_takes_its_parts_along_and_the_next_one_starts(tmp_path: Path) -> None:
    async with System(tmp_path, FREE):
        told = facts(tmp_path)
        pid = told["pids"]["up"]
        processes = family(pid)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: gone(processes))
        async with System(tmp_path, FREE) as after:
            assert answers(after.api)
            assert facts(tmp_path)["pids"]["up"] != pid
            # Recordings that have lived on find everything where it was.
            assert {**facts(tmp_path), "pids": 0} == {**told, "pids": 0}


async def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    async with System(tmp_path, FREE) as system:
        told = facts(tmp_path)["pids"]
        processes = family(told["up"])
        # A part that does not listen would be waited for.
        os.kill(told["node"], signal.SIGSTOP)
        begin = time.monotonic()
        os.kill(told["up"], signal.SIGTERM)
        await until(lambda: '"ending"' in (tmp_path / "log" / "up.log").read_text())
        os.kill(told["up"], signal.SIGINT)
        await until(lambda: gone(processes))
        assert time.monotonic() - begin < 8
        assert await system.stop() == 1


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        done = await asyncio.to_thread(rokuga_up, tmp_path, ROKUGA_SERVER__PORT=str(port))
    assert done.returncode == 2
    assert f"server.port: 127.0.0.1:{port}" in done.stderr
    assert done.stdout == ""
