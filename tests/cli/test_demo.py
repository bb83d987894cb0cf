"""The demo passes on the real parts, and its checks find what is wrong with a recording."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rokuga.demo.verify import verify
from rokuga.up import lock

pytestmark = pytest.mark.live

SECONDS = 20


def demo(data: Path) -> tuple[int, list[str], dict[str, Any]]:
    command = [sys.executable, "-m", "rokuga", "demo", "--data", str(data), "--seconds", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    lines = done.stdout.splitlines()
    return done.returncode, lines, json.loads(lines[-1])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, list[str], dict[str, Any]]:
    return demo(tmp_path_factory.mktemp("demo"))


def test_the_demo_passes(run: tuple[int, list[str], dict[str, Any]]) -> None:
    code, lines, facts = run
    assert facts["failures"] == []
    assert code == 0
    tracks = {(t["user_id"], t["media_id"], t["kind"]): t for t in facts["tracks"]}
    assert set(tracks) == {
        ("alice", "main", "audio"),
        ("alice", "main", "video"),
        ("bob", "main", "audio"),
        ("carol", "main", "audio"),
        ("carol", "main", "video"),
        ("carol", "aux", "video"),
    }
    assert (tracks["carol", "aux", "video"]["width"], tracks["carol", "aux", "video"]["height"]) == (1280, 720)
    # No terminal: whole lines, nothing rewritten.
    assert not any("\r" in line or "\x1b" in line for line in lines)
    assert any("segments uploaded" in line for line in lines)


def test_its_checks_find_what_is_wrong(run: tuple[int, list[str], dict[str, Any]], tmp_path: Path) -> None:
    _, _, facts = run
    folder = Path(facts["folder"])
    playlist = next(folder.glob("*_main_video.m3u8"))
    names = [line for line in playlist.read_text().splitlines() if line and not line.startswith("#")]

    def broken(text: str | None = None, segment: bytes | None = b"") -> list[str]:
        """Problems of a copy with another text, or with another first segment (None: without)."""
        copy = tmp_path / os.urandom(4).hex()
        copy.mkdir()
        for name in names:
            (copy / name).write_bytes((folder / name).read_bytes())
        if segment:
            (copy / names[0]).write_bytes(segment)
        if segment is None:
            (copy / names[0]).unlink()
        (copy / playlist.name).write_text(text or playlist.read_text())
        return verify(copy / playlist.name, 5, (640, 360)).problems

    first = (folder / names[0]).read_bytes()
    assert broken() == []
    assert broken(text=playlist.read_text().replace("#EXT-X-ENDLIST\n", "")) == ["the playlist is not closed"]
    assert broken(segment=None) == [f"{names[0]} is not in the store"]
    assert broken(segment=first[:-188]) == [f"{names[0]} has {len(first) - 188} bytes, not {len(first)}"]
    # One TS packet in the middle is missing, one stands twice too late: the same size, but not the same film.
    middle = len(first) // 376 * 188
    assert any("corrupt" in problem for problem in broken(segment=first[:middle] + first[middle + 188 :] + first[-188:]))
    assert verify(playlist, SECONDS * 2).problems[0].startswith("it lasts")
    assert any("the picture has" in problem for problem in verify(playlist, 5, (1280, 720)).problems)


def test_a_system_that_does_not_start_fails_the_demo(tmp_path: Path) -> None:
    held = lock(tmp_path)
    try:
        code, lines, facts = demo(tmp_path)
    finally:
        os.close(held)
    assert code == 1
    assert facts["ok"] is False
    assert lines[-2].startswith("FAILED: rokuga up does not start")
