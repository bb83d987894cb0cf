"""Janus' own recording: packets as they come to .mjr files, made into files by ``janus-pp-rec`` afterwards. Not live."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rokuga.config import Janus
from rokuga.errors import RokugaError, RoomError
from rokuga.room.link import Message
from rokuga.room.session import Handle, open_session

PROGRAM = "janus-pp-rec"


class ConversionFailed(RokugaError):
    """janus-pp-rec did not make a file."""


class _Deaf:
    def message(self, message: Message) -> None:
        pass

    def lost(self, error: RoomError) -> None:
        pass


class Room:
    """A room whose recording can be switched."""

    def __init__(self, handle: Handle, room: str) -> None:
        self._handle = handle
        self._room = room

    async def record(self, on: bool) -> None:
        await self._handle.request({"request": "enable_recording", "room": self._room, "record": on})


@asynccontextmanager
async def open_room(janus: Janus, room: str, folder: Path) -> AsyncIterator[Room]:
    """A new room that would record into ``folder``; otherwise as users of Rokuga create theirs. Raises RoomError."""
    folder.mkdir(parents=True, exist_ok=True)
    async with open_session(janus) as session:
        handle = await session.attach(_Deaf())
        body = {"request": "create", "room": room, "permanent": False, "publishers": 100, "notify_joining": True, "fir_freq": 0}
        await handle.request(body | {"videocodec": "h264", "audiocodec": "opus", "videoorient_ext": False, "rec_dir": str(folder)})
        yield Room(handle, room)


def convert(source: Path) -> tuple[Path, float]:
    """One .mjr file to .mp4 or .opus: the file and the CPU seconds that it took. Raises ConversionFailed."""
    target = source.with_suffix(".opus" if "-audio-" in source.name else ".mp4")
    with source.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, str(source), str(target)], stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not target.exists():
        raise ConversionFailed(f"{PROGRAM} ended with {process.returncode} for {source.name}; see its log beside it")
    return target, used.ru_utime + used.ru_stime


async def convert_all(folder: Path) -> tuple[list[Path], float]:
    """All .mjr files of a folder, one after the other."""
    made, seconds = [], 0.0
    for source in sorted(folder.glob("*.mjr")):
        target, took = await asyncio.to_thread(convert, source)
        made.append(target)
        seconds += took
    return made, seconds
