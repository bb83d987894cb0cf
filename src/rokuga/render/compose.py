"""Rendering a kept journal again, with another layout, size or kind of recording (``rokuga compose``)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rokuga.errors import JournalError
from rokuga.folders import Generation
from rokuga.hls import playlist
from rokuga.journal.reader import Damage, Entry, JournalReader, Run, files, last_header
from rokuga.journal.records import Params
from rokuga.render.fold import Fold
from rokuga.render.output import SpoolWriter
from rokuga.storage import spool
from rokuga.storage.spool import Segment


def compose(journal: Path, changes: dict[str, Any], out: Path) -> list[Path]:
    """Segments and index files into ``out``, as if the recording had had these parameters from its beginning; the index files.

    ``journal``: a generation's folder of journal files, with its folder ``images`` beside it. ``changes``: members of
    `rokuga.control.model.Params`. A ``layout`` among them replaces all that the recording had. The same journal and parameters give the
    same bytes. Raises JournalError for what is no journal (or has no beginning any more), OSError.
    """
    header = last_header(journal)
    if header is None:
        raise JournalError(f"{journal} has no journal files (*.rj)")
    if files(journal)[0][0] > 1 or (journal / Generation(journal).base.name).exists():
        raise JournalError(f"{journal} has lost its beginning: it was trimmed while the recording went on")
    target = Generation(out)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise JournalError(f"{out} is not empty")
    with JournalReader(journal) as frames, JournalReader(journal) as reader:
        writer = SpoolWriter(target, header, lambda ref: frames.payload(ref.position, ref.size), images=journal.parent / "images")
        fold = Fold(header, frames.payload)
        for entry in _changed(reader.runs(), changes):
            for plan in fold.feed(entry):
                assert fold.settings is not None
                writer.write(plan, fold.settings)
        if not fold.ended:
            raise JournalError(f"{journal} has no end: the recording still goes on, or its end is damaged")
    return list(_indexes(target))


def _changed(entries: Iterable[Entry | Run | Damage], changes: dict[str, Any]) -> Iterator[Entry | Run]:
    for entry in entries:
        if isinstance(entry, Damage):
            continue
        if isinstance(entry, Entry) and isinstance(entry.record, Params):
            entry = entry._replace(record=replace(entry.record, params={**entry.record.params, **changes}))
        yield entry


def _indexes(generation: Generation) -> Iterator[Path]:
    """Segments go out of the spool into the folder itself, and an index file beside them."""
    found: dict[str, list[Segment]] = {}
    for _, entry in spool.read_manifest(generation.spool):
        if isinstance(entry, Segment):
            found.setdefault(entry.playlist, []).append(entry)
            (generation.spool / entry.name).rename(generation.folder / entry.name)
    for name, segments in found.items():
        index = generation.folder / name
        index.write_text(playlist.render(segments, ended=True), encoding="utf-8")
        yield index
    (generation.spool / spool.MANIFEST).unlink(missing_ok=True)
    generation.spool.rmdir()
