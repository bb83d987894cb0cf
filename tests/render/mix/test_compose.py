"""``rokuga compose``: the command itself, on a kept journal of single streams."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rokuga.cli import app
from rokuga.journal.records import RoomEvent
from rokuga.render.mix.colour import Rgb
from tests.render.material import SECOND, JournalMaker, opus
from tests.render.mix.film import BLUE, RED, film, near
from tests.render.mix.finished import SIZE, Finished, video

pytestmark = pytest.mark.live

BACK: Rgb = (30, 60, 30)
NAME = "1400000001_ZGVtbyByb29t.m3u8"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """alice and bob, each in a file of their own, in journal files of 2 s."""
    maker = JournalMaker(tmp_path_factory.mktemp("kept") / "journal")
    for order, (name, colour, tone) in enumerate((("alice", RED, 400), ("bob", BLUE, 700))):
        maker.add(0, RoomEvent("joined", name, order))
        camera, microphone = maker.track(0, name, "video"), maker.track(0, name, "audio")
        maker.video(camera, 0, 5, film(colour, 60, *SIZE))
        maker.audio(microphone, 0, 5, opus(4, beep_every=0.1, tone=tone))
    maker.write(5 * SECOND, file_seconds=2)
    return maker.folder


def asked(folder: Path, **params: Any) -> str:
    path = folder / "params.json"
    path.write_text(json.dumps(params))
    return str(path)


FLOATING = {"MixLayoutMode": 1, "RenderMode": 0, "MaxResolutionUserId": "bob"}
SCREEN = {"MixLayoutMode": 2, "RenderMode": 0, "MaxResolutionUserId": "bob", "BackGroundColor": "#1e3c1e"}


def test_the_command_renders_single_streams_as_one_picture_of_another_size(journal: Path, tmp_path: Path) -> None:
    params = asked(tmp_path, MixTranscodeParams={"VideoParams": video(320, 180, fps=10)}, MixLayoutParams=FLOATING)
    command = [sys.executable, "-m", "rokuga", "compose", "--journal", str(journal), "--params", params, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, [str(tmp_path / "out" / NAME)]), done.stderr
    seen = Finished.read(tmp_path / "out" / NAME)
    assert seen.at(3)[0].shape == (180, 320)
    assert len(seen.between(1, 4)) == 30
    assert near(seen.at(3), 160, 80, BLUE, 8)
    assert near(seen.at(3), 24, 165, RED, 8)
    assert min(seen.level(tone, 2, 4) for tone in (400, 700)) > 0.1
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".m3u8", ".ts"}, "nothing else is left there"


@pytest.mark.parametrize(
    ("params", "points"),
    [
        # Both layouts at the size that is TRTC's default, and sound alone and picture alone.
        ({"MixLayoutParams": SCREEN}, {(140, 320): BLUE, (320, 120): RED, (320, 400): BACK}),
        (
            {"MixLayoutParams": {"MixLayoutMode": 4, "MixLayoutList": [{"Left": 100, "Top": 200, "Width": 100, "Height": 100}]}},
            {(150, 270): RED, (50, 270): (0, 0, 0)},
        ),
        ({"RecordParams": {"RecordMode": 2, "StreamType": 2}}, {(90, 320): RED, (270, 320): BLUE}),
        ({"RecordParams": {"RecordMode": 2, "StreamType": 1}}, None),
    ],
)
def test_each_kind_of_change(journal: Path, tmp_path: Path, params: dict[str, Any], points: dict[tuple[int, int], Rgb] | None) -> None:
    done = compose(journal, asked(tmp_path, **params), tmp_path / "out")
    assert done == (0, str(tmp_path / "out" / NAME))
    seen = Finished.read(tmp_path / "out" / NAME)
    kind = params.get("RecordParams", {}).get("StreamType", 0)
    assert (bool(seen.pictures), seen.sound.size > 0) == (kind != 1, kind != 2)
    for (x, y), colour in (points or {}).items():
        assert seen.at(3)[0].shape == (640, 360)
        assert near(seen.at(3), x, y, colour, 8), (x, y)


def compose(journal: Path, params: str, out: Path) -> tuple[int, str]:
    """Exit status, and what was said."""
    done = CliRunner().invoke(app, ["compose", "--journal", str(journal), "--params", params, "--out", str(out)])
    return done.exit_code, done.output.strip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ("[1]", "JSON"),
        ('{"MixLayoutParams": {}}', "MixLayoutMode"),
        ('{"MixLayoutParams": {"MixLayoutMode": 9}}', "MixLayoutMode"),
        ('{"MixTranscodeParams": {"VideoParams": {"Width": 640}}}', "VideoParams.Height"),
        ('{"MixTranscodeParams": {"VideoParams": {"Width": 1920, "Height": 1920, "Fps": 15, "BitRate": 64000, "Gop": 1}}}', "1920 x 1080"),
        (
            '{"MixLayoutParams": {"MixLayoutMode": 4, "MixLayoutList": [{"Left": 300, "Top": 0, "Width": 61, "Height": 9}]}}',
            "canvas' width",
        ),
        ('{"MixLayoutParams": {"MixLayoutMode": 3, "WaterMarkList": [{"WaterMarkType": 1}]}}', "WaterMarkChar"),
        ('{"RecordParams": {"RecordMode": 3}}', "RecordMode"),
    ],
)
def test_parameters_that_the_api_would_refuse_are_refused(journal: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.json").write_text(text)
    status, output = compose(journal, str(tmp_path / "params.json"), tmp_path / "out")
    assert status == 2
    assert output.startswith("rokuga: --params: " if "rokuga: " in output else "--params: ")
    assert said in output
    assert len(output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_composed_is_said_in_a_line(journal: Path, tmp_path: Path) -> None:
    params, out = asked(tmp_path, MixLayoutParams=FLOATING), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    going_on, beheaded, trimmed = tmp_path / "going on", tmp_path / "beheaded", tmp_path / "trimmed"
    shutil.copytree(journal, going_on)
    (going_on / "000003.rj").unlink()
    shutil.copytree(journal, beheaded)
    (beheaded / "000001.rj").unlink()
    shutil.copytree(journal, trimmed)
    (trimmed / "000002.rj").unlink()
    (trimmed / "base.json").write_text("{}")
    (tmp_path / "file").write_text("")
    for number, (status, folder, target, said) in enumerate(
        [
            (1, tmp_path / "empty", out, "has no journal files"),
            (1, tmp_path / "nowhere", out, "has no journal files"),
            (1, journal, tmp_path, "is not empty"),
            (1, journal, tmp_path / "file", "File exists"),
            (1, going_on, tmp_path / "half", "has no end"),
            (1, beheaded, out, "has lost its beginning"),
            (1, trimmed, out, "has lost its beginning"),
        ]
    ):
        found, output = compose(folder, params, target)
        assert (found, said in output, len(output.splitlines())) == (status, True, 1), (number, output)
    status, output = compose(journal, str(tmp_path / "none.json"), out)
    assert status == 2
    assert "No such file" in output
