"""Room management of TRTC's server API: RemoveUser, DismissRoom and their …ByStrRoomId forms, which act on the Janus.

Field names, limits and codes: Tencent's API reference of these four actions (version 2019-07-22).
"""

from typing import Annotated, Any

import structlog

from rokuga.api import rules
from rokuga.api.actions import Action, Answer, Call
from rokuga.api.fields import at_most, filled, span, string, text
from rokuga.api.ports import Tasks
from rokuga.api.problems import invalid
from rokuga.api.schema import ENTRY_BYTES, AppId, Part
from rokuga.config import Janus
from rokuga.control.state import LEAVE_DISMISSED, LEAVE_REMOVED
from rokuga.errors import ApiError, Fault, RoomError
from rokuga.room.control import ID_SYNTAX, NO_SUCH_ROOM, NO_SUCH_USER, SECRET_MISSING, SECRET_WRONG, Foretell, RoomControl
from rokuga.words import Words

USERS_MAX = 10
TAKEN_SECONDS = 1.0
"""For the look into the room before a Create. A Janus that takes longer is the recorder's business."""

NumericRoom = Annotated[int, span(1, rules.ROOM_MAX)]
StringRoom = Annotated[str, text(64), string]
UserIds = Annotated[list[Annotated[str, text(ENTRY_BYTES), string]], at_most(USERS_MAX), filled]

logger = structlog.get_logger(__name__)


class RemoveUser(Part):
    SdkAppId: AppId
    RoomId: NumericRoom
    UserIds: UserIds


class RemoveUserByStrRoomId(Part):
    SdkAppId: AppId
    RoomId: StringRoom
    UserIds: UserIds


class DismissRoom(Part):
    SdkAppId: AppId
    RoomId: NumericRoom


class DismissRoomByStrRoomId(Part):
    SdkAppId: AppId
    RoomId: StringRoom


class Rooms:
    """The four actions. Recordings of the calling app are told before their bot is sent out, so that their LeaveCode is 1 or 2."""

    def __init__(self, janus: Janus, tasks: Tasks) -> None:
        self._reachable = bool(janus.url)
        self._control = RoomControl(janus)
        self._tasks = tasks

    def actions(self) -> dict[str, Action[Any]]:
        """By the name that X-TC-Action gives."""
        all_actions: list[Action[Any]] = [
            Action(RemoveUser, self.remove),
            Action(RemoveUserByStrRoomId, self.remove),
            Action(DismissRoom, self.dismiss),
            Action(DismissRoomByStrRoomId, self.dismiss),
        ]
        return {action.model.__name__: action for action in all_actions}

    async def taken(self, room_id: str, room_id_type: int, user_id: str) -> bool:
        """See `rokuga.api.ports.Taken`; False if this server knows no Janus."""
        return self._reachable and await self._control.taken(room_id, room_id_type, user_id, TAKEN_SECONDS)

    async def remove(self, request: RemoveUser | RemoveUserByStrRoomId, call: Call) -> Answer:
        room_id, room_id_type = self._room(request, call)
        foretell = self._foretell(request.SdkAppId, room_id, LEAVE_REMOVED)
        try:
            await self._control.remove(room_id, room_id_type, request.UserIds, foretell)
        except RoomError as error:
            raise _translated(error) from None
        logger.info("users removed", sdk_app_id=request.SdkAppId, count=len(request.UserIds), request_id=call.request_id)
        return {}

    async def dismiss(self, request: DismissRoom | DismissRoomByStrRoomId, call: Call) -> Answer:
        room_id, room_id_type = self._room(request, call)
        try:
            await self._control.dismiss(room_id, room_id_type, self._foretell(request.SdkAppId, room_id, LEAVE_DISMISSED))
        except RoomError as error:
            raise _translated(error) from None
        logger.info("room dismissed", sdk_app_id=request.SdkAppId, request_id=call.request_id)
        return {}

    def _room(self, request: Any, call: Call) -> tuple[str, int]:
        """RoomId as recordings have it, and its type."""
        if call.app(request.SdkAppId) is None:
            raise invalid("SdkAppId", Words("is not an application of this SecretId"), "InvalidParameter.SdkAppId")
        room_id_type = rules.NUMERIC_ROOM if isinstance(request.RoomId, int) else rules.STRING_ROOM
        room_id = str(request.RoomId)
        rules.check_room(room_id, room_id_type)
        if not self._reachable:
            what = Words("This API server knows no Janus to act on: set `url` in the [janus] section of its configuration.")
            raise ApiError("UnsupportedOperation", what, Fault.SERVICE)
        return room_id, room_id_type

    def _foretell(self, sdk_app_id: int, room_id: str, leave_code: int) -> Foretell:
        async def foretell(bots: frozenset[str]) -> None:
            await self._tasks.foretell(sdk_app_id, room_id, bots, leave_code)

        return foretell


def _translated(error: RoomError) -> ApiError:
    match error.code:
        case code if code == NO_SUCH_ROOM:
            return ApiError(
                "FailedOperation.RoomNotExist", Words("There is no such room now. Check RoomId, and its type: numeric or string.")
            )
        case code if code == NO_SUCH_USER:
            what = Words("None of `UserIds` is in the room. Check RoomId and UserIds; who has left needs no removing.")
            return ApiError("FailedOperation", what)
        case code if code == ID_SYNTAX:
            what = Words("names a string room, which this server's Janus cannot have. Use the action without ByStrRoomId")
            return invalid("RoomId", what, "InvalidParameter.RoomId")
        case code if code in (SECRET_MISSING, SECRET_WRONG):
            what = Words(
                "The room has a secret that this server does not know: set `room_secret` in the [janus] section of its configuration."
            )
            return ApiError("UnauthorizedOperation", what)
    logger.error("janus does not do it", code=error.code, why=error.message)
    what = Words("The media server failed or did not answer in time. Please try again later with the same parameters.")
    return ApiError("InternalError.CRInternalError", what, Fault.SERVICE)
