"""Ends tasks whose Create answered an error although they may have been started."""

import asyncio

import structlog

from rokuga.api.ports import Tasks
from rokuga.errors import ApiError

PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""seconds before each try; a start that was on its way may land after the first, so "no such task" is asked again"""
TRY_SECONDS = 5.0
MOST = 256
"""undone at a time"""

logger = structlog.get_logger(__name__)


class Undo:
    """Stops tasks in the background; `aclose` lets each have one more try."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def stop(self, sdk_app_id: int, task_id: str, request_id: str) -> None:
        """Begin to stop a task that may exist."""
        log = logger.bind(task_id=task_id)
        if len(self._running) >= MOST:
            log.error("task may be left running: too many failed starts are being undone")
            return
        running = asyncio.create_task(self._stop(sdk_app_id, task_id, request_id), name=f"undo {task_id}")
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _stop(self, sdk_app_id: int, task_id: str, request_id: str) -> None:
        log = logger.bind(task_id=task_id)
        answer = ""
        for pause in PAUSES:
            try:
                async with asyncio.timeout(pause):
                    await self._closing.wait()
            except TimeoutError:
                pass
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    await self._tasks.stop(sdk_app_id, task_id, f"{request_id}-undo")
                log.info("stopped a task whose start had failed")
                return
            except ApiError as error:
                answer = error.code
            except TimeoutError:
                answer = "no answer"
            except Exception as error:  # noqa: BLE001 - a supervisor's boundary: the next try may work
                answer = type(error).__name__
            if self._closing.is_set():
                break
        log.warning("could not stop a task whose start had failed; it ends by itself if it ever began", last_answer=answer)

    async def aclose(self) -> None:
        """Give every task under way one last try, at most TRY_SECONDS."""
        self._closing.set()
        if self._running:
            _, pending = await asyncio.wait(self._running, timeout=TRY_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
