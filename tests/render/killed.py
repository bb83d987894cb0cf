"""Renders a journal in processes that are killed one after the other: ``python -m tests.render.killed FOLDER PLAN [finish]``.

PLAN is JSON: a list of [kind, file, offset]. Each process renders until it has read the journal's record there and is then killed
by SIGKILL: at once (kind "record"), or in the middle of its next write to a "segment", the "manifest" or the "checkpoint". With
``finish`` a last one is let finish. What each has read goes to FOLDER/reads, a JSON object a line, and a mix's canvases to
FOLDER/canvases: PTS and hash of each, before it was encoded. The killing is done here, by wrapping what the product calls.
"""

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rokuga.folders import Generation
from rokuga.journal.reader import Entry, JournalReader, Position, Run
from rokuga.render import main as render
from rokuga.render.fold import Fold
from rokuga.render.mix.canvas import Canvas, views
from rokuga.render.mix.video import Encoder, Unit
from rokuga.render.plan import Plan
from rokuga.render.ts import ContinuousFile

Encode = Callable[[Encoder, Canvas, int], Iterator[Unit]]


def noting_canvases(note: Callable[[int, str], None]) -> Encode:
    """What ``Encoder.encode`` is to be replaced with, so that PTS and hash of each canvas are noted."""
    encode = Encoder.encode

    def noting(encoder: Encoder, canvas: Canvas, number: int) -> Iterator[Unit]:
        note(encoder._pts[number], hashlib.sha256(b"".join(plane.tobytes() for plane in views(canvas.frame))).hexdigest())
        return encode(encoder, canvas, number)

    return noting


class Killer:
    """Counts what this process reads, and ends it where the plan says."""

    def __init__(self, folder: Path, kind: str, moment: Position | None) -> None:
        self.folder, self.kind, self.moment = folder, kind, moment
        self.armed = False
        self.start: Position | None = None
        self.payload: Position | None = None

    def report(self) -> None:
        assert self.start is not None
        payload = self.payload or self.start
        line = {
            "kind": self.kind,
            "start": [self.start.file, self.start.offset],
            "payload": [payload.file, payload.offset],
        }
        with (self.folder / "reads").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def die(self) -> None:
        self.report()
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        feed, write, os_write, payload = Fold.feed, ContinuousFile.write, os.write, JournalReader.payload

        def noting_payload(reader: JournalReader, position: Position, size: int) -> bytes:
            self.payload = min(self.payload or position, position)
            return payload(reader, position, size)

        def killing_feed(fold: Fold, entry: Entry | Run) -> list[Plan]:
            if self.start is None:
                self.start = entry.position
            if self.moment is not None and entry.after > self.moment:
                if self.kind == "record":
                    self.die()
                self.armed = True
            return feed(fold, entry)

        def killing_segment(file: ContinuousFile, data: bytes) -> int:
            if self.armed and self.kind == "segment":
                write(file, data[: len(data) // 2])
                file._file.flush()
                self.die()
            return write(file, data)

        def killing_write(fd: int, data: Any) -> int:
            target = Path(f"/proc/self/fd/{fd}").readlink().name
            if self.armed and target.startswith({"manifest": "manifest", "checkpoint": "render.json"}.get(self.kind, "\0")):
                os_write(fd, bytes(data)[: len(data) // 2])
                self.die()
            return os_write(fd, data)

        def note(pts: int, digest: str) -> None:
            canvases.write(f"{pts} {digest}\n")

        canvases = (self.folder / "canvases").open("a", buffering=1)
        Encoder.encode = noting_canvases(note)  # type: ignore[method-assign, assignment]
        Fold.feed = killing_feed  # type: ignore[method-assign, assignment]
        ContinuousFile.write = killing_segment  # type: ignore[method-assign, assignment]
        os.write = killing_write
        JournalReader.payload = noting_payload  # type: ignore[method-assign, assignment]


def main() -> None:
    folder, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    for kind, file, offset in [*plan, *([["finish", 0, 0]] if sys.argv[3:] else [])]:
        child = os.fork()
        if child == 0:
            killer = Killer(folder, kind, Position(file, offset) if file else None)
            killer.install()
            asyncio.run(render.run(Generation(folder)))
            killer.report()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if died == (kind == "finish"):
            sys.exit(f"{kind} at {file}:{offset}: wait status {status}")


if __name__ == "__main__":
    main()
