"""What the control workflows say to each other, and under which ids they are found."""

from dataclasses import dataclass, field

from rokuga.control.model import Modified, Report


def recorder_id(task_id: str, generation: int) -> str:
    return f"{task_id}/g{generation}"


def late_id(task_id: str, generation: int) -> str:
    return f"{task_id}/late/g{generation}"


def late_owner(generation: int) -> str:
    """The late workflow's name in the callback queue."""
    return f"late/g{generation}"


def app_id(sdk_app_id: int) -> str:
    return f"app/{sdk_app_id}"


@dataclass(frozen=True)
class RecorderNews:
    """Signal ``recorder`` to a task. ``kind``: placed (on ``node``), or how the recorder ended: done, start_failed, no_room,
    unneeded (stopped before it began), lost.

    Of a lost one ``session`` is the Janus session that it left, ``modified`` what it was told at its node's door.
    """

    generation: int
    kind: str
    node: str = ""
    session: int = 0
    modified: Modified | None = None


@dataclass(frozen=True)
class LateNews:
    """Signal ``late`` to a task: that generation is finished; ``complete`` false: its node has nothing of it."""

    generation: int
    complete: bool
    reports: list[Report] = field(default_factory=list)
