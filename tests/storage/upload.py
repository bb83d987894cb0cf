"""A process that uploads a spool to the store of a request on stdin, until it is drained or killed."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from rokuga.config import Store
from rokuga.control.model import StoreTarget
from rokuga.storage.gate import Gate, Slots
from rokuga.storage.stores import Destination
from rokuga.storage.uploader import Uploader


async def main() -> None:
    order = json.loads(sys.stdin.readline())
    gate = Gate()
    gate.aim(Destination(StoreTarget(**order["target"]), "task", (Store(**order["store"]),), Path(order["data"])))

    async def notify(kind: str, key: str, payload: dict[str, Any]) -> None:
        print(kind, key, flush=True)

    await Uploader(Path(order["spool"]), gate, Slots(), notify).run()


if __name__ == "__main__":
    asyncio.run(main())
