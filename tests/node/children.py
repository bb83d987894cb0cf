"""What zygotes of the tests fork."""

import asyncio
import os
from pathlib import Path

from rokuga import ipc
from rokuga.folders import Generation


async def run(generation: Generation, behaviour: str, *_: object) -> None:
    """``sleep``, ``exit``, ``raise``, ``hang`` (a capture that answers once) or ``leak`` (writes down what it inherited, then sleeps)."""
    (generation.folder / "began").write_text(str(os.getpid()))
    if behaviour == "exit":
        return
    if behaviour == "raise":
        raise RuntimeError("as ordered")
    if behaviour == "leak":
        links = [str(p.readlink()) for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
        (generation.folder / "links").write_text("\n".join(links))
    if behaviour == "hang":
        with (generation.folder / "pids").open("a") as pids:
            pids.write(f"{os.getpid()}\n")
        await ipc.serve(generation.capture_socket, _answer_once)
    await asyncio.sleep(120)


async def _answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    message = await ipc.receive(reader)
    assert message is not None
    await ipc.send(writer, {"id": message["id"], "ok": True, "recording": True})
    await asyncio.sleep(120)
