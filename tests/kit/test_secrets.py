import os
import subprocess
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from tests.kit.secrets import Secrets

SECRET = "eJw*kx3Yd0Qm7PzL9vTn2Rb8-Wc_"


@pytest.mark.parametrize("text", [SECRET, f'{{"UserSig": "{SECRET}"}}', f"GET /?UserSig={quote_plus(SECRET)} HTTP/1.1"])
def test_it_is_found_in_texts_files_and_names(tmp_path: Path, text: str) -> None:
    secrets = Secrets(UserSig=SECRET, Other="0123456789abcdef")
    assert secrets.within("a log", text) == ["UserSig in a log"]
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/file").write_text(text)
    (tmp_path / f"core.{SECRET}.7").touch()
    assert secrets.in_folder(tmp_path) == [f"UserSig in the name core.{SECRET}.7", f"UserSig in {tmp_path}/inner/file"]


def test_it_is_found_in_arguments_and_environment() -> None:
    secrets = Secrets(UserSig=SECRET)
    cases: list[tuple[list[str], dict[str, str], str]] = [([SECRET], {}, "cmdline"), ([], {"SIG": SECRET}, "environ")]
    for arguments, more, where in cases:
        with subprocess.Popen(
            ["cat", "-", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **more}
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"here\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"here\n"
            assert secrets.in_processes([process.pid]) == [f"UserSig in {where} of {process.pid}"]
            process.kill()
    assert secrets.in_processes([os.getpid()]) == []
