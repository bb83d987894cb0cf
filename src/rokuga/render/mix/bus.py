"""Tracks, decoded and added up."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rokuga.render.audio import OPUS_STEREO, SILENT_BYTES
from rokuga.render.decode import SAMPLE
from rokuga.render.mix.plan import Voice
from rokuga.render.mix.stretch import REACH, stretch
from rokuga.render.plan import Ref
from rokuga.render.sound import Payload, decoded


class Bus:
    """The sum of all tracks from mix time ``begin`` on: (samples, channels), of which full scale is 1 and may be exceeded.

    A mono track is decoded and added in one channel even if the mix has two: that costs three quarters.
    """

    def __init__(self, begin: int, samples: int, channels: int) -> None:
        self._begin = begin
        self._samples = samples
        self._channels = channels
        self._sums: dict[int, NDArray[np.float32]] = {}

    def add(self, voices: Sequence[Voice], payload: Payload) -> None:
        """A track's packets in order. Where one begins before the one in front of it is over, that dies away meanwhile."""
        begin = 0
        for index in range(1, len(voices) + 1):
            if index == len(voices) or voices[index].at < voices[index - 1].at + voices[index - 1].length:
                self._add_track(voices[begin:index], payload)
                begin = index

    def sum(self) -> NDArray[np.float32]:
        total = np.zeros((self._samples, self._channels), np.float32)
        for sound in self._sums.values():
            total += sound
        return total

    def _add_track(self, voices: Sequence[Voice], payload: Payload) -> None:
        packets = [v.ref for v in voices]
        heard = [p for p in packets if p.size > SILENT_BYTES or p.codec != "opus"]
        data = dict(zip(map(id, heard), map(payload, heard), strict=True))
        stereo = self._channels == 2 and any(p.codec == "opus" and (data[id(p)] or b"\0")[0] & OPUS_STEREO for p in heard)
        channels = 2 if stereo else 1

        def read(ref: Ref) -> bytes:
            known = data.get(id(ref))
            return payload(ref) if known is None else known

        # In the track's own time, packets take the time that they have; what is between them is as in the mix.
        times = [0]
        for voice, after in pairwise(voices):
            times.append(times[-1] + voice.ref.samples + after.at - voice.at - voice.length)
        stretched = [index for index, voice in enumerate(voices) if voice.length != voice.ref.samples]
        ends = voices[-1].at + voices[-1].length < self._begin + self._samples
        for time, sound in _joined(decoded(packets, times, read, channels, begins=True, ends=ends), channels):
            # A piece begins with a packet: a hole is filled only behind one.
            at = voices[bisect_left(times, time)].at
            done = 0
            first, last = (bisect_left(stretched, border, key=times.__getitem__) for border in (time, time + len(sound)))
            padded = np.pad(sound, ((REACH, REACH), (0, 0))) if first < last else sound
            for index in stretched[first:last]:
                begin, voice = times[index] - time, voices[index]
                self._put(at, sound[done:begin])
                done = begin + voice.ref.samples
                self._put(voice.at, stretch(padded[begin : done + 2 * REACH], voice.length))
                at = voice.at + voice.length
            self._put(at, sound[done:])

    def _put(self, at: int, sound: NDArray[np.float32]) -> None:
        channels = sound.shape[1]
        if channels not in self._sums:
            self._sums[channels] = np.zeros((self._samples, channels), np.float32)
        begin = at - self._begin
        low, high = max(begin, 0), min(begin + len(sound), self._samples)
        if low < high:
            self._sums[channels][low:high] += sound[low - begin : high - begin]


def _joined(pieces: Iterable[tuple[int, bytes]], channels: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pieces that follow at once as one: (samples, channels)."""
    size = SAMPLE * channels
    begin = end = 0
    held: list[bytes] = []
    for time, piece in pieces:
        if held and time != end:
            yield begin, np.frombuffer(b"".join(held), np.float32).reshape(-1, channels)
            held.clear()
        if not held:
            begin = time
        held.append(piece)
        end = time + len(piece) // size
    if held:
        yield begin, np.frombuffer(b"".join(held), np.float32).reshape(-1, channels)
