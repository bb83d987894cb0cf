"""What zygotes of the tests fork."""

import asyncio
import os
from pathlib import Path

from rokuga.folders import Generation


async def run(generation: Generation, behaviour: str, *_: object) -> None:
    """``sleep``, ``exit``, ``raise`` or ``leak`` (writes down what it inherited, then sleeps)."""
    (generation.folder / "began").write_text(str(os.getpid()))
    if behaviour == "exit":
        return
    if behaviour == "raise":
        raise RuntimeError("as ordered")
    if behaviour == "leak":
        links = [str(p.readlink()) for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
        (generation.folder / "links").write_text("\n".join(links))
    await asyncio.sleep(120)
