"""Picture and sound of each user of a mix stay together, whatever their clocks and whenever their tracks began."""

import asyncio
from pathlib import Path
from statistics import fmean, pstdev

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from rokuga.folders import Generation
from rokuga.hls import playlist
from rokuga.journal.records import RoomEvent
from rokuga.publish import generate
from rokuga.publish.clip import Kind, clock_of
from rokuga.publish.media import Look
from rokuga.publish.run import cache_folder
from rokuga.render import main as render
from rokuga.render.mix.canvas import views
from rokuga.storage import spool
from rokuga.storage.spool import Segment
from tests.kit.media_checks import WHITE, offsets, watch
from tests.render.material import SECOND, JournalMaker

pytestmark = pytest.mark.live

SECONDS = 24
WIDTH, HEIGHT = 320, 180
MEAN, DEVIATION = 0.040, 0.025
"""seconds; an output picture of 15 a second is up to half of 67 ms from the one that was sent"""
PEOPLE = {"alice": (0.0, 0.0, 200e-6), "bob": (0.45, 3.0, -200e-6)}
"""When they come (their flashes and beeps are that much apart), how much later their sound begins, how wrong their clocks go."""


def publish(maker: JournalMaker, name: str, order: int) -> None:
    came, silent, skew = PEOPLE[name]
    clip = generate(Look(name=name, width=WIDTH, height=HEIGHT, bitrate=200_000, gop=1), cache_folder())
    maker.add(int(came * SECOND), RoomEvent("joined", name, order))
    kinds: tuple[Kind, Kind] = ("video", "audio")
    for kind in kinds:
        clock = clock_of(kind)
        begin = came + (silent if kind == "audio" else 0.0)
        track = maker.track(int(begin * SECOND), name, kind)
        base = 1_000_000 * (order + 1)
        for unit in clip.rounds(kind):
            at = came + unit.pts / clock / (1 + skew)
            if at >= SECONDS:
                break
            if at >= begin:
                maker._frame(track, int(at * SECOND), base + unit.pts, unit.data, unit.key)
        maker.close(SECONDS * SECOND, track)


def flashes(index: Path) -> dict[str, list[float]]:
    """Of each user's half of the picture."""
    found: dict[str, list[float]] = {name: [] for name in PEOPLE}
    with av.open(str(index)) as container:
        for frame in container.decode(video=0):
            assert isinstance(frame, VideoFrame)
            assert frame.time is not None
            luma = views(frame)[0][8:-8:8]
            for name, half in zip(PEOPLE, (luma[:, 16 : WIDTH - 16 : 16], luma[:, WIDTH + 16 : -16 : 16]), strict=True):
                if int(np.min(half)) > WHITE:
                    found[name].append(frame.time)
    return found


def test_everybodys_picture_is_in_step_with_their_sound(tmp_path: Path) -> None:
    video = {"Width": 2 * WIDTH, "Height": HEIGHT, "Fps": 15, "BitRate": 600_000, "Gop": 10}
    maker = JournalMaker(tmp_path / "journal", params={"record_mode": 2, "transcode": {"VideoParams": video}})
    for order, name in enumerate(PEOPLE):
        publish(maker, name, order)
    maker.write((SECONDS + 1) * SECOND)
    asyncio.run(render.run(Generation(tmp_path)))
    segments = [entry for _, entry in spool.read_manifest(tmp_path / "spool") if isinstance(entry, Segment)]
    index = tmp_path / "spool" / "index.m3u8"
    index.write_text(playlist.render(segments, ended=True))
    seen = watch(index)
    assert seen.problems == []
    assert seen.audio is not None
    for name, lights in flashes(index).items():
        _, silent, _ = PEOPLE[name]
        found = offsets([t for t in lights if t - lights[0] >= silent], seen.audio.marks)
        assert len(found) >= SECONDS - silent - 3, (name, found)
        assert abs(fmean(found)) <= MEAN, (name, fmean(found))
        assert pstdev(found) <= DEVIATION, (name, pstdev(found))
