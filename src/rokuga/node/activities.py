"""A node's activities, by the names that workflows schedule them under (``rokuga.control.model``)."""

from collections.abc import Callable, Sequence
from typing import Any

from temporalio import activity

from rokuga.control.model import ApplyOrder, RecordOrder, Recovered, StopOrder
from rokuga.node.node import Node


class Activities:
    """Temporal's side of a Node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def own(self) -> Sequence[Callable[..., Any]]:
        """For the queue that this node alone polls."""
        return [self.record, self.holds, self.apply, self.halt, self.recover]

    @activity.defn(name="place")
    async def place(self) -> str:
        return self._node.place()

    @activity.defn(name="record")
    async def record(self, order: RecordOrder) -> None:
        if await self._node.record(order, activity.info().task_token):
            activity.raise_complete_async()

    @activity.defn(name="holds")
    async def holds(self, task_id: str, generation: int) -> bool:
        return await self._node.holds(task_id, generation)

    @activity.defn(name="apply")
    async def apply(self, order: ApplyOrder) -> int:
        return await self._node.apply(order)

    @activity.defn(name="halt")
    async def halt(self, order: StopOrder) -> None:
        await self._node.halt(order)

    @activity.defn(name="recover")
    async def recover(self, order: RecordOrder) -> Recovered:
        return await self._node.recover(order, activity.heartbeat)
