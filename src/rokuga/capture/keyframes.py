"""When to ask a publisher for a keyframe, per video track. Pure.

Browsers send none by themselves, so every cut needs our request; publishers of ready-made media cannot answer one, and then
asking on is of no use.
"""

SECOND = 1_000_000_000
LEAD_NS = SECOND // 4
"""The answer takes 50 to 200 ms, and we ask up to a tick (100 ms) late: 0.2 s before the cut in the middle."""
EARLY_NS = 2 * SECOND // 5
"""A keyframe that comes by itself so shortly before the end of a segment ends it (render cuts up to half a second early)."""
FIRST_SEGMENT_NS = 6 * SECOND
"""A playlist's first segment may be cut this early, so that all playlists exist soon after the start."""
INTERVAL_NS = 30 * SECOND
"""No resume decodes more than this."""
PAUSE_NS = SECOND
"""Packets that come after so long a silence are a camera that was off: its encoder may go on without a keyframe."""
ANSWER_NS = 3 * SECOND // 2
LEAST_NS = SECOND
BROKEN_NS = SECOND // 2
"""A picture that is broken now is worth asking for twice a second, whoever did not answer before: the request may be lost, too."""
MOST_NS = 30 * SECOND


class KeyframeAsker:
    """Tell it what came with ``media`` and ``lost``; ``due`` says whether and why to ask now. Times are monotonic ns."""

    def __init__(self, segment_seconds: float) -> None:
        self._segment_ns = round(segment_seconds * SECOND)
        self._wanted: str | None = "start"
        self._cut: int | None = None
        """when the current segment began"""
        self._first = True
        self._keyframe = 0
        self._media: int | None = None
        self._asked: int | None = None
        self._unanswered = 0

    def media(self, keyframe: bool, now_ns: int) -> None:
        """A whole frame came (``now_ns``: its arrival)."""
        paused = self._media is not None and now_ns - self._media > PAUSE_NS
        self._media = now_ns
        if not keyframe:
            if paused:
                self._wanted = self._wanted or "resume"
            return
        if self._asked is not None and now_ns - self._asked <= ANSWER_NS:
            self._unanswered = 0
        self._wanted = None
        self._keyframe = now_ns
        if self._cut is None:
            self._cut = now_ns
        elif now_ns - self._cut >= self._target() - EARLY_NS:
            self._cut = now_ns
            self._first = False

    def lost(self) -> None:
        """A frame is lost, or will be most likely."""
        self._wanted = self._wanted or "loss"

    def layer(self) -> None:
        """Another simulcast layer has been chosen and does not come: it begins with a keyframe."""
        self._wanted = self._wanted or "layer"

    def due(self, now_ns: int) -> str | None:
        """The reason to send a PLI now (it counts as sent), or None."""
        reason = self._reason(now_ns)
        if reason is None:
            return None
        if self._asked is not None:
            # Who never answered is asked less and less.
            patience = BROKEN_NS if reason == "loss" else min(LEAST_NS << min(max(self._unanswered - 2, 0), 5), MOST_NS)
            if now_ns - self._asked < patience:
                return None
            if self._keyframe < self._asked:
                self._unanswered += 1
        self._asked = now_ns
        return reason

    def _target(self) -> int:
        return min(FIRST_SEGMENT_NS, self._segment_ns) if self._first else self._segment_ns

    def _reason(self, now_ns: int) -> str | None:
        if self._wanted is not None:
            return self._wanted
        if self._cut is None or self._media is None or now_ns - self._media > PAUSE_NS:
            return None  # nobody sends: nobody answers
        if now_ns - self._cut >= self._target() - LEAD_NS:
            return "segment"
        if now_ns - self._keyframe >= INTERVAL_NS:
            return "interval"
        return None
