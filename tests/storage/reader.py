"""Somebody who reads playlists and segments from a store while they are uploaded."""

import asyncio

import obstore
from obstore.store import ObjectStore

from tests.storage.spools import Spool, listed


async def text_of(store: ObjectStore, name: str) -> str | None:
    try:
        return bytes(await (await obstore.get_async(store, f"task/{name}")).bytes_async()).decode()
    except FileNotFoundError:
        return None


class Reader:
    """Reads playlists until stopped: each lists whole segments that are there, and never fewer than before. ``looks`` counts."""

    def __init__(self, store: ObjectStore, made: Spool, playlists: list[str]) -> None:
        self.looks = 0
        self.stop = asyncio.Event()
        self._store = store
        self._made = made
        self._seen = dict.fromkeys(playlists, 0)

    async def run(self) -> None:
        while not self.stop.is_set():
            for playlist in self._seen:
                await self._look(playlist)
            await asyncio.sleep(0.01)

    async def _look(self, playlist: str) -> None:
        text, seen = await text_of(self._store, playlist), self._seen[playlist]
        if text is None:
            assert seen == 0, f"{playlist} went away"
            return
        names = listed(text)
        assert len(names) >= seen, f"{playlist} was replaced by an older one"
        for name in names[max(0, seen - 1) :]:
            body = bytes(await (await obstore.get_async(self._store, f"task/{name}")).bytes_async())
            assert body == self._made.content[name], name
        self._seen[playlist] = len(names)
        self.looks += 1
