"""The node's ``start`` message: what capture is to record, and how to reach the room. Light: no media library is imported."""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import SecretStr

from rokuga.config import Janus
from rokuga.control.model import Lists, Params
from rokuga.ipc import Message


@dataclass(frozen=True)
class Start:
    """The decoded message. ``janus`` holds secrets: in memory and on the socket only."""

    params: Params
    version: int
    janus: Janus
    predecessor_session: int = 0


def start_message(start: Start, message_id: int) -> Message:
    """What the node sends first. ``room`` is the ``[janus]`` section with its secrets, and the predecessor's session."""
    janus = {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in start.janus.model_dump().items()}
    return {
        "do": "start",
        "id": message_id,
        "params": asdict(start.params),
        "version": start.version,
        "room": {"janus": janus, "predecessor_session": start.predecessor_session},
    }


def read_start(message: Message) -> Start:
    """Decode a ``start`` message. Raises ValueError, TypeError or KeyError for one that is none."""
    room: dict[str, Any] = message["room"]
    return Start(
        params=read_params(message["params"]),
        version=int(message["version"]),
        janus=Janus(**room["janus"]),
        predecessor_session=int(room.get("predecessor_session", 0)),
    )


def read_params(fields: dict[str, Any]) -> Params:
    """Decode Params from JSON. Raises TypeError for unknown or missing fields."""
    return Params(**{**fields, "lists": Lists(**fields.get("lists", {}))})
