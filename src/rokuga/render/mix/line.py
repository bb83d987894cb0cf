"""The fold of a mixed recording: everybody's frames and what happens in the room in, segments of one picture and one sound out.

It begins with the first media that come. Output pictures are at a constant rate from there on, segments are whole numbers of them, and
AAC frames run through. Decisions are made ``WAIT_NS`` behind the journal's end: everything up to there has come, of all tracks. While
nobody is in the room nothing is decided beyond the last media, so that a room that stays empty ends the recording there.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

from rokuga.journal.reader import Arrived, Position
from rokuga.journal.records import End, Params, RoomEvent, Tick, TrackClosed, TrackOpened
from rokuga.render.audio import BLOCK, RATE, packet_samples
from rokuga.render.clock import AHEAD_NS, Settled
from rokuga.render.line import Line, Noted, Track
from rokuga.render.look import Look as Pictures
from rokuga.render.mix.audience import Audience
from rokuga.render.mix.marks import Mark, marks_of
from rokuga.render.mix.plan import MixAudio, MixPlan, files_of
from rokuga.render.mix.reel import Reel
from rokuga.render.mix.scene import MixVideo, Picture
from rokuga.render.mix.settings import Output
from rokuga.render.mix.sound import reach
from rokuga.render.mix.stage import View, stage
from rokuga.render.mix.voice import VoiceTrack
from rokuga.render.plan import Plan, Ref

WAIT_NS = AHEAD_NS + 2_200_000_000
"""Times are settled so late, and capture holds frames back up to 2 s."""
GUESSED_FRAME_90K = 6_000


class MixLine(Line):
    """See the module. Units: PTS in 90 kHz; sound in samples at 48 kHz from the mix's first one on."""

    many = True

    def _restore(self, state: dict[str, Any]) -> None:
        raw = self._settings.raw
        self._output = Output.of(raw.get("transcode") or {})
        self._has_video, self._has_audio = self._settings.stream_type != 1, self._settings.stream_type != 2
        self._over = False
        self._audience = Audience.load(state.get("audience", {}))
        self._params: dict[str, Any] = state.get("params", {"layout": raw.get("layout") or {}, "images": raw.get("images") or {}})
        self._view = View.load(state["view"]) if "view" in state else View((), self._params)
        """how the open segment begins"""
        self._changes = [(pts, View.load(view)) for pts, view in state.get("changes", [])]
        """and what changes later, in order"""
        self._reels = {number: Reel.load(reel) for number, reel in state.get("reels", [])}
        self._pictures = {number: Pictures(self._peek, look) for number, look in state.get("looks", [])}
        self._voices = {number: VoiceTrack.load(voice) for number, voice in state.get("voices", [])}
        self._closed: dict[int, int] = dict(state.get("closed", []))
        """tracks that are over, and since when (PTS): what they brought may still be due"""
        self._begin: int | None = state.get("begin")
        self._frame_number = int(state.get("frame", 0))
        self._block = int(state.get("block", -1))
        self._until = int(state.get("until", 0))
        """up to where there were media, or somebody in the room"""

    def _save(self) -> dict[str, Any]:
        return {
            "audience": self._audience.save(),
            "params": self._params,
            "view": self._view.save(),
            "changes": [[pts, view.save()] for pts, view in self._changes],
            "reels": [[number, reel.save()] for number, reel in self._reels.items()],
            "looks": [[number, look.save()] for number, look in self._pictures.items()],
            "voices": [[number, voice.save()] for number, voice in self._voices.items()],
            "closed": [[number, pts] for number, pts in self._closed.items()],
            "begin": self._begin,
            "frame": self._frame_number,
            "block": self._block,
            "until": self._until,
        }

    def _is_open(self) -> bool:
        return self._begin is not None

    def is_past(self, now_ns: int) -> bool:
        return False

    def _files(self) -> set[int]:
        return files_of(*(reel.pictures for reel in self._reels.values()), *(voice.voices for voice in self._voices.values()))

    def _hurries(self) -> bool:
        return self._over

    def note(self, noted: Noted) -> None:
        if isinstance(noted.record, Tick):
            return
        self._queue.append(noted)
        self._over = self._over or isinstance(noted.record, End)

    def _noted(self, noted: Noted) -> Iterator[Plan]:
        record, pts = noted.record, self._timeline.pts(noted.at_ns)
        match record:
            case RoomEvent():
                if record.event == "left" or (record.event == "restarted" and self._audience.orders):
                    self._until = max(self._until, pts)
                if record.event == "restarted":
                    self._closed |= dict.fromkeys(self._audience.tracks, pts)
                self._audience.room(record.event, record.user_id, record.order)
            case TrackOpened():
                self._audience.opened(record.track, record.user_id, record.media_id, record.kind)
            case TrackClosed():
                self._audience.closed(record.track)
                self._closed[record.track] = pts
            case Params():
                self._params = {"layout": record.params.get("layout") or {}, "images": record.params.get("images") or {}}
            case End():
                if self._audience.orders:
                    self._until = max(self._until, pts)
                yield from self._decide(inf)
                return
        view = View.of(self._audience, self._params)
        if view != (self._changes[-1][1] if self._changes else self._view):
            self._changes.append((max(pts, self._changes[-1][0] if self._changes else 0), view))

    def advance(self, now_ns: int, after: Position) -> Iterator[Plan]:
        # Once it has begun, frames that are due together are settled track by track, which is less work: no decision lies between them.
        if self._begin is not None:
            for number, frames in self._due(now_ns).items():
                track = self._tracks[number]
                self._take(track, frames, track.clock.settle_next(len(frames)))
        yield from super().advance(now_ns, after)

    def _due(self, now_ns: int) -> dict[int, list[Arrived]]:
        """The frames in front of the queue that can be settled, by track."""
        queue, latest, until = self._queue, self._last_arrival, now_ns - AHEAD_NS
        due: dict[int, list[Arrived]] = {}
        while queue:
            frame = queue[0]
            if not isinstance(frame, Arrived) or frame.arrival_ns > until:
                break
            queue.popleft()
            latest = max(latest, frame.arrival_ns)
            frames = due.get(frame.track)
            if frames is None:
                frames = due[frame.track] = []
            frames.append(frame)
        self._last_arrival = latest
        return due

    def _frame(self, track: Track, item: Arrived, settled: Settled) -> Iterable[Plan]:
        self._take(track, [item], [settled])
        return ()

    def _take(self, track: Track, frames: list[Arrived], settled: list[Settled]) -> None:
        if track.kind == "audio":
            if self._has_audio:
                self._hear(track, frames, settled)
        elif self._has_video:
            for frame, time in zip(frames, settled, strict=True):
                self._see(track, frame, time)

    def _hear(self, track: Track, frames: list[Arrived], settled: list[Settled]) -> None:
        number, codec, rate, pts_of, new = track.number, track.codec, track.rate, self._timeline.pts, tuple.__new__
        voice = self._voices.get(number)
        for item, (room_ns, _, restarted) in zip(frames, settled, strict=True):
            samples = packet_samples(codec, item)
            if not samples:
                continue
            # Half a packet earlier: see the clock.
            pts = pts_of(room_ns - samples * 500_000_000 // RATE)
            until = pts + samples * 90_000 // RATE
            if self._begin is None or until > self._until:
                self._media(pts, until)
            assert self._begin is not None
            rtp = item.rtp_time if rate == RATE else item.rtp_time * RATE // rate
            if voice is None:
                voice = self._voices[number] = VoiceTrack()
            # As Ref(...) does it, without the Python function in between.
            ref = new(Ref, (item.position, item.size, 0, samples, 0, False, codec, 0))
            voice.add(ref, rtp, (pts - self._begin) * RATE // 90_000, restarted)

    def _see(self, track: Track, item: Arrived, settled: Settled) -> None:
        look, reel = self._pictures.get(track.number), self._reels.get(track.number)
        if look is None or reel is None:
            look = self._pictures[track.number] = Pictures(self._peek, {})
            reel = self._reels[track.number] = Reel()
        key, missing = look.at(item, track.codec)
        pts = self._timeline.pts(settled.room_ns)
        # Half an output picture earlier: it is shown in that which is nearest, not in the next one, and so stays in step with its sound.
        shown = max(pts - 45_000 // self._output.fps, reel.last_pts + 1)
        ref = tuple.__new__(Ref, (item.position, item.size, shown, 0, 0, key, track.codec, item.orientation))
        if reel.add(Picture(ref, missing)):
            self._media(pts, pts + GUESSED_FRAME_90K)

    def _media(self, pts: int, until: int) -> None:
        if self._begin is None:
            self._begin = pts
            self._began = True
            for at, view in self._changes:
                if at <= pts:
                    self._view = view
            self._changes = [(at, view) for at, view in self._changes if at > pts]
        self._until = max(self._until, until)

    def _end(self) -> Iterator[Plan]:
        return iter(())  # tracks come and go

    def _passed(self, now_ns: int) -> Iterator[Plan]:
        if self._begin is not None and not self._over:
            yield from self._decide(self._timeline.pts(now_ns - WAIT_NS))

    def _decide(self, horizon: float) -> Iterator[Plan]:
        """All segments that end before the horizon; with an infinite one, all that there will be."""
        if self._begin is None:
            return
        final = horizon == inf
        known = horizon - reach(self._output.rate)[1] * 90_000 / RATE
        limit = self._until if final or not self._audience.orders else inf
        while True:
            count = round(self._wanted_seconds() * self._output.fps)
            end = self._pts(self._frame_number + count)
            if end > min(known, limit):
                break
            yield self._cut(count)
        if final:
            rest = -((self._begin - self._until) * self._output.fps // 90_000) - self._frame_number
            if rest > 0:
                yield self._cut(rest)

    def _pts(self, number: int) -> int:
        """Of an output picture."""
        assert self._begin is not None
        return self._begin + number * 90_000 // self._output.fps

    def _block_pts(self, block: int) -> int:
        assert self._begin is not None
        return self._begin + block * BLOCK * 90_000 // self._output.rate

    def _cut(self, count: int) -> MixPlan:
        begin, end = self._pts(self._frame_number), self._pts(self._frame_number + count)
        head = self._head(begin, end, False)
        video = self._video(head.begin_ms, count, end) if self._has_video else None
        audio = self._audio(end) if self._has_audio else None
        plan = MixPlan(head, video, self._marks(video, end) if video else (), audio)
        self._frame_number += count
        self._forget(end)
        self._began = True
        return plan

    def _views(self, end: int) -> list[tuple[int, View]]:
        """How the segment's pictures look from which one on, counted from its first."""
        views = [(0, self._view)]
        for pts, view in self._changes:
            number = max(0, -((self._pts(self._frame_number) - pts) * self._output.fps // 90_000))
            if pts >= end or self._pts(self._frame_number + number) >= end:
                break
            views = [v for v in views if v[0] < number] + [(number, view)]
        return views

    def _video(self, begin_ms: int, count: int, end: int) -> MixVideo:
        out = self._output
        pts = tuple(self._pts(self._frame_number + number) for number in range(count))
        black = self._settings.black
        numbers, scenes = stage(out, pts, end, self._views(end), self._reels, black)
        sources = tuple(self._reels[number].between(pts[0], end) if number in self._reels else () for number in numbers)
        return MixVideo(out.width, out.height, out.fps, out.video_bit_rate, out.gop_seconds, pts, begin_ms, sources, scenes)

    def _marks(self, video: MixVideo, end: int) -> tuple[tuple[Mark, ...], ...]:
        """Of each scene; a view has several when a camera stops or comes back."""
        views = self._views(end)
        found = ([view for first, view in views if first <= scene.first][-1].params for scene in video.scenes)
        return tuple(marks_of(params["layout"], params["images"]) for params in found)

    def _audio(self, end: int) -> MixAudio:
        """The AAC frames up to the one that the end falls into; of the last segment, too: its end is the last sound's."""
        assert self._begin is not None
        out = self._output
        first = self._block
        last = (end - self._begin) * RATE // 90_000 * out.rate // RATE // BLOCK
        pts = tuple(self._block_pts(number) for number in range(first, max(last, first + 1)))
        before, after = reach(out.rate)
        low = first * BLOCK * RATE // out.rate - before
        high = (first + len(pts)) * BLOCK * RATE // out.rate + after
        voices = (voice.between(low, high) for voice in self._voices.values())
        self._block = first + len(pts)
        return MixAudio(out.rate, out.channels, out.audio_bit_rate, first, pts, tuple(v for v in voices if v))

    def _forget(self, end: int) -> None:
        """The segment up to there is decided."""
        for pts, view in self._changes:
            if pts <= end:
                self._view = view
        self._changes = [(pts, view) for pts, view in self._changes if pts > end]
        low = self._block * BLOCK * RATE // self._output.rate - reach(self._output.rate)[0]
        for reel in self._reels.values():
            reel.forget(end)
        for voice in self._voices.values():
            voice.forget(low)
        for number, since in list(self._closed.items()):
            if since <= end and (number not in self._voices or self._voices[number].end <= low):
                del self._closed[number]
                for kept in (self._reels, self._pictures, self._voices):
                    kept.pop(number, None)
