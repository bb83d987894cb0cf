"""The short way from a task to a recorder on the same machine: a local activity and the node's socket.

An activity on the node's queue is five writes of the orchestrator, this one none. Where the node is on another machine, or does not
answer at once, the queue is the way.
"""

import asyncio
from typing import Any, Literal

from temporalio import activity

from rokuga import ipc
from rokuga.folders import DataFolder

NEAR = "near"
"""The activity's name."""
ANSWER_SECONDS = 0.75
"""Workflow tasks wait for it."""

Answer = Literal["taken", "refused", "elsewhere"]


class Near:
    """For control processes that share a data folder with a node."""

    def __init__(self, data: DataFolder) -> None:
        self._door = data.door

    @activity.defn(name=NEAR)
    async def near(self, node: str, name: str, order: dict[str, Any]) -> Answer:
        """``apply`` or ``halt``. An order that was not answered in time is "elsewhere": it may be given twice."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await ipc.connect(self._door)
                try:
                    await ipc.send(writer, {"node": node, "do": name, "order": order})
                    answered = await ipc.receive(reader)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return "elsewhere"
        answer: Answer = answered["answer"] if answered else "elsewhere"
        return answer
