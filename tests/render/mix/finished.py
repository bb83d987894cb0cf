"""Short mixed recordings, from what a request says and who does what to the finished file read back as a player sees it."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from rokuga.api.recompose import changes
from rokuga.folders import Generation
from rokuga.journal.records import Params, RoomEvent
from rokuga.publish.clip import Kind
from rokuga.render.mix.canvas import views
from rokuga.render.mix.colour import Rgb
from rokuga.render.mix.layout import MediaName
from tests.kit.rendered import rendered
from tests.render.material import PARAMS, SECOND, JournalMaker, opus
from tests.render.mix.film import Seen, film

SIZE = (160, 90)
"""of the canvas and of the cameras"""
BIT_RATE = 1_000_000
PTS_BEGIN = 10
"""seconds at which a recording's presentation times begin"""


def video(width: int = SIZE[0], height: int = SIZE[1], fps: int = 15, bit_rate: int = BIT_RATE) -> dict[str, Any]:
    """VideoParams."""
    return {"Width": width, "Height": height, "Fps": fps, "BitRate": bit_rate, "Gop": 10}


class Call(JournalMaker):
    """The journal of a mixed recording. Parameters are a request's JSON and go through the API's own checks."""

    def __init__(
        self,
        folder: Path,
        layout: dict[str, Any] | None = None,
        transcode: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
        images: dict[str, str] | None = None,
        segment_seconds: float = 10,
    ) -> None:
        """``images``: of the layout's URLs, those that have been fetched, and the names of their files."""
        self.into = Generation(folder)
        self._segment_seconds = segment_seconds
        self._asked = {
            "RecordParams": {"RecordMode": 2, **(record or {})},
            "MixTranscodeParams": {"VideoParams": video()} if transcode is None else transcode,
        }
        super().__init__(self.into.journal, params=self._params(layout, images))
        self._versions = 1

    def _params(self, layout: dict[str, Any] | None, images: dict[str, str] | None) -> dict[str, Any]:
        asked = self._asked | ({"MixLayoutParams": {"MixLayoutMode": 3, **layout}} if layout is not None else {})
        own = {"images": images or {}, "segment_seconds": self._segment_seconds}
        return {**PARAMS, **changes(json.dumps(asked).encode()), **own}

    def modify(self, at: float, layout: dict[str, Any] | None, images: dict[str, str] | None = None) -> None:
        """From then on it looks like that; or the images have been fetched."""
        self._versions += 1
        self.add(round(at * SECOND), Params(self._versions, self._params(layout, images)))

    def image(self, name: str, content: bytes) -> None:
        """As the node leaves what it has fetched."""
        self.into.images.mkdir(parents=True, exist_ok=True)
        (self.into.images / name).write_bytes(content)

    def joins(self, at: float, name: str, order: int) -> None:
        self.add(round(at * SECOND), RoomEvent("joined", name, order))

    def leaves(self, at: float, name: str) -> None:
        self.add(round(at * SECOND), RoomEvent("left", name))

    def sees(self, begin: float, end: float, name: str, colour: Rgb, media: MediaName = "main", stops: float = 0) -> int:
        """A camera or a screen in one colour, open from ``begin`` to ``end``; it sends up to ``stops`` if that is given. Its track."""
        track = self.track(round(begin * SECOND), name, "video", media)
        self.video(track, round(begin * SECOND), (stops or end) - begin, film(colour, 64, *SIZE))
        self.close(round(end * SECOND), track, "unpublished")
        return track

    def hears(self, begin: float, end: float, name: str, tone: float) -> int:
        """A microphone with a tone."""
        track = self.track(round(begin * SECOND), name, "audio")
        self.audio(track, round(begin * SECOND), end - begin, opus(4, beep_every=0.1, tone=tone))
        self.close(round(end * SECOND), track, "unpublished")
        return track

    def user(self, begin: float, end: float, name: str, order: int, colour: Rgb | None = None, tone: float = 0) -> None:
        """Somebody who is there from ``begin`` to ``end`` with what is given."""
        self.joins(begin, name, order)
        if colour is not None:
            self.sees(begin, end, name, colour)
        if tone:
            self.hears(begin, end, name, tone)
        self.leaves(end, name)

    def finished(self, seconds: float) -> "Finished":
        """Render it."""
        self.write(round(seconds * SECOND))
        return Finished.of(self.into)


@dataclass
class Finished:
    """The file: pictures with their times in seconds of the journal, and the sound (samples, channels) from ``begin`` on."""

    index: Path
    pictures: list[tuple[float, Seen]]
    sound: NDArray[np.float32]
    begin: float
    rate: int

    @staticmethod
    def of(generation: Generation) -> "Finished":
        ((_, index),) = asyncio.run(rendered(generation)).items()
        return Finished.read(index)

    @staticmethod
    def read(index: Path) -> "Finished":
        pictures: list[tuple[float, Seen]] = []
        sound: list[tuple[float, NDArray[np.float32]]] = []
        rate = 0
        for kind, time, frame in _frames(index):
            if kind == "video":
                y, u, v = views(frame)
                pictures.append((time, (y.copy(), u.copy(), v.copy())))
            else:
                rate = frame.sample_rate
                sound.append((time, np.stack([np.frombuffer(bytes(p), np.float32)[: frame.samples] for p in frame.planes], axis=1)))
        whole = np.concatenate([samples for _, samples in sound]) if sound else np.zeros((0, 0), np.float32)
        return Finished(index, pictures, whole, sound[0][0] if sound else 0.0, rate)

    def at(self, second: float) -> Seen:
        """What is seen then."""
        return [seen for time, seen in self.pictures if time <= second + 0.001][-1]

    def between(self, begin: float, end: float) -> list[Seen]:
        return [seen for time, seen in self.pictures if begin <= time < end]

    def level(self, tone: float, begin: float, end: float, channel: int = 0) -> float:
        """Of a tone between two times; full scale is 1."""
        return abs(self.tone(tone, begin, end, channel))

    def tone(self, tone: float, begin: float, end: float, channel: int = 0) -> complex:
        """Its level and phase."""
        first, last = (round((at - self.begin) * self.rate) for at in (begin, end))
        part = self.sound[first:last, channel]
        wave = np.hanning(len(part)) * np.exp(-2j * np.pi * tone / self.rate * np.arange(len(part)))
        return complex(4 * np.sum(part * wave) / len(part))


def _frames(index: Path) -> Iterator[tuple[Kind, float, Any]]:
    with av.open(str(index)) as container:
        for frame in container.decode():
            assert frame.time is not None
            kind: Literal["audio", "video"] = "video" if isinstance(frame, av.VideoFrame) else "audio"
            yield kind, frame.time - PTS_BEGIN, frame
