"""The fold over a generation's journal: which segments there are. Pure but for peeking at frames' first bytes."""

from typing import Any

import structlog

from rokuga.errors import JournalError
from rokuga.hls.naming import MIX
from rokuga.journal.reader import START, Entry, Position, Run
from rokuga.journal.records import End, FileHeader, Params, Record, RoomEvent, Tick, TrackClosed, TrackOpened
from rokuga.render import audio, look
from rokuga.render.audio import AudioLine
from rokuga.render.checkpoint import VERSION
from rokuga.render.line import Line, Noted, Peek
from rokuga.render.merged import MergedLine
from rokuga.render.plan import HEAD_START_90K, LineKey, Past, Plan, Settings, Timeline
from rokuga.render.video import VideoLine

LINES: dict[str, type[Line]] = {"video": VideoLine, "audio": AudioLine, "audio_video": MergedLine}
KNOWN = {"video": look.CODECS, "audio": audio.CODECS}


class Fold:
    """Give it every entry of `JournalReader.runs` in order; it answers with the segments that are thereby complete.

    Frames are only collected: lines decide at each tick, and when a track begins or ends.
    ``state`` after an entry and its segments is plain JSON; a new Fold made of it goes on from ``start``, and records that a line has
    no use for any more do not reach that line. Lines of users who have long left are not in it: ``past`` says where those stopped,
    as the first ``made`` segments of the manifest tell. Each record costs in proportion to the lines that live.
    """

    def __init__(
        self, header: FileHeader, peek: Peek, state: dict[str, Any] | None = None, past: dict[LineKey, Past] | None = None
    ) -> None:
        self._log = structlog.get_logger(__name__).bind(task_id=header.task_id, generation=header.generation)
        self._header = header
        self._peek = peek
        self._now = 0
        self._lines: dict[LineKey, Line] = {}
        self._tracks: dict[int, Line] = {}
        self._past = dict(past or {})
        """of each line that ever was, its last segment"""
        self._after = START
        """lines begin from here on: those before are in the state or past"""
        self._joined = START
        """from here on every record is the business of all lines that were in the state"""
        self.made = 0
        """segments so far, of all lines"""
        self.settings: Settings | None = None
        self.ended = False
        self.start = START
        if state is not None:
            self._restore(state)

    def feed(self, entry: Entry | Run) -> list[Plan]:
        """Segments that this entry completes. Raises JournalError if a track comes before any parameters."""
        if isinstance(entry, Run):
            self._arrived(entry)
            return []
        if isinstance(entry.record, Tick | End):
            # No other record says that all that came before it is here.
            self._now = max(self._now, entry.monotonic_ns)
        plans = self._happened(entry, entry.record)
        for plan in plans:
            self._past[plan.head.key] = Past.of(plan)
            self.made += 1
        return plans

    def _arrived(self, run: Run) -> None:
        tracks = self._tracks
        joined = run.position >= self._joined
        for frame in run.frames:
            line = tracks.get(frame.track)
            if line is not None and (joined or frame.position >= line.start):
                line.arrived(frame)

    def _happened(self, entry: Entry, record: Record) -> list[Plan]:
        """A record that is no frame."""
        if isinstance(record, Params):
            # Lists and layout may change later; what most lines need cannot.
            self.settings = self.settings or Settings.of(record.params)
            if self.settings.mixed and entry.position >= self._after:
                self._line(self.settings.key("", MIX, "audio"), entry.position)
        elif isinstance(record, TrackOpened):
            self._opened(entry.position, record)
        elif isinstance(record, TrackClosed):
            line = self._tracks.pop(record.track, None)
            if line is not None and entry.position >= line.start:
                line.close(entry.position, record.track)
        elif isinstance(record, End):
            self.ended = True
            self._close_all(entry.position)
        elif isinstance(record, RoomEvent):
            if record.event == "restarted":
                self._close_all(entry.position)
        elif not isinstance(record, Tick):
            return []
        plans: list[Plan] = []
        past: list[LineKey] = []
        for key, line in self._lines.items():
            if entry.position >= line.start:
                line.note(Noted(entry.position, entry.monotonic_ns, record))
                plans += line.advance(self._now, entry.after)
                if line.is_past(self._now):
                    past.append(key)
        for key in past:
            self._forget(key)
        return plans

    def _close_all(self, position: Position) -> None:
        for line in self._lines.values():
            if position >= line.start:
                for track in line.track_numbers:
                    line.close(position, track)
                    self._tracks.pop(track, None)

    def state(self, after: Position) -> dict[str, Any]:
        """Plain JSON to go on from; ``after`` is where the next entry begins. Holds for as long as all segments so far exist."""
        lines = [{"key": [key.user_id, key.media_id, key.track_type], **line.resume(after)} for key, line in self._lines.items()]
        return {
            "version": VERSION,
            "params": self.settings.raw if self.settings else None,
            "after": [after.file, after.offset],
            "start": min([[after.file, after.offset], *(line["position"] for line in lines)]),
            "files": sorted({file for line in lines for file in line["state"]["files"]}),
            "made": self.made,
            "lines": lines,
        }

    def progress(self) -> dict[LineKey, tuple[int, int]]:
        """How far each line that lives has decided: the part of its playlist, and the next segment's index there."""
        return {key: line.decided for key, line in self._lines.items()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.settings = Settings.of(state["params"]) if state["params"] else None
        self._after = Position(*state["after"])
        self.made = int(state["made"])
        for saved in state["lines"]:
            key = LineKey(*saved["key"])
            position = Position(*saved["position"])
            line = self._lines[key] = self._made(key, position, saved["state"])
            self._joined = max(self._joined, position)
            self._tracks.update(dict.fromkeys(line.track_numbers, line))
        self.start = Position(*state["start"])

    def _opened(self, position: Position, record: TrackOpened) -> None:
        if record.codec not in KNOWN[record.kind]:
            self._log.warning("track cannot be rendered", track=record.track, user_id=record.user_id, codec=record.codec)
            return
        key = self._known().key(record.user_id, record.media_id, record.kind)
        if key not in self._lines and position < self._after:
            return
        line = self._line(key, position)
        if position >= line.start:
            line.open(position, record.track, record.kind, record.codec, record.clock_rate)
            self._tracks[record.track] = line

    def _line(self, key: LineKey, position: Position) -> Line:
        """The line of that key; a new one begins at ``position``."""
        line = self._lines.get(key)
        if line is None:
            state = self._past[key].state() if key in self._past else None
            line = self._lines[key] = self._made(key, position, state)
        return line

    def _made(self, key: LineKey, position: Position, state: dict[str, Any] | None) -> Line:
        of = LINES[key.track_type]
        if key.media_id == MIX:
            from rokuga.render.mix.line import MixLine  # brings numpy, which single-stream recordings do without

            of = MixLine
        return of(key, self._timeline(), self._known(), self._peek, position, state)

    def _forget(self, key: LineKey) -> None:
        line = self._lines.pop(key)
        self._tracks = {number: other for number, other in self._tracks.items() if other is not line}

    def _known(self) -> Settings:
        if self.settings is None:
            raise JournalError("the journal has a track before any parameters")
        return self.settings

    def _timeline(self) -> Timeline:
        return Timeline(self._header.epoch_ns, self._header.epoch_utc_ns, HEAD_START_90K + self._known().pts_base_90k)
