"""A spool made by hand: what render would leave."""

import hashlib
import random
from pathlib import Path

from rokuga.storage import spool
from rokuga.storage.spool import Finished, Segment


class Spool:
    """``add`` cuts another segment of a playlist, as render does: the file first, then the manifest."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder = folder
        self.segments: dict[str, list[Segment]] = {}
        self.content: dict[str, bytes] = {}
        self._random = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, playlist: str = "a.m3u8", size: int = 20_000) -> Segment:
        before = self.segments.setdefault(playlist, [])
        name = f"{playlist.removesuffix('.m3u8')}_{len(before):05d}.ts"
        data = self._random.randbytes(size)
        segment = Segment(
            playlist=playlist,
            index=len(before),
            name=name,
            size=size,
            sha256=hashlib.sha256(data).hexdigest(),
            pts=len(before) * 900_000,
            duration=10,
            begin_ms=1_700_000_000_000 + len(before) * 10_000,
            user_id="alice",
            media_id="main",
            track_type="audio",
            channels=2,
            sample_rate=48_000,
        )
        (self.folder / name).write_bytes(data)
        spool.append(self.folder / spool.MANIFEST, spool.encode(segment))
        before.append(segment)
        self.content[name] = data
        return segment

    def finish(self) -> None:
        spool.append(self.folder / spool.MANIFEST, spool.encode(Finished()))


def listed(text: str) -> list[str]:
    """The segments of a playlist."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]
