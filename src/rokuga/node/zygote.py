"""A small forkserver: has the libraries of capture and render loaded, and forks a child for each of them.

It has no threads and no event loop. Its standard input is a socket to the node: one JSON object a line::

    node to zygote   {"id": 1, "name": "capture", "module": "rokuga.capture.main", "folder": "/…/g0", "arguments": [task id, 0]}
    zygote to node   {"id": 1, "pid": 4711} or {"id": 1, "error": "running already"}; later {"pid": 4711, "code": 0}

A child leads a session of its own and outlives the zygote and the node. It runs ``module.run(Generation(folder), *arguments)``
and holds an exclusive flock on ``<folder>/<name>.pid``, which has its pid in it: that lock says exactly whether it lives.
Its log is ``<folder>/<name>.log``, what it writes to stdout and stderr ``<folder>/<name>.err``.
"""

import asyncio
import errno
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

PRELOAD = ("rokuga.capture.main", "rokuga.render.main", "rokuga.logs")
LOCK_TRIES = 25
LOCK_PAUSE_SECONDS = 0.02
"""Somebody who looks whether the lock is held holds it for a moment."""


def main() -> None:
    control = socket.socket(fileno=os.dup(0))
    for name in sys.argv[1:] or PRELOAD:
        importlib.import_module(name)
    settle_garbage()
    wake_in, wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(control, wake_in)


def settle_garbage() -> None:
    """What is loaded stays, and the collector looks at it no more."""
    gc.collect()
    gc.freeze()


def serve(control: socket.socket, wake: int) -> None:
    """Fork and reap until the node closes its end."""
    waiting = b""
    while True:
        readable, _, _ = select.select([control.fileno(), wake], [], [])
        if wake in readable:
            os.read(wake, 4096)
        _reap(control)
        if control.fileno() in readable:
            try:
                data = control.recv(65536)
            except ConnectionError:
                return
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                _fork(control, json.loads(line))


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except (BrokenPipeError, ConnectionError):
        pass  # The node is gone: the next read says so.


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(control, {"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _fork(control: socket.socket, order: dict[str, Any]) -> None:
    folder = Path(order["folder"])
    try:
        lock = take_lock(folder / f"{order['name']}.pid")
        if lock is None:
            _tell(control, {"id": order["id"], "error": "running already"})
            return
        pid = os.fork()
    except OSError as error:
        _tell(control, {"id": order["id"], "error": error.strerror or str(error)})
        return
    if pid == 0:
        _child(order, folder, lock)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(pid).encode(), 0)
    os.close(lock)
    _tell(control, {"id": order["id"], "pid": pid})


def take_lock(path: Path) -> int | None:
    """A descriptor that holds the exclusive lock, None if another process has it. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                os.close(fd)
                raise
        time.sleep(LOCK_PAUSE_SECONDS)
    os.close(fd)
    return None


def _child(order: dict[str, Any], folder: Path, lock: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        output = os.open(folder / f"{order['name']}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, goal in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, goal)
        os.closerange(3, lock)
        os.closerange(lock + 1, lock + 1024)
        code = _run(order, folder)
    except BaseException:  # noqa: BLE001  the child's outermost frame: it tells and ends
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                pass  # A full disk.
        os._exit(code)


def _run(order: dict[str, Any], folder: Path) -> int:
    from rokuga import logs
    from rokuga.folders import Generation

    logs.configure(order["name"], folder)
    module = importlib.import_module(order["module"])
    try:
        asyncio.run(module.run(Generation(folder), *order["arguments"]))
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 1
    return 0


if __name__ == "__main__":
    main()
