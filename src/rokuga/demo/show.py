"""What the demo prints: plain lines, and on a terminal one line that is rewritten while it records."""

import sys
from pathlib import Path

from rokuga.demo.verify import Track, tags

PLAIN_SECONDS = 5
"""How often progress is told where the line cannot be rewritten."""


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._open = False
        self._told = -PLAIN_SECONDS

    def say(self, text: str = "") -> None:
        """A line that stays."""
        if self._open:
            print()
            self._open = False
        print(text, flush=True)

    def progress(self, second: int, text: str) -> None:
        """What stands now, ``second`` seconds into it."""
        if self._live:
            print(f"\r\x1b[K{text}", end="", flush=True)
            self._open = True
        elif second - self._told >= PLAIN_SECONDS:
            self._told = second
            print(text, flush=True)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def uploaded(folder: Path) -> tuple[int, int]:
    """Segments that the playlists in a store's folder list, and their bytes."""
    attributes = [value for path in folder.glob("*.m3u8") for value in tags(path.read_text("utf-8"), "EXT-X-TRTC-FILE-ATTR")]
    return len(attributes), sum(int(value.split(",")[1]) for value in attributes)


def received(data: Path, task_id: str) -> int:
    """Bytes in a task's journal: what arrived, before anything is made of it."""
    return sum(path.stat().st_size for path in (data / "tasks" / task_id).glob("g*/journal/*.rj"))


def tree(folder: Path, tracks: list[Track]) -> list[str]:
    """The recording as lines: each index file with what it holds, its segments below."""
    lines = [f"{folder}/"]
    for track in tracks:
        picture = f", {track.width}x{track.height}" if track.width else ""
        lines.append(f"  {track.file}")
        lines.append(f"      {track.user_id} {track.media_id} {track.kind}: {track.seconds:.1f} s{picture}, {size(track.bytes)}")
        text = (folder / track.file).read_text("utf-8")
        names = [line for line in text.splitlines() if line and not line.startswith("#")]
        lines += [f"    {name}  {float(value.split(',')[0]):.1f} s" for name, value in zip(names, tags(text, "EXTINF"), strict=True)]
    return lines
