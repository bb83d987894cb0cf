"""The Admin API: the only place where Janus tells how long somebody has been in a room."""

import asyncio
from collections.abc import Awaitable

from rokuga.config import Janus
from rokuga.errors import RoomError
from rokuga.room.link import Link, Message, open_link

ADMIN_SECONDS = 2.0
_GONE = (458, 459)


async def entry_times(config: Janus, room: str | int) -> dict[str | int, int]:
    """When each publisher's handle in ``room`` was attached: feed → microseconds on Janus' own clock.

    Raises RoomError if the Admin API is not there, refuses, or takes longer than ADMIN_SECONDS.
    """
    secret = {"admin_secret": config.admin_secret.get_secret_value()}
    try:
        async with asyncio.timeout(ADMIN_SECONDS):
            async with open_link(config.admin_url, "janus-admin-protocol", secret) as link:
                return await _entry_times(link, room)
    except TimeoutError:
        raise RoomError(0, f"the Admin API did not answer within {ADMIN_SECONDS:.0f} s") from None


async def _entry_times(link: Link, room: str | int) -> dict[str | int, int]:
    sessions = (await link.call({"janus": "list_sessions"}))["sessions"]
    handles = await asyncio.gather(*(_or_gone(link.call({"janus": "list_handles", "session_id": s})) for s in sessions))
    questions = [
        {"janus": "handle_info", "session_id": session, "handle_id": handle, "plugin_only": True}
        for session, reply in zip(sessions, handles, strict=True)
        for handle in (reply or {}).get("handles", [])
    ]
    times: dict[str | int, int] = {}
    for reply in await asyncio.gather(*(_or_gone(link.call(question)) for question in questions)):
        info = (reply or {}).get("info", {})
        about = info.get("plugin_specific", {})
        if about.get("type") == "publisher" and about.get("room") == room and "id" in about and "created" in info:
            times[about["id"]] = info["created"]
    return times


async def _or_gone(reply: Awaitable[Message]) -> Message | None:
    """The reply, or None where session or handle ended since they were listed."""
    try:
        return await reply
    except RoomError as error:
        if error.code in _GONE:
            return None
        raise
