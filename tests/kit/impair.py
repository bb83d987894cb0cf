"""What a bad network does to packets: loses, delays, doubles and reorders them. Pure: dice with a seed, time as an argument."""

import random
from collections import Counter
from dataclasses import dataclass

PASSED, LOSS, BURST, BLACKOUT, QUEUE, DUPLICATE = "passed", "loss", "burst", "blackout", "queue", "duplicate"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Times in seconds. Everything off: a good network."""

    loss: float = 0.0
    """probability for each packet"""
    burst: int = 0
    burst_every: float = 0.0
    """``burst`` packets in a row are lost every so often, for the first time after so long"""
    delay: float = 0.0
    jitter: float = 0.0
    """added to the delay, evenly spread from 0 to this"""
    reorder: bool = True
    """whether jitter lets packets overtake each other"""
    duplicate: float = 0.0
    """probability for each packet; the second one has a jitter of its own"""
    blackouts: tuple[tuple[float, float], ...] = ()
    """(from, to): nothing that is sent then arrives"""
    rate: float = 0.0
    """bytes per second that fit through; 0: any number"""
    queue: float = 0.2
    """what waits longer than this for the rate is lost"""


CALM = Conditions()


class Impairment:
    """One direction of a network. ``counts`` says what became of its packets, by the constants of this module."""

    def __init__(self, seed: int, conditions: Conditions = CALM) -> None:
        self.counts: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._conditions = conditions
        self._burst_at: float | None = None
        self._burst_left = 0
        self._latest = 0.0
        """when the last packet that keeps its place arrives"""
        self._free_at = 0.0
        """when the rate has room again"""

    @property
    def conditions(self) -> Conditions:
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        """From the next packet on; bursts are counted anew."""
        self._conditions = conditions
        self._burst_at, self._burst_left = None, 0

    def decide(self, now: float, size: int) -> tuple[str, tuple[float, ...]]:
        """PASSED or why it is lost, and when it arrives: never, once or twice. ``now`` must not run backwards."""
        fate = self._fate(now, size)
        self.counts[fate] += 1
        if fate != PASSED:
            return fate, ()
        c = self._conditions
        arrivals = [self._arrival(now)]
        if c.duplicate and self._dice.random() < c.duplicate:
            self.counts[DUPLICATE] += 1
            arrivals.append(self._arrival(now))
        return fate, tuple(arrivals)

    def _fate(self, now: float, size: int) -> str:
        c = self._conditions
        if any(start <= now < end for start, end in c.blackouts):
            return BLACKOUT
        if self._bursts(now):
            return BURST
        if c.loss and self._dice.random() < c.loss:
            return LOSS
        if c.rate:
            if self._free_at - now > c.queue:
                return QUEUE
            self._free_at = max(self._free_at, now) + size / c.rate
        return PASSED

    def _bursts(self, now: float) -> bool:
        c = self._conditions
        if not c.burst_every:
            return False
        if self._burst_at is None:
            self._burst_at = now + c.burst_every
        if now >= self._burst_at:
            self._burst_at += c.burst_every
            self._burst_left = c.burst
        self._burst_left -= 1
        return self._burst_left >= 0

    def _arrival(self, now: float) -> float:
        c = self._conditions
        start = max(now, self._free_at) if c.rate else now
        arrival = start + c.delay + (self._dice.random() * c.jitter if c.jitter else 0.0)
        if not c.reorder:
            arrival = self._latest = max(arrival, self._latest)
        return arrival
