"""The command line itself: quick, complete, and nothing starts on a wrong configuration."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rokuga.api import usersig
from rokuga.cli import app
from rokuga.settings import load

pytestmark = pytest.mark.live

COMMANDS = {"up", "api", "control", "node", "publish", "usersig", "link", "compose", "demo", "version"}


def rokuga(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "rokuga", *arguments], capture_output=True, text=True, timeout=60, env=os.environ | environ, check=False
    )


def test_help_names_every_command_and_each_has_its_own() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert set(re.findall(r"^│ (\w+) ", shown.output, re.MULTILINE)) == COMMANDS
    for command in COMMANDS:
        assert runner.invoke(app, [command, "--help"]).exit_code == 0


def test_the_command_line_loads_no_library_before_a_command_runs() -> None:
    heavy = "{'av', 'aiortc', 'temporalio', 'obstore', 'starlette', 'uvicorn', 'tencentcloud', 'PIL', 'pydantic', 'structlog'}"
    code = f"import sys, rokuga.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_main_module_imports_nothing() -> None:
    # Forked children of recordings import it again.
    code = "import sys, rokuga.__main__; print([m for m in sys.modules if m.startswith('rokuga.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['rokuga.__main__']"


@pytest.mark.parametrize("command", ["up", "api", "control", "node"])
def test_a_wrong_configuration_starts_nothing(tmp_path: Path, command: str) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text('[server]\nport = "x"\n')
    done = rokuga(command, "--config", str(config), "--data", str(tmp_path / "data"), ROKUGA_JANUS__PROT="1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["server.port", "janus.prot"]
    assert not (tmp_path / "data" / "temporal").exists()
    assert not (tmp_path / "data" / "log").exists()


def test_a_usersig_is_one_that_the_api_takes(tmp_path: Path) -> None:
    done = rokuga("usersig", "recorder_1", "--data", str(tmp_path))
    assert done.returncode == 0
    (configured,) = load(tmp_path / "rokuga.toml", "up", {}).apps
    now = (tmp_path / "rokuga.toml").stat().st_mtime
    usersig.verify(done.stdout.strip(), configured.sdk_app_id, "recorder_1", configured.user_sig_key.get_secret_value(), now + 5)
    assert rokuga("usersig", "x", "--sdk-app-id", "7", "--data", str(tmp_path)).returncode == 2


def test_what_needs_a_running_system_says_so(tmp_path: Path) -> None:
    for arguments in (["publish", "room", "alice"], ["link", "bucket/task"]):
        done = rokuga(*arguments, "--data", str(tmp_path))
        assert done.returncode == 2
        assert "no `rokuga up` runs" in done.stderr
