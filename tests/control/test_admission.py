"""A burst of requests for slots goes out in few updates."""

import asyncio
from collections.abc import Sequence

import pytest

from rokuga.control import admission
from rokuga.control.admission import Admissions
from rokuga.control.app import FULL, Admit


class Desk:
    """Answers when told, with so many slots for each app; ``error`` is the first answer instead.

    ``batches`` are the TaskIds of each request, ``most`` how many were under way at a time.
    """

    def __init__(self, slots: int = 1000) -> None:
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.most = 0
        self._slots = {1: slots, 2: slots}
        self._under_way = 0

    async def send(self, app: int, orders: Sequence[Admit]) -> dict[str, str]:
        self.batches.append([order.task_id for order in orders])
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        await self.go.wait()
        self._under_way -= 1
        if self.error:
            error, self.error = self.error, None
            raise error
        taken = min(len(orders), self._slots[app])
        self._slots[app] -= taken
        return {order.task_id: FULL for order in orders[taken:]}


async def begun(desk: Desk, count: int) -> None:
    while len(desk.batches) < count:
        await asyncio.sleep(0)


async def test_those_that_wait_go_together() -> None:
    desk = Desk(3)
    admissions = Admissions(desk.send)
    first = asyncio.create_task(admissions.ask(1, Admit("t0", 3)))
    await begun(desk, 1)
    others = [asyncio.create_task(admissions.ask(1, Admit(f"t{n}", 3))) for n in range(1, 6)]
    elsewhere = asyncio.create_task(admissions.ask(2, Admit("other", 3)))
    await begun(desk, 2)
    desk.go.set()
    answers = await asyncio.gather(first, *others)
    assert desk.batches == [["t0"], ["other"], ["t1", "t2", "t3", "t4", "t5"]]
    assert (await elsewhere, answers) == ("", ["", "", "", FULL, FULL, FULL])
    assert desk.most == 2, "one of each app"
    assert await admissions.ask(1, Admit("later", 3)) == FULL


async def test_an_error_is_everybody_s_who_waited_for_it_and_nobody_else_s() -> None:
    desk = Desk()
    desk.error = TimeoutError("hangs")
    admissions = Admissions(desk.send)
    first = asyncio.create_task(admissions.ask(1, Admit("t0", 3)))
    await begun(desk, 1)
    second = asyncio.create_task(admissions.ask(1, Admit("t1", 3)))
    given_up = asyncio.create_task(admissions.ask(1, Admit("t2", 3)))
    await asyncio.sleep(0)
    given_up.cancel()
    desk.go.set()
    with pytest.raises(TimeoutError):
        await first
    assert await second == ""
    assert desk.batches == [["t0"], ["t1"]], "who gave up is not asked for"


async def test_a_request_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "TOGETHER", 2)
    desk = Desk()
    desk.go.set()
    admissions = Admissions(desk.send)
    assert await asyncio.gather(*(admissions.ask(1, Admit(f"t{n}", 9)) for n in range(5))) == [""] * 5
    assert desk.batches == [["t0", "t1"], ["t2", "t3"], ["t4"]]
