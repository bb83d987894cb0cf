"""Mixed recordings of a real room through the official SDK: who is where and who is heard, before and after each Modify."""

import asyncio
import io
import time
from contextlib import AsyncExitStack
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rokuga.demo.verify import verify
from rokuga.folders import DataFolder
from rokuga.publish import Publisher, generate
from rokuga.publish.media import Look
from rokuga.publish.run import cache_folder
from rokuga.render.compose import compose
from tests.kit.browser import SIMULCAST, chromium
from tests.kit.journals import opened
from tests.kit.media_checks import playlist, playlists, watch
from tests.kit.receiver import Receiver
from tests.kit.running import Running, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

COLOURS = {"alice": (200, 40, 40), "bob": (40, 180, 60)}
TONES = {"alice": 400, "bob": 700}
HEARD = 0.008
"""A tone has 0.04 of full scale."""
VIDEO = {"Width": 640, "Height": 360, "Fps": 15, "BitRate": 800_000, "Gop": 10}


class Pictures(BaseHTTPRequestHandler):
    """Serves one image."""

    def do_GET(self) -> None:
        made = io.BytesIO()
        Image.new("RGB", (64, 64), (250, 240, 20)).save(made, "PNG")
        self.send_response(200 if self.path == "/logo.png" else 404)
        self.end_headers()
        self.wfile.write(made.getvalue() if self.path == "/logo.png" else b"")

    def log_message(self, *_: object) -> None:
        pass


def near(found: tuple[int, ...], wanted: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 30 for a, b in zip(found, wanted, strict=True))


def look(name: str) -> Look:
    red, green, blue = COLOURS[name]
    return Look(name=name, colour=f"#{red:02x}{green:02x}{blue:02x}", tone=TONES[name], flash=False)


class Seen:
    """A finished index's pictures and sound: colour of a point at a UTC second, level of a tone."""

    def __init__(self, index: Path) -> None:
        self.frames: list[tuple[float, Any]] = []
        self.sound: list[tuple[float, NDArray[np.float32]]] = []
        for entry in playlist(index).entries:
            with av.open(str(index.parent / entry.name)) as container:
                frames = list(container.decode())
            first = next(f.time for f in frames if isinstance(f, av.VideoFrame))
            assert first is not None
            began = int(entry.tags["EXT-X-TRTC-FILE-ATTR"].split(",")[0]) / 1000
            for frame in frames:
                at = began + (frame.time or 0) - first
                if isinstance(frame, av.VideoFrame):
                    self.frames.append((at, frame))
                elif isinstance(frame, av.AudioFrame):
                    self.sound.append((at, np.frombuffer(bytes(frame.planes[0]), np.float32)[: frame.samples]))

    def at(self, utc: float, x: int, y: int) -> tuple[int, ...]:
        frame = [f for t, f in self.frames if t <= utc][-1]
        colour = frame.to_image().getpixel((x, y))
        assert isinstance(colour, tuple)
        return colour

    def first(self, x: int, y: int, colour: tuple[int, int, int], since: float) -> float:
        """When that point has that colour for the first time from ``since`` on."""
        return next(t for t, f in self.frames if t >= since and near(f.to_image().getpixel((x, y)), colour))

    def hears(self, name: str, begin: float, end: float) -> bool:
        """Whether a user's tone is there between two UTC seconds."""
        heard = np.concatenate([samples for at, samples in self.sound if begin <= at < end])
        wave = np.hanning(len(heard)) * np.exp(-2j * np.pi * TONES[name] / 48_000 * np.arange(len(heard)))
        return bool(4 * abs(np.sum(heard * wave)) / len(heard) > HEARD)


async def test_a_room_in_one_picture(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    clips = {name: await asyncio.to_thread(generate, look(name), cache_folder()) for name in COLOURS}
    logo = {"WaterMarkType": 0, "WaterMarkImage": {"WaterMarkUrl": f"{base}/logo.png", "Top": 320, "Left": 560, "Width": 64, "Height": 32}}
    gone = {"WaterMarkType": 0, "WaterMarkImage": {"WaterMarkUrl": f"{base}/gone.png", "Top": 0, "Left": 0, "Width": 64, "Height": 32}}
    grid = {"MixLayoutMode": 3, "BackGroundColor": "#1e3cc8", "WaterMarkList": [logo, gone]}
    floating = grid | {"MixLayoutMode": 1, "MaxResolutionUserId": "bob"}
    seen_only = grid | {"PureAudioDisableLayout": True}
    try:
        async with (
            Receiver() as receiver,
            Running(tmp_path, callback_url=receiver.url, recorder={"image_deny": ["169.254.0.0/16"]}) as system,
            AsyncExitStack() as stack,
        ):
            await stack.enter_async_context(Publisher(system.janus, "room", "alice", clips["alice"]))
            task_id = await system.create("room", record={"RecordMode": 2}, MixTranscodeParams={"VideoParams": VIDEO}, MixLayoutParams=grid)
            ears_id = await system.create("room", bot="ears", record={"RecordMode": 2, "StreamType": 1})
            await receiver.wait_for(307, task_id=task_id)
            alone = time.time() - 4  # what was cut is older than that
            await stack.enter_async_context(Publisher(system.janus, "room", "bob", clips["bob"]))
            await until(lambda: any(user == "bob" for user, _, kind in opened(system.data, task_id) if kind == "video"))
            await asyncio.sleep(6)  # what is recorded
            both = time.time() - 1
            before = time.time()
            await system.modify(task_id, MixLayoutParams=floating)
            answered = time.time()
            await asyncio.sleep(3)
            unseen = time.time()
            await system.modify(task_id, MixLayoutParams=seen_only, SubscribeStreamUserIds={"UnSubscribeVideoUserIds": ["bob"]})
            unseen_answered = time.time()
            await asyncio.sleep(2.5)
            blocked = {"UnSubscribeVideoUserIds": ["bob"], "UnSubscribeAudioUserIds": ["bob"]}
            unheard = time.time()
            await system.modify(task_id, MixLayoutParams=seen_only, SubscribeStreamUserIds=blocked)
            unheard_answered = time.time()
            await asyncio.sleep(2.5)
            described = await system.describe(task_id)
            sound_described = await system.describe(ears_id)
            for task in (task_id, ears_id):
                await system.delete(task)
            for task in (task_id, ears_id):
                await receiver.wait_for(305, task_id=task)
            (index,), (sound,) = (playlists(system.store(task)) for task in (task_id, ears_id))
            events = [r.type for r in receiver.events(task_id)]
            cuts = [[r.payload for r in receiver.events(task) if r.type == 307] for task in (task_id, ears_id)]
    finally:
        server.shutdown()
        server.server_close()
    for description, (cut,), kind in zip((described, sound_described), cuts, ("audio_video", "audio"), strict=True):
        told = [*description["StorageFileList"], cut]
        assert [(f["UserId"], f["TrackType"], f["FileName"]) for f in told] == [("", kind, index.name)] * 2
    assert index.name.endswith("_cm9vbQ...m3u8")
    lines = watch(sound)
    assert (lines.problems, lines.video) == ([], None)
    assert lines.audio is not None
    assert events.count(309) == 1
    assert verify(index, 15).problems == []
    # Rendered again from what was kept, it is the same byte for byte.
    (again,) = await asyncio.to_thread(compose, DataFolder(system.data).generation(task_id, 0).journal, {}, tmp_path / "again")
    hashes = [{path.name: sha256(path.read_bytes()).hexdigest() for path in at.parent.glob("*.ts")} for at in (index, again)]
    assert len(hashes[0]) >= 2
    assert hashes[0] == hashes[1]
    assert playlist(again).entries == playlist(index).entries
    seen = Seen(index)
    assert near(seen.at(alone, 60, 300), COLOURS["alice"])
    assert near(seen.at(both, 60, 90), COLOURS["alice"])
    assert near(seen.at(both, 380, 90), COLOURS["bob"])
    assert near(seen.at(both, 590, 335), (250, 240, 20)), "the watermark"
    changed = seen.first(40, 30, COLOURS["bob"], before - 1)
    assert before - 0.2 < changed < answered + 1
    assert near(seen.at(changed + 1, 40, 340), COLOURS["alice"]), "small, at the bottom left"
    # Without bob's video alice's place is the whole picture; he is still heard, until that is blocked, too.
    changed = seen.first(40, 30, COLOURS["alice"], unseen - 1)
    assert unseen - 0.2 < changed < unseen_answered + 1
    assert near(seen.at(changed + 1, 600, 30), COLOURS["alice"])
    assert seen.hears("bob", unseen_answered + 1, unheard - 0.1)
    assert not seen.hears("bob", unheard_answered + 1, unheard_answered + 2.2)
    assert seen.hears("alice", unheard_answered + 1, unheard_answered + 2.2)


@pytest.mark.browser
async def test_browsers_with_simulcast_are_mixed_and_the_mix_plays_in_a_browser(tmp_path: Path) -> None:
    """Two of three layers fill the places of two users."""
    blue = {"MixLayoutMode": 3, "BackGroundColor": "#1e3cc8"}
    async with (
        Receiver() as receiver,
        Running(tmp_path, callback_url=receiver.url, recorder={"segment_seconds": 4}) as system,
        chromium() as browser,
    ):
        for codec in ("vp8", "h264"):
            await browser.publish(system.janus, "room", codec, codec, 640, 360, layers=SIMULCAST)
        task_id = await system.create("room", record={"RecordMode": 2}, MixTranscodeParams={"VideoParams": VIDEO}, MixLayoutParams=blue)
        await receiver.wait_for(307, task_id=task_id)
        (name,) = await system.files(task_id)
        await asyncio.sleep(8)  # what is recorded
        await system.delete(task_id)
        await receiver.wait_for(305, task_id=task_id)
        (index,) = playlists(system.store(task_id))
        played = await browser.play(system.url(task_id, name), rate=2)
        assert (played.error, played.ended) == ("", True), played.log
        assert (played.width, played.height) == (640, 360)
        assert played.time > 10
        logs = (system.data / "tasks" / task_id / "g0").glob("*.log*")
        assert "cannot choose a simulcast layer" not in "".join(path.read_text() for path in logs)
    seen = watch(index)
    assert seen.problems == []
    assert seen.video is not None
    assert seen.audio is not None
    frames = Seen(index).frames
    middle = frames[len(frames) // 2][1].to_image()
    for x in (160, 480):
        colour = middle.getpixel((x, 100))
        assert isinstance(colour, tuple)
        assert not near(colour, (30, 60, 200)), "somebody is there, not the background"
