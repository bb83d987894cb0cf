"""An API process's requests for slots: those that come while one is under way go together in the next.

Temporal takes ten updates of a workflow at a time and makes what is more wait for seconds; a burst of Creates is more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rokuga.control.app import Admit

TOGETHER = 200
"""at most, in one update"""

Send = Callable[[int, Sequence[Admit]], Awaitable[dict[str, str]]]
"""Ask for these slots of an app; the answer names those that were refused, by TaskId, and why."""


class Admissions:
    """``ask`` for a slot; one request of each app is under way at a time, sent by ``send``."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: dict[int, list[tuple[Admit, asyncio.Future[str]]]] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}

    async def ask(self, app: int, order: Admit) -> str:
        """Why there is no slot, empty if there is. Raises what ``send`` raises."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(app, []).append((order, answer))
        if app not in self._senders:
            self._senders[app] = asyncio.create_task(self._send_all(app), name=f"admissions of {app}")
        return await answer

    async def _send_all(self, app: int) -> None:
        """Until nobody waits any more."""
        try:
            while waiting := self._waiting.pop(app, []):
                batch, rest = waiting[:TOGETHER], waiting[TOGETHER:]
                if rest:
                    self._waiting[app] = rest
                # Who was cancelled meanwhile wants no slot any more.
                if batch := [(order, answer) for order, answer in batch if not answer.done()]:
                    await self._send_batch(app, batch)
        finally:
            del self._senders[app]

    async def _send_batch(self, app: int, batch: list[tuple[Admit, asyncio.Future[str]]]) -> None:
        try:
            refused = await self._send(app, [order for order, _ in batch])
        except Exception as error:  # noqa: BLE001 it is everybody's who waits for this answer
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for order, answer in batch:
            if not answer.done():
                answer.set_result(refused.get(order.task_id, ""))
