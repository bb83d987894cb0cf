"""What the live tests of capture share: a capture process to talk to, its journal, a bad network."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from rokuga import ipc
from rokuga.capture.orders import Start, start_message
from rokuga.config import Janus
from rokuga.control.model import Params
from rokuga.folders import Generation
from rokuga.journal.reader import Damage, Entry, JournalReader
from rokuga.journal.records import Frame, Loss, Record, TrackClosed, TrackOpened
from rokuga.publish.clip import Unit, nal_units
from rokuga.room.protocol import Layer, Room, RoomChange, Stream, Subscription
from tests.capture.pictures import decode

ANSWER_NS = 2_000_000_000
"""within which a keyframe comes that was asked for"""

PARAMS = Params(sdk_app_id=1, room_id="room", room_id_type=0, user_id="bot")


async def until(seen: Callable[[], object], seconds: float = 90) -> None:
    """Poll until ``seen`` is true."""
    async with asyncio.timeout(seconds):
        while not seen():
            await asyncio.sleep(0.05)


@dataclass
class Journal:
    """Everything that a generation's journal says."""

    folder: Path
    entries: list[Entry] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    payloads: dict[int, bytes] = field(default_factory=dict)
    epoch_ns: int = 0

    def __post_init__(self) -> None:
        with JournalReader(self.folder) as reader:
            for item in reader.read():
                if isinstance(item, Damage):
                    self.damage.append(item)
                    continue
                if isinstance(item.record, Frame):
                    self.payloads[len(self.entries)] = reader.payload(item.position, item.payload_bytes)
                self.entries.append(item)
            self.epoch_ns = reader.header.epoch_ns if reader.header else 0

    @property
    def records(self) -> list[Record]:
        return [entry.record for entry in self.entries]

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]

    def losses(self) -> list[Loss]:
        return self.of(Loss)

    def tracks(self, user: str, kind: str, media: str = "main") -> list[TrackOpened]:
        return [t for t in self.of(TrackOpened) if (t.user_id, t.kind, t.media_id) == (user, kind, media)]

    def track(self, user: str, kind: str, media: str = "main") -> TrackOpened:
        """The only one."""
        (track,) = self.tracks(user, kind, media)
        return track

    def closed(self, track: TrackOpened) -> str:
        """Why it was closed."""
        (record,) = [r for r in self.of(TrackClosed) if r.track == track.track]
        return str(record.cause)

    def frames(self, track: TrackOpened) -> list[tuple[Frame, bytes]]:
        """Its frames with their bytes."""
        found = []
        for index, data in self.payloads.items():
            record = self.entries[index].record
            assert isinstance(record, Frame)
            if record.track == track.track:
                found.append((record, data))
        return found

    def shown(self, user: str, codec: str) -> tuple[int, int] | None:
        """Width and height of the user's last keyframe; None: there is none yet."""
        tracks = self.tracks(user, "video")
        keys = [data for frame, data in self.frames(tracks[0]) if frame.keyframe] if tracks else []
        return decode(codec, keys[-1:])[0] if keys else None

    def playable(self, track: TrackOpened) -> list[tuple[Frame, bytes]]:
        """The video from where it can be decoded on: what a publisher that was there before us sends until it has heard that we
        need a keyframe begins with none."""
        frames = self.frames(track)
        first = next(n for n, (frame, _) in enumerate(frames) if frame.keyframe)
        assert frames[first][0].first_arrival_ns - frames[0][0].first_arrival_ns < ANSWER_NS
        return frames[first:]


def units_of(data: bytes, video: bool) -> tuple[bytes, ...]:
    """What of a frame must arrive unchanged: its NAL units; audio as it is."""
    return tuple(nal_units(data)) if video else (data,)


def place_in(sent: Sequence[Unit], frames: Sequence[tuple[Frame, bytes]], video: bool) -> int | None:
    """Where in ``sent`` the frames lie without a hole, byte for byte and in step; None if they do not."""
    wanted = [(unit.pts, units_of(unit.data, video)) for unit in sent]
    got = [(frame.rtp_time, units_of(data, video)) for frame, data in frames]
    for start in range(len(wanted) - len(got) + 1):
        shift = got[0][0] - wanted[start][0]
        if all(w[1] == g[1] and w[0] + shift == g[0] for w, g in zip(wanted[start:], got, strict=False)):
            return start
    return None


class CaptureProcess:
    """``async with``: a capture process that waits for ``start``, with a connection to it."""

    def __init__(self, folder: Path, task: str = "task") -> None:
        self.generation = Generation(folder)
        self.events: list[ipc.Message] = []
        self._task_id = task
        self._answers: dict[int, asyncio.Future[ipc.Message]] = {}
        self._count = 0
        self.process: asyncio.subprocess.Process
        self._reader: asyncio.Task[None]
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        arguments = ["-m", "rokuga.capture", str(self.generation.folder), self._task_id, "0"]
        self.process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=sys.stderr)
        try:
            async with asyncio.timeout(30):
                while True:
                    try:
                        reader, self._writer = await ipc.connect(self.generation.capture_socket)
                        break
                    except OSError:
                        await asyncio.sleep(0.05)
        except BaseException:
            await self.kill()
            raise
        self._reader = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.kill()
        self._writer.close()
        await self._reader

    async def kill(self) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    async def request(self, do: str, **fields: Any) -> ipc.Message:
        self._count += 1
        future = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await ipc.send(self._writer, {"do": do, "id": self._count, **fields})
        return await asyncio.wait_for(future, 30)

    async def start(self, janus: Janus, params: Params = PARAMS, predecessor: int = 0) -> ipc.Message:
        message = start_message(Start(params, 1, janus, predecessor), 0)
        return await self.request("start", **{k: v for k, v in message.items() if k not in ("do", "id")})

    async def stop(self, leave_code: int = 0, cause: str = "deleted") -> None:
        """Stop it and see it exit in order."""
        assert (await self.request("stop", leave_code=leave_code, cause=cause))["ok"]
        await self.exited()

    async def exited(self, seconds: float = 30) -> None:
        assert await asyncio.wait_for(self.process.wait(), seconds) == 0

    def journal(self) -> Journal:
        return Journal(self.generation.journal)

    async def until_journal(self, seen: Callable[[Journal], object], seconds: float = 90) -> None:
        """Poll the journal until it says so."""
        await until(lambda: self.generation.journal.exists() and seen(self.journal()), seconds)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while (message := await ipc.receive(reader)) is not None:
            if "event" in message:
                self.events.append(message)
            else:
                self._answers.pop(message["id"]).set_result(message)


class Way:
    """``async with``: a TCP way to a Janus that can be cut. ``config`` leads over it."""

    def __init__(self, janus: Janus) -> None:
        self._to = urlsplit(janus.url)
        self._janus = janus
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.mend()
        self.config = self._janus.model_copy(update={"url": f"ws://127.0.0.1:{self._port}"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End what goes over it, and let nobody in."""
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._open |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()
        self._open.discard(writer)


class BadNetwork:
    """A UDP relay between one subscription and Janus that loses packets to us; ``rewrite`` leads an offer through it."""

    def __init__(self, loss: float, seed: int, burst_every: float = 0, burst: int = 20) -> None:
        self.loss = loss
        self.dropped = 0
        self._dice = random.Random(seed)
        self._burst_every = burst_every
        self._burst = burst
        self._burst_at = 0.0
        self._left = 0
        self._inside: asyncio.DatagramTransport
        self._outside: asyncio.DatagramTransport
        self._us: Any = None
        self._janus: tuple[str, int]

    async def open(self, janus: tuple[str, int]) -> tuple[str, int]:
        """Our own address in front of Janus'."""
        loop = asyncio.get_running_loop()
        self._janus = janus
        relay = self

        class Inside(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                relay._us = addr
                relay._outside.sendto(data, relay._janus)

        class Outside(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                if relay._us is not None and not relay._loses(data):
                    relay._inside.sendto(data, relay._us)

        self._inside, _ = await loop.create_datagram_endpoint(Inside, (janus[0], 0))
        self._outside, _ = await loop.create_datagram_endpoint(Outside, (janus[0], 0))
        self._burst_at = loop.time() + self._burst_every
        address: tuple[str, int] = self._inside.get_extra_info("sockname")[:2]
        return address

    def calm(self) -> None:
        """From now on nothing is lost."""
        self.loss, self._burst_every, self._left = 0, 0, 0

    def close(self) -> None:
        self._inside.close()
        self._outside.close()

    def _loses(self, data: bytes) -> bool:
        if not 128 <= data[0] <= 191 or 192 <= data[1] <= 223:
            return False  # STUN, DTLS, RTCP
        now = asyncio.get_running_loop().time()
        if self._burst_every and now >= self._burst_at:
            self._burst_at = now + self._burst_every
            self._left = self._burst
        lose = self._left > 0 or self._dice.random() < self.loss
        self._left = max(self._left - 1, 0)
        self.dropped += lose
        return lose


class BadSubscription:
    """A subscription whose media come through a BadNetwork."""

    def __init__(self, inner: Subscription, network: BadNetwork) -> None:
        self.stream = inner.stream
        self._inner = inner
        self._network = network
        self._via: tuple[str, int] | None = None

    def on_layer(self, listener: Callable[[str, int], None]) -> None:
        self._inner.on_layer(listener)

    async def offers(self) -> AsyncIterator[str]:
        async for sdp in self._inner.offers():
            lines = []
            for line in sdp.splitlines():
                if line.startswith("a=candidate:"):
                    words = line.split()
                    if self._via is None:
                        self._via = await self._network.open((words[4], int(words[5])))
                    words[4], words[5] = self._via[0], str(self._via[1])
                    line = " ".join(words)
                lines.append(line)
            yield "\r\n".join(lines) + "\r\n"

    async def answer(self, sdp: str) -> None:
        # Janus must not find the way around the relay.
        await self._inner.answer("\r\n".join(line for line in sdp.splitlines() if not line.startswith("a=candidate")) + "\r\n")

    async def update(self, stream: Stream) -> None:
        self.stream = stream
        await self._inner.update(stream)

    async def layers(self, wanted: Mapping[str, Layer]) -> None:
        await self._inner.layers(wanted)

    async def close(self) -> None:
        if self._via is not None:
            self._network.close()
        await self._inner.close()


class BadRoom:
    """A room in which every subscription has a BadNetwork of its own."""

    def __init__(self, inner: Room, make: Callable[[], BadNetwork]) -> None:
        self._inner = inner
        self._make = make
        self.session_id = inner.session_id
        self.networks: list[BadNetwork] = []

    def changes(self) -> AsyncIterator[RoomChange]:
        return self._inner.changes()

    async def subscribe(self, stream: Stream) -> Subscription:
        network = self._make()
        self.networks.append(network)
        return BadSubscription(await self._inner.subscribe(stream), network)


@asynccontextmanager
async def ticking(tick: Callable[[], object], seconds: float = 0.02) -> AsyncIterator[None]:
    """Call it every so often in the background."""

    async def run() -> None:
        while True:
            await asyncio.sleep(seconds)
            tick()

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
