"""``rokuga publish``: one user in a room until told to stop."""

import asyncio
import os
import tempfile
from pathlib import Path

from rokuga.config import Janus
from rokuga.publish.file import load_file
from rokuga.publish.media import generate, look_of
from rokuga.publish.publisher import Publisher, Source


def cache_folder() -> Path:
    """Where generated media are kept between runs."""
    return Path(tempfile.gettempdir()) / f"rokuga-media-{os.getuid()}"


async def run(
    janus: Janus,
    room: str,
    user: str,
    *,
    file: Path | None = None,
    aux: bool = False,
    audio: bool = True,
    video: bool = True,
    seconds: float | None = None,
    cache: Path | None = None,
) -> None:
    """Publish into the room for ``seconds`` (None: until cancelled), from a file in a loop or with a generated picture.

    ``aux`` adds a screen share. Raises RoomError, PublishError.
    """
    folder = cache or cache_folder()
    clip = await asyncio.to_thread(load_file, file) if file else await asyncio.to_thread(generate, look_of(user), folder)
    screen = await asyncio.to_thread(generate, look_of(f"{user} screen", fps=5), folder) if aux else None
    on = {"audio": audio and bool(clip.audio), "video": video and bool(clip.video), "aux": aux}
    sources: tuple[Source, ...] = tuple(source for source in ("audio", "video", "aux") if on[source])
    async with Publisher(janus, room, user, clip, sources=sources, aux=screen):
        try:
            async with asyncio.timeout(seconds):
                await asyncio.Event().wait()
        except TimeoutError:
            return
