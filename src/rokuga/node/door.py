"""The node's own door: what tasks and the API ask of a recorder, without the orchestrator's queues, on the same machine.

One request after the other on each connection, as in `rokuga.ipc`; `rokuga.control.near` is the other side::

    {"node": "0123456789ab", "do": "apply", "order": {...}}     or "halt"; answered {"answer": "taken"}, "refused" or "elsewhere"
    {"do": "place"}                                             answered {"node": "0123456789ab"}, or "" if it takes no more
    {"do": "modify", "app": 1400000001, "task": "…", "new": {...}}     a Modified; answered like "apply"
    {"do": "describe", "app": 1400000001, "task": "…"}          answered {"description": {...}}, or null: the task has to be asked
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from temporalio.converter import value_to_type
from temporalio.exceptions import ApplicationError

from rokuga import ipc
from rokuga.control.model import ApplyOrder, Modified, StopOrder
from rokuga.control.near import Answer
from rokuga.node.capture import NotRecording
from rokuga.node.link import LinkError
from rokuga.node.node import Node

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def opened(node: Node, path: Path) -> AsyncIterator[None]:
    """Answer at the socket ``path``. Raises OSError."""

    lines: set[asyncio.StreamWriter] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.add(writer)
        try:
            while (request := await ipc.receive(reader)) is not None:
                await ipc.send(writer, await _answered(node, request))
        except (ConnectionError, ValueError, KeyError, OSError) as error:
            _log.warning("a request at the door failed", error=str(error))
        finally:
            lines.discard(writer)
            writer.close()

    server = await ipc.serve(path, visit)
    try:
        yield
    finally:
        server.close()
        for writer in list(lines):
            writer.close()


async def _answered(node: Node, request: ipc.Message) -> ipc.Message:
    if request["do"] == "place":
        return {"node": node.node_id if node.place_near() else ""}
    if request["do"] == "describe":
        return {"description": _description(node, request)}
    return {"answer": await _answer(node, request)}


def _description(node: Node, request: ipc.Message) -> dict[str, Any] | None:
    try:
        return asdict(node.describe(request["app"], request["task"]))
    except NotRecording:
        return None


async def _answer(node: Node, request: ipc.Message) -> Answer:
    if request.get("node", node.node_id) != node.node_id:
        return "elsewhere"
    try:
        if request["do"] == "modify":
            await node.modify(request["app"], request["task"], value_to_type(Modified, request["new"]))
        elif request["do"] == "apply":
            await node.apply(value_to_type(ApplyOrder, request["order"]))
        else:
            await node.halt(value_to_type(StopOrder, request["order"]))
    except (ApplicationError, NotRecording, LinkError) as error:
        _log.info("not taken", order=request["do"], error=str(error))
        return "refused"
    return "taken"
