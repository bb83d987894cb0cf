"""What the API needs from the rest of the system: the tasks behind it, and a look at the customer's bucket."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

from rokuga.control.model import Description, Lists, StoreTarget, TaskInput


class Tasks(Protocol):
    """The tasks of all apps. Every method is idempotent for a repeated ``request_id`` or task id."""

    async def create(self, task: TaskInput, max_tasks: int, expire_hours: int) -> None:
        """Start a task and return once it is durable; the bot joins afterwards.

        ``max_tasks`` is how many tasks the app may have at a time, ``expire_hours`` how long the other three calls know the task.
        After an error, and when it is cancelled, nothing of the task stays: what may have been started is ended in the background,
        since nobody will ever learn this TaskId. Raises ApiError: FailedOperation.RestrictedConcurrency, InternalError.CRInternalError.
        """

    async def describe(self, sdk_app_id: int, task_id: str) -> Description:
        """Raises ApiError: ResourceNotFound if the app has no such running task, or no longer; InternalError.CRInternalError."""

    async def modify(self, sdk_app_id: int, task_id: str, request_id: str, lists: Lists, layout: dict[str, Any]) -> None:
        """Overwrite lists and layout. Raises ApiError as `describe`."""

    async def stop(self, sdk_app_id: int, task_id: str, request_id: str) -> None:
        """End the recording; uploads go on. Raises ApiError as `describe`."""

    async def foretell(self, sdk_app_id: int, room_id: str, bots: Collection[str], leave_code: int) -> None:
        """Tell the app's recordings in that room by these bots that they are about to be sent out, and with which LeaveCode.

        There may be none. Raises ApiError InternalError.CRInternalError.
        """


Probe = Callable[[StoreTarget, str], Awaitable[None]]
"""A small real write into the bucket for (target, TaskId). Raises StoreError; see its ``refused``."""

Taken = Callable[[str, int, str], Awaitable[bool]]
"""Whether (RoomId, RoomIdType, UserId) is a user who is in the room now, and no recorder's bot. Raises RoomError: ID_SYNTAX if the media
server can have no such room; any other: it cannot be told."""

Ready = Callable[[], Awaitable[bool]]
"""Whether what stands behind the API answers; for /readyz."""


async def always_ready() -> bool:
    return True
