"""docs/errors.md names the codes that the API can answer with, no more and no less."""

import re
from pathlib import Path

from rokuga.api import problems

ROOT = Path(__file__).parents[2]
CLASSES = """
AuthFailure FailedOperation InternalError InvalidAction InvalidParameter InvalidRequest MissingParameter NoSuchVersion RequestLimitExceeded
RequestSizeLimitExceeded ResourceNotFound UnauthorizedOperation UnsupportedOperation UnsupportedProtocol
"""
CODE = rf"(?:{'|'.join(CLASSES.split())})(?:\.[A-Za-z]+)?"


def test_the_table_is_complete() -> None:
    documented = set(re.findall(rf"^\| `({CODE})` \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))
    source = "\n".join(path.read_text() for path in (ROOT / "src/rokuga/api").glob("*.py"))
    given = set(re.findall(rf'"({CODE})"', source)) | {f"InvalidParameter.{name}" for name in problems.OWN_CODE}
    # Answered by the tasks behind the API.
    given.add("FailedOperation.RestrictedConcurrency")
    assert documented == given


def test_each_missing_code_is_named() -> None:
    text = (ROOT / "docs/errors.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith("| `MissingParameter.<Field>`")]
    assert set(row.split("one of ")[1].rstrip(" |").split(", ")) == problems.MISSING
