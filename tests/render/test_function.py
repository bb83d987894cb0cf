"""Render is a function of the journal: killed, resumed or undisturbed, it leaves the same playlists and segments, byte for byte."""

import asyncio
import hashlib
import itertools
import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rokuga import clock
from rokuga.folders import Generation
from rokuga.hls import playlist
from rokuga.journal.reader import Entry, JournalReader, Position, files
from rokuga.journal.records import Params, RoomEvent
from rokuga.render import main as render
from rokuga.render.checkpoint import Trim, read_checkpoint
from rokuga.render.fold import Fold
from rokuga.render.mix.plan import MixPlan
from rokuga.render.mix.video import Encoder
from rokuga.render.plan import AudioPlan, MergedPlan, Plan, Ref, VideoPlan
from rokuga.storage import spool
from rokuga.storage.spool import Finished, Segment
from tests.kit.stills import png
from tests.render.killed import noting_canvases
from tests.render.material import PARAMS, SECOND, JournalMaker, beeping_pcm, coded, h264, opus

Outcome = dict[str, tuple[str, list[Segment], str]]
pytestmark = pytest.mark.live

PHONE = (1, 1, 0, 0, 0, 3, 2, 0, 5, 1, 1)
"""How a phone is held."""
KILLS = ["segment", "segment", "manifest", "manifest", "checkpoint", *["record"] * 25]
TIMES = {"apart": len(KILLS), "merged": 12, "mixed": 8}
"""how often it is killed"""


def make_journal(folder: Path) -> None:
    """Three minutes: joins, a camera and a microphone that stop, losses, a change of size, a user who returns, a screen, bad packets."""
    maker = JournalMaker(folder, seed=5)
    small, large, rare = h264(320, 180, 10), h264(480, 270, 8), h264(256, 144, 8, gop=60, annexb_sets=False)
    sound = opus(10)
    random_ = random.Random(9)

    alice = maker.track(SECOND, "alice", "video"), maker.track(SECOND, "alice", "audio")
    maker.video(alice[0], SECOND + 300_000_000, 60, small, lost=frozenset({100, 101, 450}), orientations=PHONE)
    maker.video(alice[0], SECOND + 300_000_000 + 60 * SECOND, 110, large, rtp=90_000 * 61, lost=frozenset(random_.sample(range(1600), 12)))
    maker.audio(alice[1], SECOND + 200_000_000, 171, sound, lost=frozenset(random_.sample(range(8000), 60)) | frozenset(range(4000, 4030)))

    bob = maker.track(20 * SECOND, "bob", "video"), maker.track(20 * SECOND, "bob", "audio")
    maker.video(bob[0], 20 * SECOND + 500_000_000, 30, small)
    # The camera stops for 8 s; when it returns its clock has gone on.
    maker.video(bob[0], 58 * SECOND + 500_000_000, 40, small[20:], rtp=90_000 * 39)
    maker.audio(bob[1], 20 * SECOND + 400_000_000, 50, sound)
    maker.audio(bob[1], 75 * SECOND + 400_000_000, 24, sound, rtp=48_000 * 56)
    for track in bob:
        maker.close(100 * SECOND, track)
    bob = maker.track(120 * SECOND, "bob", "video"), maker.track(120 * SECOND, "bob", "audio")
    maker.video(bob[0], 121 * SECOND, 47, small, rtp=2**32 - 90_000)
    maker.audio(bob[1], 121 * SECOND, 47, sound, rtp=2**32 - 48_000)

    screen = maker.track(30 * SECOND, "carol", "video", "aux")
    maker.video(screen, 31 * SECOND, 120, rare)
    maker.close(152 * SECOND, screen, "unpublished")
    broken = maker.track(40 * SECOND, "dave", "audio")
    maker.audio(broken, 41 * SECOND, 20, (b"\xff\xff", b"\x0b", b"\xfc\x01\x02", *sound[:5]))

    erin = maker.track(60 * SECOND, "erin", "video", codec="vp8"), maker.track(60 * SECOND, "erin", "audio", codec="pcma")
    maker.video(erin[0], 61 * SECOND, 40, coded("vp8", 192, 108, 10), lost=frozenset({77, 300}), orientations=PHONE)
    maker.audio(erin[1], 61 * SECOND, 40, beeping_pcm("pcma", 10), rtp=8_000, rate=8_000, lost=frozenset(range(500, 510)))
    for track in erin:
        maker.close(102 * SECOND, track)
    erin = maker.track(110 * SECOND, "erin", "video", codec="vp9"), maker.track(110 * SECOND, "erin", "audio")
    maker.video(erin[0], 111 * SECOND, 15, coded("vp9", 192, 108, 10))
    # A microphone that is muted for a while, then one in stereo.
    maker.audio(erin[1], 111 * SECOND, 25, (*opus(10, channels=1), *[b"\x78\x00\x00\x00"] * 400), lost=frozenset(range(600, 620)))
    maker.audio(erin[1], 136 * SECOND, 12, sound, rtp=48_000 * 26)
    # Somebody who is forgotten before the return.
    for at in (2, 150):
        frank = maker.track(at * SECOND, "frank", "audio")
        maker.audio(frank, at * SECOND, 8, sound)
        maker.close((at + 9) * SECOND, frank)
    maker.write(180 * SECOND, file_seconds=8)


def make_merged_journal(folder: Path) -> None:
    """80 s with sound and picture in one file: cameras and microphones that come late, stop and return, another codec, a return."""
    maker = JournalMaker(folder, seed=6, params={"av_merge": 1, "fill_type": 1})
    small, other, sound = h264(192, 108, 10), coded("vp8", 192, 108, 10), opus(10)
    alice = maker.track(SECOND, "alice", "audio"), maker.track(SECOND, "alice", "video")
    maker.audio(alice[0], SECOND, 35, sound, lost=frozenset(range(700, 740)))
    maker.audio(alice[0], 48 * SECOND, 30, sound, rtp=5)
    maker.video(alice[1], 3 * SECOND, 16, small, lost=frozenset({100}), orientations=PHONE)
    maker.video(alice[1], 45 * SECOND, 12, small, rtp=90_000 * 43)
    maker.close(58 * SECOND, alice[1])
    again = maker.track(59 * SECOND, "alice", "video", codec="vp8")
    maker.video(again, 60 * SECOND, 19, other)
    bob = maker.track(10 * SECOND, "bob", "video", codec="vp8"), maker.track(12 * SECOND, "bob", "audio", codec="pcmu")
    maker.video(bob[0], 11 * SECOND, 20, other, orientations=PHONE)
    maker.audio(bob[1], 12 * SECOND, 25, beeping_pcm("pcmu", 10), rtp=8_000, rate=8_000)
    for track in bob:
        maker.close(40 * SECOND, track)
    back = maker.track(50 * SECOND, "bob", "audio")
    maker.audio(back, 50 * SECOND, 20, sound)
    maker.video(maker.track(30 * SECOND, "bob", "video", "aux"), 31 * SECOND, 20, small)
    for at in (2, 72):
        carol = maker.track(at * SECOND, "carol", "audio")
        maker.audio(carol, at * SECOND, 4, sound)
        maker.close((at + 5) * SECOND, carol)
    maker.write(80 * SECOND, file_seconds=8)


def make_mixed_journal(folder: Path) -> None:
    """40 s of everybody in one picture: layouts, a screen, a phone, losses, other codecs, a stopped camera, an empty room, watermarks."""
    video = {"Width": 160, "Height": 90, "Fps": 15, "BitRate": 200_000, "Gop": 10}
    mixed = {"record_mode": 2, "fill_type": 1, "segment_seconds": 4, "transcode": {"VideoParams": video}}
    url = "https://h/face.png"
    clock_, text = {"Pos": 2, "TimeZone": 9}, {"Top": 0, "Left": 0, "Width": 80, "Height": 20, "Chars": "録画 rec"}
    marks = [{"WaterMarkType": 2, "WaterMarkTimestamp": clock_}, {"WaterMarkType": 1, "WaterMarkChar": text}]
    grid = {"MixLayoutMode": 3, "WaterMarkList": marks, "PlaceHolderMode": 1, "DefaultSubBackgroundImage": url}
    floating = {"MixLayoutMode": 1, "MaxResolutionUserId": "bob", "BackGroundColor": "#123456", "RenderMode": 2}
    folder.with_name("images").mkdir(parents=True)
    (folder.with_name("images") / "face.png").write_bytes(png((40, 40)))
    maker = JournalMaker(folder, seed=7, params={**mixed, "layout": grid})
    maker.add(3 * SECOND, Params(2, {**PARAMS, **mixed, "layout": grid, "images": {url: "face.png"}}))
    maker.add(12 * SECOND + 123_000_000, Params(3, {**PARAMS, **mixed, "layout": floating}))
    maker.add(20 * SECOND, Params(4, {**PARAMS, **mixed, "layout": grid, "images": {url: "face.png"}}))
    small, sound = h264(192, 108, 10), opus(10)
    maker.add(0, RoomEvent("joined", "alice", 0))
    alice = maker.track(0, "alice", "audio"), maker.track(0, "alice", "video")
    maker.audio(alice[0], SECOND // 2, 27, sound, lost=frozenset(range(300, 330)))
    maker.video(alice[1], SECOND // 2, 9, small, lost=frozenset({50, 51}), orientations=PHONE)
    maker.video(alice[1], 16 * SECOND, 12, small, rtp=90_000 * 17)
    maker.add(5 * SECOND, RoomEvent("joined", "bob", 1))
    bob = maker.track(5 * SECOND, "bob", "video", codec="vp8"), maker.track(6 * SECOND, "bob", "audio", codec="pcma")
    maker.video(bob[0], 6 * SECOND, 21, coded("vp8", 192, 108, 10), lost=frozenset({100}))
    maker.audio(bob[1], 6 * SECOND, 21, beeping_pcm("pcma", 10), rtp=8_000, rate=8_000)
    screen = maker.track(10 * SECOND, "bob", "video", "aux")
    maker.video(screen, 10 * SECOND, 8, h264(256, 144, 8, gop=60, annexb_sets=False))
    maker.close(18 * SECOND, screen, "unpublished")
    for track in (*alice, *bob):
        maker.close(28 * SECOND, track)
    for name in ("alice", "bob"):
        maker.add(28 * SECOND, RoomEvent("left", name))
    maker.add(32 * SECOND, RoomEvent("joined", "carol", 2))
    carol = maker.track(32 * SECOND, "carol", "video", codec="vp9")
    maker.video(carol, 32 * SECOND, 6, coded("vp9", 192, 108, 10))
    maker.close(38 * SECOND, carol)
    maker.add(38 * SECOND, RoomEvent("left", "carol"))
    maker.write(44 * SECOND, file_seconds=3)


@dataclass(frozen=True)
class Undisturbed:
    """The journal, what comes of it, and the plans that were carried out, each with the record that completed it."""

    kind: str
    journal: Path
    lists: Outcome
    plans: list[tuple[Position, Plan]]
    canvases: dict[int, str]
    """of a mix: PTS and hash of each picture before it was encoded"""


def outcome(generation: Generation) -> Outcome:
    """Per playlist: its text, its segments and a hash over all their bytes."""
    lists: dict[str, dict[int, Segment]] = {}
    finished = 0
    for _, entry in spool.read_manifest(generation.spool):
        if isinstance(entry, Finished):
            finished += 1
            continue
        before = lists.setdefault(entry.playlist, {}).setdefault(entry.index, entry)
        assert before == entry, "a segment that stands twice must be the same"
    assert finished == 1
    result: Outcome = {}
    for name, found in lists.items():
        segments = [found[i] for i in range(len(found))]
        whole = hashlib.sha256()
        for segment in segments:
            data = (generation.spool / segment.name).read_bytes()
            assert len(data) == segment.size
            assert hashlib.sha256(data).hexdigest() == segment.sha256
            whole.update(data)
        result[name] = playlist.render(segments, ended=True), segments, whole.hexdigest()
    named = {s.name for _, segments, _ in result.values() for s in segments}
    assert {p.name for p in generation.spool.iterdir()} == named | {spool.MANIFEST}, "nothing half done is left behind"
    return result


@pytest.fixture(scope="module", params=TIMES)
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The journal, what comes of it, and the plans that were carried out."""
    folder = tmp_path_factory.mktemp("undisturbed")
    {"apart": make_journal, "merged": make_merged_journal, "mixed": make_mixed_journal}[request.param](folder / "journal")
    plans: list[tuple[Position, Plan]] = []
    canvases: dict[int, str] = {}
    feed = Fold.feed

    def noting(fold: Fold, entry: Entry) -> list[Plan]:
        made = feed(fold, entry)
        plans.extend((entry.position, plan) for plan in made)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fold, "feed", noting)
        patch.setattr(Encoder, "encode", noting_canvases(canvases.__setitem__))
        asyncio.run(render.run(Generation(folder)))
    return Undisturbed(request.param, folder / "journal", outcome(Generation(folder)), plans, canvases)


def killed(generation: Generation, orders: str, finish: bool = True) -> None:
    """Run processes that are killed, see tests/render/killed.py."""
    command = [sys.executable, "-m", "tests.render.killed", str(generation.folder), orders, *(["finish"] if finish else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def copy_of(journal: Path, folder: Path) -> Generation:
    generation = Generation(folder)
    shutil.copytree(journal, generation.journal)
    copy_images(journal, generation)
    return generation


def copy_images(journal: Path, generation: Generation) -> None:
    if (images := journal.with_name("images")).exists():
        shutil.copytree(images, generation.images)


def positions(journal: Path) -> list[Position]:
    with JournalReader(journal) as reader:
        return [e.position for e in reader.read() if isinstance(e, Entry)]


def test_the_journal_has_what_it_is_meant_to_have(undisturbed: Undisturbed) -> None:
    lists = undisturbed.lists
    by_line = {(s[0].user_id, s[0].media_id, s[0].track_type): s for _, s, _ in lists.values()}
    for segments in by_line.values():
        for one, following in itertools.pairwise(segments):
            end = one.pts + one.duration * 90_000
            assert following.discontinuity or abs(following.pts - end) < 1e-3
            assert following.pts >= end - 1e-3
    if undisturbed.kind == "mixed":
        assert set(by_line) == {("", "mix", "audio_video")}
        plans = [plan for _, plan in undisturbed.plans if isinstance(plan, MixPlan) and plan.video]
        assert sorted(undisturbed.canvases) == [pts for plan in plans for pts in (plan.video.pts if plan.video else ())]
        assert len(set(undisturbed.canvases.values())) > len(undisturbed.canvases) / 2, "something moves"
        pictures = [p.ref for plan in plans if plan.video for source in plan.video.sources for p in source]
        assert {ref.codec for ref in pictures} == {"h264", "vp8", "vp9"}
        assert any(ref.orientation for ref in pictures)
        tiles = [tile for plan in plans if plan.video for scene in plan.video.scenes for tile in scene.tiles]
        assert {tile.black for tile in tiles} == {False, True}
        assert {tile.image for tile in tiles} == {"", "face.png"}
        assert any(not scene.tiles for plan in plans if plan.video for scene in plan.video.scenes), "an empty room"
        assert {len(marks) for plan in plans for marks in plan.marks} == {0, 2}
        return
    turned = [video for _, plan in undisturbed.plans if (video := pictures_of(plan)) and any(f.orientation for f in video.frames)]
    assert {video.frames[0].codec for video in turned} == {"h264", "vp8"}
    assert any(f.orientation for video in turned[:1] for f in video.frames[:1]), "a segment begins with a turned picture"
    if undisturbed.kind == "merged":
        assert set(by_line) == {
            ("alice", "main", "audio_video"),
            ("bob", "main", "audio_video"),
            ("bob", "aux", "audio_video"),
            ("carol", "main", "audio_video"),
        }
        assert [s.discontinuity for s in by_line["carol", "main", "audio_video"]] == [False, True]
        merged = [plan for _, plan in undisturbed.plans if isinstance(plan, MergedPlan)]
        assert any(p.video.fills and p.video.fills[0].frames for p in merged)
        assert {p.video.frames[0].codec for p in merged if p.head.key.user_id == "alice" and p.video.frames} == {"h264", "vp8"}
        assert sum(s.discontinuity for s in by_line["alice", "main", "audio_video"]) == 1, "neither sound nor picture for 9 s"
        assert sum(s.discontinuity for s in by_line["bob", "main", "audio_video"]) == 1, "the return, also from mono to stereo"
        return
    assert set(by_line) == {
        ("alice", "main", "video"),
        ("alice", "main", "audio"),
        ("bob", "main", "video"),
        ("bob", "main", "audio"),
        ("carol", "aux", "video"),
        ("dave", "main", "audio"),
        ("frank", "main", "audio"),
        ("erin", "main", "video"),
        ("erin", "main", "audio"),
    }
    assert {(s.width, s.height) for s in by_line["alice", "main", "video"]} == {(320, 180), (480, 270)}
    assert not any(s.discontinuity for s in by_line["alice", "main", "video"])
    assert [(s.index, s.discontinuity) for s in by_line["frank", "main", "audio"]] == [(0, False), (1, False), (2, True)]
    assert sum(s.discontinuity for s in by_line["bob", "main", "video"]) == 2, "the camera's pause and the return"
    assert sum(s.discontinuity for s in by_line["bob", "main", "audio"]) == 2, "the microphone's pause and the return"
    assert [s.discontinuity for s in by_line["erin", "main", "video"]].count(True) == 1
    assert {s.channels for s in by_line["erin", "main", "audio"]} == {1, 2}


def pictures_of(plan: Plan) -> VideoPlan | None:
    """Its part that is video, if any."""
    return plan.video if isinstance(plan, MergedPlan) else plan if isinstance(plan, VideoPlan) else None


def test_killed_thirty_times_it_leaves_the_same_bytes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    generation = copy_of(undisturbed.journal, tmp_path / "killed")
    random_ = random.Random(30)
    places = positions(undisturbed.journal)
    kinds = random_.sample(KILLS, TIMES[undisturbed.kind])
    moments = sorted(random_.sample(places[: len(places) * 9 // 10], len(kinds)))
    orders = [[kind, moment.file, moment.offset] for kind, moment in zip(kinds, moments, strict=True)]
    killed(generation, json.dumps(orders))
    assert outcome(generation) == undisturbed.lists
    canvases = [line.split() for line in (generation.folder / "canvases").read_text().splitlines()]
    assert {(int(pts), digest) for pts, digest in canvases} == set(undisturbed.canvases.items())
    reads = [json.loads(line) for line in (generation.folder / "reads").read_text().splitlines()]
    assert [r["kind"] for r in reads] == [*kinds, "finish"]
    assert Position(*reads[0]["start"]) == places[0]
    for read, moment in zip(reads[1:], moments, strict=True):
        allowed = earliest(undisturbed, moment)
        assert Position(*read["start"]) >= allowed, (read, moment)
        assert Position(*read["payload"]) >= allowed, (read, moment)


def earliest(undisturbed: Undisturbed, moment: Position) -> Position:
    """The oldest frame that a process may read when its predecessor was killed at ``moment``.

    That is the first frame (video: the last keyframe before it, audio: with pre-roll) of a segment that was not finished then. Frames
    whose times were not settled yet, of lines that had no segment open, come in addition: 3 s before the last finished segment.
    """
    finished = max((at for at, _ in undisturbed.plans if at < moment), default=Position(0, 0))
    oldest = moment
    for at, plan in undisturbed.plans:
        if at > finished:
            oldest = min([oldest, *(first.position for first in needed(plan))])
    with JournalReader(undisturbed.journal) as reader:
        entries = [e for e in reader.read() if isinstance(e, Entry)]
    last = next((e.monotonic_ns for e in entries if e.position >= finished), 0)
    return min(oldest, next(e.position for e in entries if e.monotonic_ns >= last - 3_100_000_000))


def needed(plan: Plan) -> list[Ref]:
    """The first frames that a plan refers to."""
    if isinstance(plan, AudioPlan):
        return [plan.packets[0]]
    if isinstance(plan, VideoPlan):
        return [(*plan.before, *plan.frames)[0]]
    if not isinstance(plan, MergedPlan):
        pictures = [picture.ref for source in plan.video.sources for picture in source] if plan.video else []
        return pictures + ([voice.ref for voices in plan.audio.voices for voice in voices] if plan.audio else [])
    return [
        *plan.audio.packets[:1],
        *plan.video.before[:1],
        *plan.video.frames[:1],
        *(f for fill in plan.video.fills for f in fill.frames[:1]),
    ]


def test_without_its_resume_point_it_begins_anew_and_puts_nothing_back(undisturbed: Undisturbed, tmp_path: Path) -> None:
    generation = copy_of(undisturbed.journal, tmp_path / "forgetful")
    places = positions(undisturbed.journal)
    middle = places[len(places) * 3 // 5]
    order = json.dumps([["record", middle.file, middle.offset]])
    killed(generation, order, finish=False)
    assert generation.checkpoint.exists()
    generation.checkpoint.unlink()
    done = [entry for _, entry in spool.read_manifest(generation.spool) if isinstance(entry, Segment)]
    assert len(undisturbed.plans) / 5 < len(done) < len(undisturbed.plans) * 4 / 5
    kept = tmp_path / "uploaded"
    kept.mkdir()
    for segment in done[::2]:
        (generation.spool / segment.name).rename(kept / segment.name)
    asyncio.run(render.run(generation))
    assert not [s for s in done[::2] if (generation.spool / s.name).exists()]
    for path in kept.iterdir():
        path.rename(generation.spool / path.name)
    assert outcome(generation) == undisturbed.lists


def test_its_journal_may_be_trimmed_while_it_runs(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """As by its node, when the store has all that was made. Every other process also lacks its resume point."""
    generation = copy_of(undisturbed.journal, tmp_path / "trimmed")
    places = positions(undisturbed.journal)
    gone = 0
    bases: list[Position] = []
    for number in range(1, 7):
        moment = places[len(places) * number // 7]
        killed(generation, json.dumps([["record", moment.file, moment.offset]]), finish=False)
        gone += Trim(generation).remove(set(), clock.utc_ns() / 1e9 + 60)
        bases.append(Position(*(read_checkpoint(generation.base) or {"start": (0, 0)})["start"]))
        if number % 2:
            generation.checkpoint.unlink(missing_ok=True)  # a mix has none before its first segment
    # A mix is decided some 5 s later, and needs a stopped camera's last picture.
    assert gone > sum(path.stat().st_size for _, path in files(undisturbed.journal)) * (0.25 if undisturbed.kind == "mixed" else 0.5)
    left = [file for file, _ in files(generation.journal)]
    assert left[0] > {"apart": 10, "merged": 5, "mixed": 4}[undisturbed.kind]
    asyncio.run(render.run(generation))
    assert outcome(generation) == undisturbed.lists
    reads = [json.loads(line) for line in (generation.folder / "reads").read_text().splitlines()]
    assert bases[2] > Position(1, 0)
    for read, base in zip(reads[1:], bases, strict=False):
        assert Position(*read["start"]) >= base


async def test_following_a_journal_as_it_grows(undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "POLL_SECONDS", 0.002)
    generation = Generation(tmp_path / "growing")
    generation.journal.mkdir(parents=True)
    copy_images(undisturbed.journal, generation)
    canvases: dict[int, str] = {}
    monkeypatch.setattr(Encoder, "encode", noting_canvases(canvases.__setitem__))
    following = asyncio.create_task(render.run(generation))
    random_ = random.Random(4)
    for path in sorted(undisturbed.journal.iterdir()):
        data = path.read_bytes()
        at = 0
        with (generation.journal / path.name).open("wb", buffering=0) as file:
            while at < len(data):
                size = random_.randrange(1, 200_000)
                at += file.write(data[at : at + size])
                await asyncio.sleep(0.002)
    await asyncio.wait_for(following, 60)
    assert outcome(generation) == undisturbed.lists
    assert canvases == undisturbed.canvases
