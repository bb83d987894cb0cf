"""The heartbeat of a ``record`` activity that completes asynchronously: by task token, twice in each heartbeat timeout."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from rokuga import clock
from rokuga.control.model import Beat

BEATS = 2
"""In a heartbeat timeout. Each is a write of the orchestrator."""
SHORTEST_SECONDS = 0.02
AGAIN_SECONDS = 0.5
"""After one that did not arrive."""
RPC_SECONDS = 3.0
FENCE_TIMEOUTS = 3
"""A node that cannot heartbeat for so many heartbeat timeouts may have been replaced."""


class Heart:
    """``fence(True)`` is called when the orchestrator has not heard us for FENCE_TIMEOUTS heartbeat timeouts, ``fence(False)`` when it has.

    ``beat(False)`` answers without asking others. ``timeout`` is the heartbeat timeout in seconds.
    """

    def __init__(
        self, client: Client, token: bytes, beat: Callable[[bool], Awaitable[Beat]], timeout: float, fence: Callable[[bool], None]
    ) -> None:
        self._client = client
        self._token = token
        self._beat = beat
        self._pause = timeout / BEATS
        self._limit_ns = int(FENCE_TIMEOUTS * timeout * 1e9)
        self._fence = fence
        self._heard_ns = clock.monotonic_ns()
        self._timeout_ns = int(timeout * 1e9)
        self._one = asyncio.Lock()
        """held by the beat that is under way: an older one must not overtake it"""
        self._asked = 0
        self._told = 0
        self._log = structlog.get_logger(__name__)
        self.orphaned_ns: int | None = None
        """since when the orchestrator says that nobody waits for this activity (monotonic); None while somebody does"""

    def adopt(self, token: bytes) -> None:
        """Another ``record`` has taken over this generation."""
        self._token = token
        self.orphaned_ns = None
        self._heard(clock.monotonic_ns())

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            began = clock.monotonic_ns()
            pause = self._pause
            if self._waited_for:
                async with self._one:
                    if not await self._once(True):
                        pause = min(pause, AGAIN_SECONDS)
            if clock.monotonic_ns() - self._heard_ns > self._limit_ns:
                self._fence(True)
            await asyncio.sleep(max(SHORTEST_SECONDS, pause - (clock.monotonic_ns() - began) / 1e9))
            # One that somebody asked for meanwhile will do.
            while (rest := self._pause - (clock.monotonic_ns() - self._heard_ns) / 1e9) > SHORTEST_SECONDS:
                await asyncio.sleep(rest)

    @property
    def trusted(self) -> bool:
        """Whether the activity surely waits for us: it cannot have timed out since the beat that was heard last."""
        return self._waited_for and clock.monotonic_ns() - self._heard_ns < self._timeout_ns

    async def tell(self) -> bool:
        """Beat now, with what is so now; whether it was heard. Those who ask while a beat is under way share the next."""
        self._asked += 1
        mine = self._asked
        async with self._one:
            if self._told < mine and self._waited_for:
                asked, token = self._asked, self._token
                if await self._once(False) and self._waited_for and self._token == token:
                    self._told = asked
            return self._told >= mine

    async def renounce(self, error: ApplicationError) -> None:
        """Fail the activity that waited so far, so that another one comes and adopts."""
        token, self._token = self._token, b""
        if token:
            await self._tell(token, error)

    async def complete(self) -> None:
        """The activity is done. Returns when the orchestrator knows, or does not ask any more."""
        await self._finish(None)

    async def fail(self, error: ApplicationError) -> None:
        """The activity has failed, likewise."""
        await self._finish(error)

    async def _once(self, thorough: bool) -> bool:
        """Whether the orchestrator has answered."""
        token = self._token
        beat = await self._beat(thorough)
        began = clock.monotonic_ns()
        try:
            async with asyncio.timeout(RPC_SECONDS):
                await self._client.get_async_activity_handle(task_token=token).heartbeat(beat, rpc_timeout=timedelta(seconds=RPC_SECONDS))
        except AsyncActivityCancelledError:
            self._orphan(token, "cancelled")
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                return False
            self._orphan(token, "not found")
        except TimeoutError:
            return False
        else:
            if token == self._token:
                self._heard(began)
        return True

    async def _finish(self, error: ApplicationError | None) -> None:
        told = b""
        while self._token != told:
            token = self._token
            await self._tell(token, error)
            told = token

    async def _tell(self, token: bytes, error: ApplicationError | None) -> None:
        """Until the orchestrator has taken it, or does not know that activity."""
        handle = self._client.get_async_activity_handle(task_token=token)
        limit = timedelta(seconds=RPC_SECONDS)
        while True:
            try:
                if error is None:
                    await handle.complete(None, rpc_timeout=limit)
                else:
                    await handle.fail(error, rpc_timeout=limit)
                return
            except AsyncActivityCancelledError:
                return
            except RPCError as failure:
                if failure.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                    return
                self._log.warning("the end of an activity could not be told yet", status=failure.status.name)
            await asyncio.sleep(AGAIN_SECONDS)

    @property
    def _waited_for(self) -> bool:
        return bool(self._token) and self.orphaned_ns is None

    def _heard(self, began_ns: int) -> None:
        self._heard_ns = began_ns
        self._fence(False)

    def _orphan(self, token: bytes, why: str) -> None:
        if token == self._token:
            self.orphaned_ns = clock.monotonic_ns()
            self._log.info("nobody waits for this generation; it goes on until somebody asks", why=why)
