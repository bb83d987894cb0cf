"""How far render is behind: what it leaves for the node, and what it says."""

from pathlib import Path

import pytest
import structlog

from rokuga import clock
from rokuga.render.lag import SECOND, Lag, lag_seconds


def test_nothing_is_behind_before_it_has_begun(tmp_path: Path) -> None:
    assert lag_seconds(tmp_path / "render.lag", 5 * SECOND) == 0


def test_a_figure_that_is_just_being_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "render.lag").write_text("000012")
    assert lag_seconds(tmp_path / "render.lag", 5 * SECOND) == 0


def test_falling_behind_is_said_once_a_minute_and_catching_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(clock, "monotonic_ns", lambda: now[0])
    path = tmp_path / "render.lag"
    with structlog.testing.capture_logs() as logs:
        lag = Lag(path, structlog.get_logger())
        for second in range(100, 300):
            now[0] = second * SECOND
            # Ten times slower than the room until 200, then five times faster.
            done = 100 + (second - 100) // 10 if second < 200 else min(110 + (second - 200) * 5, second)
            lag.at(done * SECOND)
            assert lag_seconds(path, now[0]) == second - done
    assert [(line["event"], line.get("seconds")) for line in logs] == [
        ("render is behind", 10.0 + 1),
        ("render is behind", 65.0 + 1),
        ("render has caught up", None),
    ]
