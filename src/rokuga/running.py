"""Where a running `rokuga up` is: ``<data>/run.json`` (addresses and pids, no secrets; gone after an orderly end), and its ports."""

import asyncio
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rokuga.config import Config
from rokuga.embedded.process import free_port
from rokuga.errors import ConfigError

RUN_FILE = "run.json"
PORT_WAIT_SECONDS = 5.0
"""A predecessor that was killed a moment ago may not have let go of its port yet."""


def write(data: Path, facts: dict[str, Any]) -> None:
    """Replace the file. Raises OSError."""
    path = data / RUN_FILE
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(facts, indent=1) + "\n")
    fresh.replace(path)


def read(data: Path) -> dict[str, Any]:
    """``api``, ``janus``, ``temporal`` (addresses) and ``pids``; empty if there is no such file."""
    try:
        facts = json.loads((data / RUN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def earlier_ports(data: Path) -> dict[str, int]:
    """Where the parts of a `rokuga up` that did not end in order were, as far as nobody is there now.

    Recordings that have lived on look for their Janus there.
    """
    facts = read(data)
    free = {}
    for name in ("api", "janus", "temporal"):
        address = str(facts.get(name, ""))
        with suppress(OSError, ValueError):
            port = urlsplit(address if "//" in address else f"//{address}").port
            if port:
                with socket.create_server(("127.0.0.1", port)):
                    free[name] = port
    return free


async def take_port(host: str, port: int) -> int:
    """``port`` if it can be had, any free one if it is 0. Raises ConfigError, ChildError (none is free)."""
    port = port or free_port()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(int(PORT_WAIT_SECONDS / 0.1)):
        try:
            with socket.create_server((host, port), family=family):
                return port
        except OSError as error:
            trouble = error.strerror or str(error)
        await asyncio.sleep(0.1)
    raise ConfigError([f"server.port: {host}:{port} cannot be had: {trouble}"])


def api_url(config: Config) -> str:
    """The API's address as this machine reaches it."""
    scheme = "https" if config.server.tls_cert else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.server.host, config.server.host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{config.server.port}"
