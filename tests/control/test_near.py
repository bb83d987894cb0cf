"""The short way from a task to its node: connections that are kept, and a node that was started again meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rokuga import ipc
from rokuga.control import client, task
from rokuga.control import near as module
from rokuga.control.model import Timing
from rokuga.control.near import Near
from rokuga.folders import DataFolder


class Door:
    """Answers what it is told to; counts those who come."""

    def __init__(self, data: DataFolder, answer: Callable[[ipc.Message], ipc.Message | None]) -> None:
        self._path = data.door
        self._answer = answer
        self._lines: list[asyncio.StreamWriter] = []
        self.came = 0
        self.asked: list[ipc.Message] = []

    async def open(self) -> None:
        self._server = await ipc.serve(self._path, self._visit)

    async def close(self) -> None:
        """As a node that ends: nobody listens any more, and those who are there are cut off."""
        self._server.close()
        for writer in self._lines:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._lines), return_exceptions=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self._lines.append(writer)
        while request := await ipc.receive(reader):
            self.asked.append(request)
            if answer := self._answer(request):
                await ipc.send(writer, answer)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


async def test_one_connection_serves_one_request_after_the_other(data: DataFolder) -> None:
    door = Door(data, lambda request: {"node": "n"} if request["do"] == "place" else {"answer": "taken"})
    await door.open()
    async with Near(data) as near:
        assert [await near.near("n", "apply", {"version": version}) for version in (2, 3)] == ["taken", "taken"]
        assert await near.place() == "n"
        assert door.came == 1
        assert await asyncio.gather(*(near.near("n", "halt", {}) for _ in range(3))) == ["taken"] * 3
        assert door.came == 3
    assert door.asked[0] == {"node": "n", "do": "apply", "order": {"version": 2}}
    await door.close()


async def test_a_node_that_was_started_again_is_asked_all_the_same(data: DataFolder) -> None:
    doors = [Door(data, lambda _: {"answer": "taken"}) for _ in range(2)]
    async with Near(data) as near:
        await doors[0].open()
        assert await near.near("n", "apply", {}) == "taken"
        await doors[0].close()
        await doors[1].open()
        assert await near.near("n", "apply", {}) == "taken"
        assert len(doors[1].asked) == 1
        await doors[1].close()
        assert await near.near("n", "apply", {}) == "elsewhere"
        assert await near.place() == ""


async def test_a_node_that_does_not_answer_is_left_alone(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer, should it come later, must not be taken for that to another request."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    answers: list[ipc.Message | None] = [None, {"answer": "taken"}]
    door = Door(data, lambda _: answers.pop(0))
    await door.open()
    async with Near(data) as near:
        assert await near.near("n", "apply", {}) == "elsewhere"
        assert await near.near("n", "apply", {}) == "taken"
        assert door.came == 2
    await door.close()


def test_a_node_that_hangs_at_each_step_leaves_a_modify_a_second_for_the_orchestrators_own_writes() -> None:
    assert 2 * module.ANSWER_SECONDS + Timing().node + task.ORDER_SECONDS + 1 <= client.UPDATE.total_seconds()
