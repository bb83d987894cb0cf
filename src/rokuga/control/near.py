"""The short way to a recorder on the same machine: the node's socket (`rokuga.node.door`), for tasks and for the API.

An activity on the node's queue is five writes of the orchestrator, this one none. Where the node is on another machine, or does not
answer at once, the queue is the way, and the task itself for what the API asks.
"""

import asyncio
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self

from temporalio import activity
from temporalio.converter import value_to_type

from rokuga import ipc
from rokuga.control.model import Description, Modified
from rokuga.folders import DataFolder

NEAR, PLACE_NEAR = "near", "place_near"
"""The activities' names."""
ANSWER_SECONDS = 0.75
"""Workflow tasks wait for it."""

Answer = Literal["taken", "refused", "elsewhere"]
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Near:
    """``async with``: for processes that share a data folder with a node. Connections are kept for the next request."""

    def __init__(self, data: DataFolder) -> None:
        self._door = data.door
        self._free: list[Line] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for _, writer in self._free:
            writer.close()

    @activity.defn(name=NEAR)
    async def near(self, node: str, name: str, order: dict[str, Any]) -> Answer:
        """``apply`` or ``halt``. An order that was not answered in time is "elsewhere": it may be given twice."""
        answered = await self._ask({"node": node, "do": name, "order": order})
        answer: Answer = answered["answer"] if answered else "elsewhere"
        return answer

    @activity.defn(name=PLACE_NEAR)
    async def place(self) -> str:
        """The node of this machine, if it takes one more recording; "" otherwise."""
        answered = await self._ask({"do": "place"})
        return str(answered["node"]) if answered else ""

    async def modify(self, sdk_app_id: int, task_id: str, new: Modified) -> bool:
        """Whether the task's recorder is here, and has these lists and this layout now, for good. False: the task has to be asked.

        Not answered in time is False, too: it may be done twice.
        """
        answered = await self._ask({"do": "modify", "app": sdk_app_id, "task": task_id, "new": asdict(new)})
        return answered is not None and answered["answer"] == "taken"

    async def describe(self, sdk_app_id: int, task_id: str) -> Description | None:
        """What Describe tells, if the recorder here knows all of it. None: the task has to be asked."""
        answered = await self._ask({"do": "describe", "app": sdk_app_id, "task": task_id})
        if answered is None or answered["description"] is None:
            return None
        description: Description = value_to_type(Description, answered["description"])
        return description

    async def _ask(self, request: ipc.Message) -> ipc.Message | None:
        """None if nobody answers in time."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while self._free:
                    # The node may have been started again since.
                    if answered := await self._over(self._free.pop(), request):
                        return answered
                return await self._over(await ipc.connect(self._door), request)
        except (OSError, TimeoutError):
            return None

    async def _over(self, line: Line, request: ipc.Message) -> ipc.Message | None:
        """None if the connection is gone."""
        reader, writer = line
        answered = None
        try:
            await ipc.send(writer, request)
            answered = await ipc.receive(reader)
        except ConnectionError:
            return None
        finally:
            if answered is None:
                writer.close()
            else:
                self._free.append(line)
        return answered
