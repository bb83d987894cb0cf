"""What is logged when nobody can take it."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
import structlog
from rokuga import logs
logs.configure("role", Path(sys.argv[1]))
structlog.get_logger().error("something happened")
structlog.get_logger().info("and goes on")
Path(sys.argv[1], "went on").touch()
"""


def test_a_full_disk_costs_the_line_and_not_the_process(tmp_path: Path) -> None:
    (tmp_path / "role.log").symlink_to("/dev/full")
    with Path("/dev/full").open("wb") as full:
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], stderr=full, check=False, timeout=60)
    assert (tmp_path / "went on").exists()
