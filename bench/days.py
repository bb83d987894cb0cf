"""What a recording of days costs a node: ``python -m bench.days [--users 10] [--days 1 7 14]``.

A node that was started again on the last day is the worst case: it has all of the manifest to read, and all playlists to put. That is
run as it is, with a store on the local disk. How often playlists were put until then is reckoned from their real sizes and the
uploader's rule.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rokuga.config import Store
from rokuga.control.model import StoreTarget
from rokuga.hls import naming
from rokuga.storage import spool
from rokuga.storage.gate import Gate, Slots
from rokuga.storage.spool import Segment
from rokuga.storage.stores import Destination
from rokuga.storage.uploader import PLAYLIST_BYTES_PER_SECOND, Uploader

SECONDS = 10
UTC = 1_800_000_000_000


def make(folder: Path, users: int, days: int) -> None:
    """What render and the uploader have left in a spool after so many days; all segments are in the store."""
    folder.mkdir()
    stems = [
        (naming.single_stem(1400000001, "room", 0, f"user-{user:03d}", "main", kind, 0), f"user-{user:03d}", kind)
        for user in range(users)
        for kind in ("audio", "video")
    ]
    count = days * 86_400 // SECONDS
    with (folder / spool.MANIFEST).open("wb") as manifest:
        for index in range(count):
            for stem, user_id, kind in stems:
                begin = UTC + index * SECONDS * 1000
                segment = Segment(
                    playlist=naming.playlist_name(stem),
                    index=index,
                    name=naming.segment_name(stem, begin),
                    size=80_000,
                    sha256="0" * 64,
                    pts=900_000 + index * SECONDS * 90_000,
                    duration=float(SECONDS),
                    begin_ms=begin,
                    user_id=user_id,
                    media_id="main",
                    track_type=kind,
                    width=640 if kind == "video" else 0,
                    height=360 if kind == "video" else 0,
                    channels=2 if kind == "audio" else 0,
                    sample_rate=48_000 if kind == "audio" else 0,
                    journal=[index // 6],
                    meta={"cc": {"0": 1, "256": 7, "4096": 1}, "target": 12},
                )
                manifest.write(spool.encode(segment))
        for stem, _, _ in stems:
            line = {"playlist": naming.playlist_name(stem), "count": 0, "closed": False, "confirmed": count}
            spool.append(folder / spool.CONFIRMED, json.dumps(line).encode() + b"\n")
        manifest.write(spool.encode(spool.Finished()))


def private_bytes() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(("Private_Clean", "Private_Dirty")))


async def go_on(folder: Path) -> dict[str, Any]:
    """Take up that spool as a node that was started again does."""
    gate = Gate()
    before, most = private_bytes(), 0

    async def notify(kind: str, key: str, payload: dict[str, Any]) -> None:
        pass

    uploader = Uploader(folder / "spool", gate, Slots(), notify)
    running = asyncio.create_task(uploader.run())
    began = sum(os.times()[:2])
    while not uploader.ledger.finished and not running.done():
        await asyncio.sleep(0.2)
        most = max(most, private_bytes())
    read = sum(os.times()[:2]) - began
    gate.aim(Destination(StoreTarget(0, "r", "bucket", "", ""), "task", (Store(endpoint="file"),), folder))
    putting = 0
    while not running.done():
        await asyncio.sleep(0.01)
        putting = max(putting, private_bytes())
    await running
    texts = [path.stat().st_size for path in (folder / "store").rglob("*.m3u8")]
    return {"read_cpu": read, "grown": most - before, "putting": putting - before, "texts": texts, "segments": uploader.ledger.known}


def bytes_put(size: int, segments: int) -> tuple[int, int, float]:
    """Of a playlist that has grown to that size: bytes put by the uploader's rule, bytes if put at each segment, longest pause (s)."""
    each = size / segments
    put = last = 0.0
    next_at = 0.0
    longest = 0.0
    for number in range(1, segments + 1):
        at = number * SECONDS
        if at >= next_at:
            put += number * each
            longest, last = max(longest, at - last), at
            next_at = at + number * each / PLAYLIST_BYTES_PER_SECOND
    return int(put), int(each * segments * (segments + 1) / 2), longest


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.days", description=__doc__)
    parser.add_argument("--users", type=int, default=10, help="users, each with sound and picture")
    parser.add_argument("--days", type=int, nargs="+", default=[1, 7, 14])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        print(json.dumps(asyncio.run(go_on(given.folder))))
        return
    print(f"{given.users} users, sound and picture, segments of {SECONDS} s")
    print("days  segments   node MB  while putting  CPU s to read it all   playlist MB   put GB  (each time: GB)  longest pause s")
    for days in given.days:
        with tempfile.TemporaryDirectory(prefix="rokuga-bench-") as name:
            make(Path(name) / "spool", given.users, days)
            done = subprocess.run(
                [sys.executable, "-m", "bench.days", "--folder", name], capture_output=True, text=True, check=True, timeout=3600
            )
        found = json.loads(done.stdout)
        per = found["segments"] // len(found["texts"])
        reckoned = [bytes_put(size, per) for size in found["texts"]]
        put, each, pause = sum(r[0] for r in reckoned) / 1e9, sum(r[1] for r in reckoned) / 1e9, max(r[2] for r in reckoned)
        print(
            f"{days:4} {found['segments']:9} {found['grown'] / 1e6:9.1f} {found['putting'] / 1e6:14.1f} {found['read_cpu']:21.1f}"
            f" {max(found['texts']) / 1e6:13.1f} {put:8.1f} {each:16.1f} {pause:16.0f}"
        )


if __name__ == "__main__":
    main()
