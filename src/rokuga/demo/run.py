"""The demo from its first line to its last."""

import asyncio
import json
import secrets
import signal
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rokuga import logs
from rokuga.api.media import media_key, media_url
from rokuga.clock import monotonic_ns, utc_ms
from rokuga.demo.client import Client
from rokuga.demo.receiver import Event, Receiver
from rokuga.demo.show import Screen, received, size, tree, uploaded
from rokuga.demo.system import DemoError, System
from rokuga.demo.verify import Track, verify
from rokuga.folders import DataFolder
from rokuga.publish import Publisher, Source, generate, look_of
from rokuga.publish.run import cache_folder

ROOM = "demo room"
BUCKET = "demo"
PICTURE = (640, 360)
SCREEN = (1280, 720)
JOIN_SECONDS = 20.0
UPLOAD_SECONDS = 60.0
GONE_SECONDS = 70.0
MISSING_SECONDS = 5.0
"""A recording may be this much shorter than the time for which it ran."""
LINK_SECONDS = 7 * 86400
INTERRUPTED = 130
"""Exit code after a signal, as shells have it."""


@dataclass(frozen=True)
class User:
    """Who publishes what: ``expects`` are the index files that must come of it, as (MediaId, kind)."""

    name: str
    sources: tuple[Source, ...]
    what: str

    @property
    def expects(self) -> list[tuple[str, str]]:
        names: dict[Source, tuple[str, str]] = {"audio": ("main", "audio"), "video": ("main", "video"), "aux": ("aux", "video")}
        return [names[source] for source in self.sources]


USERS = (
    User("alice", ("audio", "video"), "camera and microphone"),
    User("bob", ("audio",), "microphone only"),
    User("carol", ("audio", "video", "aux"), "camera, microphone and a shared screen"),
)


@dataclass
class Outcome:
    """What was recorded and which checks failed."""

    task_id: str
    folder: Path
    tracks: list[Track]
    events: list[Event]
    failures: list[str]


class Demo:
    """One run; ``seconds`` is how long it records."""

    def __init__(self, data: Path, seconds: float) -> None:
        self._data = data
        self._seconds = seconds
        self._screen = Screen()

    async def run(self, keep: bool) -> int:
        """The exit code. Raises DemoError, RoomError, PublishError, TencentCloudSDKException."""
        say = self._screen.say
        say(f"Rokuga demo. All its files are below {self._data}")
        receiver = Receiver(secrets.token_hex(16))
        environ = {
            "ROKUGA_SERVER__PORT": "0",
            "ROKUGA_APPS__0__CALLBACK_URL": receiver.url,
            "ROKUGA_APPS__0__CALLBACK_KEY": receiver.key,
        }
        async with receiver, System(self._data, environ) as system, AsyncExitStack() as room:
            say(f"The system runs: API {system.api}, Janus {system.janus.url}")
            await self._publish(system, room)
            outcome = await self._record(system, receiver)
            self._report(system, outcome)
            for failure in outcome.failures:
                say(f"FAILED: {failure}")
            if keep:
                await self._stay(system)
            await room.aclose()
            code = await system.stop()
            if code != 0:
                outcome.failures.append(f"rokuga up ended with {code}")
                say(f"FAILED: {outcome.failures[-1]}")
        return self._conclude(outcome)

    async def _publish(self, system: System, room: AsyncExitStack) -> None:
        self._screen.say(f"Publishing into room {ROOM!r} (the first time, the pictures are drawn now):")
        for user in USERS:
            clip = await asyncio.to_thread(generate, look_of(user.name, width=PICTURE[0], height=PICTURE[1], flash=False), cache_folder())
            screen = None
            if "aux" in user.sources:
                look = look_of(f"{user.name}'s screen", width=SCREEN[0], height=SCREEN[1], fps=5, flash=False)
                screen = await asyncio.to_thread(generate, look, cache_folder())
            await room.enter_async_context(Publisher(system.janus, ROOM, user.name, clip, sources=user.sources, aux=screen))
            self._screen.say(f"  {user.name}: {user.what}")

    async def _record(self, system: System, receiver: Receiver) -> Outcome:
        say = self._screen.say
        client = Client(system.api, system.app)
        task_id = await client.create(ROOM, BUCKET)
        folder = DataFolder(self._data).store / BUCKET / task_id
        say(f"CreateCloudRecording by the official SDK: TaskId {task_id}")
        outcome = Outcome(task_id, folder, [], receiver.events, [])
        started = await receiver.wait(301, seconds=JOIN_SECONDS)
        if started is None or started.payload != {"Status": 0}:
            raise DemoError(f"the recorder did not start; logs: {self._data}/log")
        await self._watch(client, outcome)
        listed = await client.describe(task_id)
        say("DeleteCloudRecording; what is left goes up")
        await client.delete(task_id)
        if await receiver.wait(305, seconds=UPLOAD_SECONDS) is None:
            outcome.failures.append(f"no event 305 (upload ended) within {UPLOAD_SECONDS:.0f} s")
        self._check_list(listed, outcome)
        await self._check_gone(client, outcome)
        say("Decoding every file")
        await asyncio.to_thread(self._check_files, outcome)
        self._check_events(outcome)
        return outcome

    async def _watch(self, client: Client, outcome: Outcome) -> None:
        begin = monotonic_ns()
        told = 0
        while (second := (monotonic_ns() - begin) / 1e9) < self._seconds:
            for event in outcome.events[told:]:
                self._screen.say(f"  callback {event}")
                told += 1
            described = await client.describe(outcome.task_id)
            files = described["StorageFileList"] or []
            segments, stored = uploaded(outcome.folder)
            users = len({file["UserId"] for file in files})
            self._screen.progress(
                int(second),
                f"  {second:3.0f} s  {described['Status']}  users {users}  tracks {len(files)}"
                f"  received {size(received(self._data, outcome.task_id))}  segments uploaded {segments} ({size(stored)})",
            )
            await asyncio.sleep(min(1.0, max(0.05, self._seconds - second)))

    def _check_list(self, listed: dict[str, Any], outcome: Outcome) -> None:
        if listed["Status"] != "InProgress":
            outcome.failures.append(f"Describe said {listed['Status']} while it recorded")
        wanted = Counter(f"{user.name} {kind}" for user in USERS for _, kind in user.expects)
        found = Counter(f"{file['UserId']} {file['TrackType']}" for file in listed["StorageFileList"] or [])
        for what, which in (("did not list", wanted - found), ("lists too much", found - wanted)):
            if which:
                outcome.failures.append(f"Describe {what}: {', '.join(which.elements())}")

    async def _check_gone(self, client: Client, outcome: Outcome) -> None:
        from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

        try:
            async with asyncio.timeout(GONE_SECONDS):
                while True:
                    await client.describe(outcome.task_id)
                    await asyncio.sleep(0.5)
        except TencentCloudSDKException as error:
            if error.get_code() != "ResourceNotFound":
                outcome.failures.append(f"Describe after the end: {error.get_code()}, not ResourceNotFound")
        except TimeoutError:
            outcome.failures.append("the task does not end")

    def _check_files(self, outcome: Outcome) -> None:
        sizes = {"main": PICTURE, "aux": SCREEN}
        least = self._seconds - MISSING_SECONDS
        for path in sorted(outcome.folder.glob("*.m3u8")):
            media_id = "aux" if "__UserId_e_aux_" in path.name else "main"
            outcome.tracks.append(verify(path, least, sizes[media_id] if path.name.endswith("_video.m3u8") else None))
        outcome.tracks.sort(key=lambda track: (track.user_id, track.media_id != "main", track.kind != "video"))
        wanted = {(user.name, *track) for user in USERS for track in user.expects}
        found = {(track.user_id, track.media_id, track.kind) for track in outcome.tracks}
        outcome.failures += [f"no index file of {' '.join(track)}" for track in sorted(wanted - found)]
        outcome.failures += [f"an index file too many: {' '.join(track)}" for track in sorted(found - wanted)]
        outcome.failures += [f"{track.file}: {problem}" for track in outcome.tracks for problem in track.problems]

    def _check_events(self, outcome: Outcome) -> None:
        events = outcome.events
        files = sum(len(user.expects) for user in USERS)
        for kind, count in ((301, 1), (303, 1), (307, files), (304, files), (302, 1), (305, 1)):
            came = sum(event.type == kind for event in events)
            if came != count:
                outcome.failures.append(f"{came} events {kind} came, not {count}")
        for kind, payload in ((302, {"LeaveCode": 0}), (305, {"Status": 0})):
            outcome.failures += [f"event {kind} says {e.payload}" for e in events if e.type == kind and e.payload != payload]
        if not all(event.signed for event in events):
            outcome.failures.append("a callback's Sign is wrong")
        if events and events[-1].type != 305:
            outcome.failures.append(f"the last event is {events[-1].type}, not 305")

    def _report(self, system: System, outcome: Outcome) -> None:
        say = self._screen.say
        for line in tree(outcome.folder, outcome.tracks):
            say(line)
        video = next((track for track in outcome.tracks if track.kind == "video"), None)
        if video is not None:
            link = media_url(system.api, media_key(system.config), BUCKET, outcome.task_id, utc_ms() // 1000 + LINK_SECONDS)
            say("To play one:")
            say(f"  ffplay '{outcome.folder / video.file}'        (or open that file in VLC)")
            say(f"  while the system runs (--keep), in Chromium: {link}{video.file}")

    async def _stay(self, system: System) -> None:
        say = self._screen.say
        say("The system and its users stay (--keep); Ctrl-C ends them. To record again, point an SDK here:")
        say(f"  endpoint {system.api}, SdkAppId {system.app.sdk_app_id}, SecretId {system.app.secret_id}, room {ROOM!r}")
        say(f"  SecretKey and more: {self._data}/rokuga.toml; a UserSig: rokuga usersig recorder_2 --data {self._data}")
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()

    def _conclude(self, outcome: Outcome) -> int:
        ok = not outcome.failures
        if ok:
            self._screen.say(f"All checks passed. The files stay in {outcome.folder}")
        tracks = [track.facts() for track in outcome.tracks]
        facts = {"ok": ok, "task_id": outcome.task_id, "folder": str(outcome.folder), "tracks": tracks, "failures": outcome.failures}
        facts["events"] = [event.type for event in outcome.events]
        self._screen.say(json.dumps(facts, ensure_ascii=False))
        return 0 if ok else 1


async def demo(data: Path | None, seconds: float, keep: bool) -> int:
    """Run the demo; the exit code. An error at any step is told as a failed check; a signal ends it, system and all."""
    from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

    from rokuga.errors import RokugaError

    folder = (data or Path(tempfile.mkdtemp(prefix="rokuga-demo-"))).absolute()
    logs.configure("demo", DataFolder(folder).logs)
    working = asyncio.create_task(Demo(folder, seconds).run(keep))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    try:
        return await working
    except asyncio.CancelledError:
        return INTERRUPTED
    except (RokugaError, OSError) as error:
        told = str(error)
    except TencentCloudSDKException as error:
        told = f"{error.get_code()}: {error.get_message()} (RequestId {error.get_request_id()})"
    print(f"FAILED: {told}", flush=True)
    print(f"Logs: {folder}/log", file=sys.stderr)
    print(json.dumps({"ok": False, "failures": [told]}, ensure_ascii=False), flush=True)
    return 1
