"""Media tracks that hand pre-encoded units to aiortc's senders, in step with one clock."""

import asyncio
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rokuga.publish.clip import Clip, Kind, Unit, clock_of

START_SECONDS = 0.5
"""A track whose first unit is asked for this early after the other's begins with it at time 0, not in the middle."""


class Pace:
    """When a clip's time 0 was: set by whichever track sends first, so that the kinds start at the same instant."""

    def __init__(self) -> None:
        self._zero: float | None = None

    def position(self) -> float:
        """Seconds of the clip's time that have passed; starts the clock."""
        now = asyncio.get_running_loop().time()
        if self._zero is None:
            self._zero = now
        return now - self._zero


class ClipTrack(MediaStreamTrack):
    """One m-line's media. A unit leaves when its time has come, never before; late ones are sent, not dropped, and all at a time.

    ``paused`` is a camera or microphone that is off: nothing is sent, time goes on, and the first picture afterwards is a
    keyframe. Units before ``delay`` seconds are left out. ``sent`` is what was handed over, if asked for.
    """

    def __init__(self, kind: Kind, clip: Clip, pace: Pace, delay: float, sent: list[Unit] | None) -> None:
        super().__init__()
        self.kind = kind
        self.paused = False
        self._clock = clock_of(kind)
        self._time_base = Fraction(1, self._clock)
        self._units: Iterator[Unit] = clip.rounds(kind)
        self._pace = pace
        self._from = delay
        self._begun = False
        self._wait_for_key = True
        self._sent = sent

    async def recv(self) -> "av.Packet[Any]":
        """The next unit, at its time."""
        if not self._begun:
            self._begun = True
            position = self._pace.position()
            if position > START_SECONDS:
                self._from = max(self._from, position)
        for unit in self._units:
            due = unit.pts / self._clock
            if due < self._from:
                continue
            wait = due - self._pace.position()
            if wait > 0:
                await asyncio.sleep(wait)
            if self.paused:
                self._wait_for_key = True
                continue
            if self._wait_for_key and not unit.key:
                continue
            self._wait_for_key = False
            packet = av.Packet(unit.data)
            packet.pts = packet.dts = unit.pts
            packet.time_base = self._time_base
            if self._sent is not None:
                self._sent.append(unit)
            return packet
        raise MediaStreamError
