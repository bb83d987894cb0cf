"""Where log lines go: JSON, one a line, to ``<data>/log/<role>.log``; warnings and errors also to stderr, for people.

Several processes may write to one file: a line is one ``write`` in append mode. A file of ROTATE_BYTES becomes ``<role>.log.1``.
Tracebacks are plain: rich ones print local variables, which may be secrets.
"""

import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

ROTATE_BYTES = 32 * 1024 * 1024
_SEVERE = ("warning", "error", "critical")


class _File:
    """Appends lines; renames the file when it is full, unless another process has done so already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, line: str) -> None:
        ours = os.fstat(self._fd)
        if ours.st_size > ROTATE_BYTES:
            try:
                if self._path.stat().st_ino == ours.st_ino:
                    self._path.replace(self._path.with_suffix(".log.1"))
            except FileNotFoundError:
                pass
            os.close(self._fd)
            self._fd = self._open()
        os.write(self._fd, line.encode("utf-8", "replace") + b"\n")


class _Output:
    """The end of structlog's chain: every level arrives at ``msg``."""

    def __init__(self, file: _File) -> None:
        self._file = file

    def msg(self, line: str, aloud: str) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            aloud = aloud or f"the log cannot be written: {error}"
        if aloud:
            # Where nobody listens (a full disk, a terminal that is gone) nobody is told; whoever logs must not die of it.
            with suppress(OSError, ValueError):
                print(aloud, file=sys.stderr, flush=True)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _split(role: str, event: EventDict) -> dict[str, Any]:
    level = str(event.pop("level", "info"))
    said = str(event.pop("event", ""))
    line = json.dumps(
        {"time": event.pop("time", ""), "level": level, "role": role, "event": said, **event}, default=str, ensure_ascii=False
    )
    aloud = ""
    if level in _SEVERE:
        rest = {k: v for k, v in event.items() if k not in ("logger", "exception")}
        aloud = f"rokuga {role}: {level}: {said}" + "".join(f" {k}={v}" for k, v in rest.items())
    return {"line": line, "aloud": aloud}


class _Bridge(logging.Handler):
    """What libraries say through the standard library's logging, told as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(max(record.levelno, logging.INFO), record.getMessage(), exc_info=record.exc_info, logger=record.name)


def configure(role: str, folder: Path) -> None:
    """Send this process' log to ``folder``/``role``.log. Libraries are heard from warnings on. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    output = _Output(_File(folder / f"{role}.log"))

    def split(_: WrappedLogger, __: str, event: EventDict) -> dict[str, Any]:
        return _split(role, event)

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            split,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
