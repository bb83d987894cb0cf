"""When and how much a node may upload: shared by a generation's uploader and its supervisor."""

import asyncio

from rokuga.storage.stores import Destination

PUTS_PER_STORE = 4


class Gate:
    """Where to upload to and whether we may: opened by keys, shut while this node may have been replaced."""

    def __init__(self) -> None:
        self._destination: Destination | None = None
        self._held = False
        self._open = asyncio.Event()

    @property
    def aimed(self) -> bool:
        return self._destination is not None

    def aim(self, destination: Destination) -> None:
        """The keys have come (again)."""
        self._destination = destination
        self._turn()

    def hold(self, held: bool) -> None:
        """Shut or open it; what is under way is finished."""
        self._held = held
        self._turn()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def wait(self) -> Destination:
        await self._open.wait()
        assert self._destination is not None
        return self._destination

    def _turn(self) -> None:
        if self._destination is not None and not self._held:
            self._open.set()
        else:
            self._open.clear()


class Slots:
    """Limits the puts to one store, over all tasks of a node."""

    def __init__(self) -> None:
        self._slots: dict[str, asyncio.Semaphore] = {}

    def of(self, address: str) -> asyncio.Semaphore:
        return self._slots.setdefault(address, asyncio.Semaphore(PUTS_PER_STORE))
