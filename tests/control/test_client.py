"""The API's side of a Create that was given up, against a Temporal that answers as told."""

from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rokuga.control import client as module
from rokuga.control.client import TaskClient
from rokuga.control.model import Params, StoreTarget, TaskInput

TASK = TaskInput("task", Params(1, "room", 0, "bot"), StoreTarget(0, "r", "b", "a", "s"), "sig")


class Temporal:
    """Knows the task from the ``known``-th signal to it on."""

    def __init__(self, known: int) -> None:
        self.known = known
        self.got: list[str] = []
        self._id = ""

    def get_workflow_handle(self, workflow_id: str) -> "Temporal":
        self._id = workflow_id
        return self

    async def signal(self, name: str, **_: Any) -> None:
        self.got.append(name)
        if name == "undo" and self.got.count("undo") < self.known:
            raise RPCError("workflow not found for ID: task", RPCStatusCode.NOT_FOUND, b"")


@pytest.mark.parametrize(
    ("known", "expected"),
    [(1, ["undo", "release"]), (2, ["undo", "release", "undo"]), (9, ["undo", "release", "undo", "undo"])],
)
async def test_a_start_that_arrives_after_it_was_given_up_is_undone(
    known: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNDO_AGAIN", (0.01, 0.01))
    temporal = Temporal(known)
    tasks = TaskClient(cast(Client, temporal))
    tasks._begin_undo(TASK)
    await tasks.settle()
    assert temporal.got == expected
