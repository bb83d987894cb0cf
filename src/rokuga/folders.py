"""Where things lie below ``--data``: the one place that knows the folder names.

::

    <data>/rokuga.toml            the generated configuration (mode 0600)
    <data>/node-id, node.sock     who this node is, and where it answers its own machine's tasks
    <data>/temporal/, janus/      embedded servers' own files
    <data>/store/<Bucket>/<key>   local disk store (endpoint = "file")
    <data>/log/<role>.log         what each role says
    <data>/tasks/<TaskId>/g<n>/   one generation: journal/, spool/, capture.sock, render.json (resume point), order.json (no secrets)
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Generation:
    """The folder of one generation of a task."""

    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def images(self) -> Path:
        """Background, placeholder and watermark images of a mixed recording."""
        return self.folder / "images"

    @property
    def capture_socket(self) -> Path:
        return self.folder / "capture.sock"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "render.json"

    @property
    def lag(self) -> Path:
        """How far render has come; see `rokuga.render.lag`."""
        return self.folder / "render.lag"

    @property
    def base(self) -> Path:
        """What stands for the part of the journal that was removed."""
        return self.journal / "base.json"

    @property
    def order(self) -> Path:
        return self.folder / "order.json"

    @property
    def outbox(self) -> Path:
        return self.folder / "reports"


@dataclass(frozen=True)
class DataFolder:
    """All state of an installation."""

    root: Path

    @property
    def tasks(self) -> Path:
        return self.root / "tasks"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def door(self) -> Path:
        """The node's socket."""
        return self.root / "node.sock"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    def generation(self, task_id: str, generation: int) -> Generation:
        return Generation(self.tasks / task_id / f"g{generation}")
