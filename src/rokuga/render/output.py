"""Carrying out plans: segments into the spool, each whole and synced before the manifest names it."""

import os
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import cast

import structlog

from rokuga.folders import Generation
from rokuga.headroom import check_headroom
from rokuga.hls import naming, playlist
from rokuga.journal.records import FileHeader
from rokuga.render.mux import Muxer
from rokuga.render.plan import LineKey, Past, Plan, Settings, journal_files
from rokuga.render.sound import Payload
from rokuga.storage import spool
from rokuga.storage.spool import Finished, Segment

TEMPORARY = ".writing-"
"""Names of unfinished files begin so."""
PART = "part"
"""Key in ``Segment.meta``: which of its line's playlists it is in, if not the first."""
COUNTERS = "cc"
"""Key in ``Segment.meta``: the last continuity counter of each PID, from which the next segment goes on."""


class SpoolWriter:
    """The one writer of a generation's segments and manifest.

    The manifest is the truth about what exists: a segment that it names is never written again, so one that was
    uploaded and removed does not come back.
    """

    def __init__(self, generation: Generation, header: FileHeader, payload: Payload, images: Path | None = None) -> None:
        self._folder = generation.spool
        self._header = header
        self._muxer = Muxer(payload, images or generation.images)
        self._log = structlog.get_logger(__name__).bind(task_id=header.task_id, generation=header.generation)
        self._last: dict[LineKey, tuple[tuple[int, int], dict[int, int]]] = {}
        """of each line's last segment, part and index, and its continuity counters"""
        self.finished = False
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._folder.glob(f"{TEMPORARY}*"):
            left.unlink()
        for _, entry in spool.read_manifest(self._folder):
            if isinstance(entry, Finished):
                self.finished = True
            else:
                counters = {int(pid): last for pid, last in entry.meta.get(COUNTERS, {}).items()}
                key = LineKey(entry.user_id, entry.media_id, cast(naming.TrackType, entry.track_type))
                self._last[key] = ((entry.meta.get(PART, 0), entry.index), counters)

    def next_place(self, key: LineKey) -> tuple[int, int]:
        """Part and index up to which a line's segments exist. In another part they begin at 0."""
        if key not in self._last:
            return 0, 0
        part, index = self._last[key][0]
        return part, index + 1

    def write(self, plan: Plan, settings: Settings) -> None:
        """Make the plan's segment, unless it exists. Raises OSError when the disk refuses: nothing is then named, try again."""
        head = plan.head
        if (head.part, head.index) < self.next_place(head.key):
            return
        stem = self._stem(head.key, settings)
        name = naming.segment_name(stem, head.begin_ms)
        temporary = self._folder / f"{TEMPORARY}{name}"
        counters = self._last[head.key][1] if head.key in self._last else {}
        check_headroom(self._folder)
        try:
            with temporary.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                written = self._muxer.write(plan, file, counters)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._folder / name)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)
        segment = Segment(
            playlist=naming.playlist_name(stem, head.part),
            index=head.index,
            name=name,
            size=written.size,
            sha256=written.sha256,
            pts=head.pts,
            duration=(head.end_pts - head.pts) / 90_000,
            begin_ms=head.begin_ms,
            user_id=head.key.user_id,
            media_id=head.key.media_id,
            track_type=head.key.track_type,
            discontinuity=head.discontinuity,
            width=written.width,
            height=written.height,
            channels=written.channels,
            sample_rate=written.sample_rate,
            journal=journal_files(plan),
            meta={
                COUNTERS: {str(pid): last for pid, last in sorted(written.counters.items())},
                playlist.TARGET: ceil(settings.segment_seconds) + 2,
                **({PART: head.part} if head.part else {}),
            },
        )
        spool.append(self._folder / spool.MANIFEST, spool.encode(segment))
        self._last[head.key] = ((head.part, head.index), written.counters)

    def finish(self) -> None:
        """Say in the manifest that nothing follows. Raises OSError."""
        if not self.finished:
            spool.append(self._folder / spool.MANIFEST, spool.encode(Finished()))
            self.finished = True

    def _stem(self, key: LineKey, settings: Settings) -> str:
        room, kind = settings.room_id, settings.room_id_type
        if settings.mixed:
            return naming.mixed_stem(settings.sdk_app_id, room, kind, self._header.generation)
        return naming.single_stem(settings.sdk_app_id, room, kind, key.user_id, key.media_id, key.track_type, self._header.generation)


def read_past(folder: Path, made: int) -> dict[LineKey, Past] | None:
    """Where each line stopped after the manifest's first ``made`` segments; None if it has fewer."""
    past: dict[LineKey, Past] = {}
    entries = spool.read_manifest(folder)
    while made:
        _, entry = next(entries, (0, Finished()))
        if isinstance(entry, Finished):
            return None
        key = LineKey(entry.user_id, entry.media_id, cast(naming.TrackType, entry.track_type))
        part, before = entry.meta.get(PART, 0), past.get(key)
        if before is None or (part, entry.index) >= (before.part, before.index):
            end_pts = entry.pts + round(entry.duration * 90_000)
            past[key] = Past(part, entry.index + 1, entry.begin_ms, end_pts, entry.channels)
            made -= 1
    return past


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
