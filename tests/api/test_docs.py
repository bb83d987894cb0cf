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
    given_part = (ROOT / "docs/errors.md").read_text().split("## Codes that are never given")[0]
    documented = set(re.findall(rf"^\| `({CODE})` \|", given_part, re.MULTILINE))
    source = "\n".join(path.read_text() for path in (ROOT / "src/rokuga/api").glob("*.py"))
    given = set(re.findall(rf'"({CODE})"', source)) | {f"InvalidParameter.{name}" for name in problems.OWN_CODE}
    # Answered by the tasks behind the API.
    given.add("FailedOperation.RestrictedConcurrency")
    assert documented == given


def test_each_missing_code_is_named() -> None:
    text = (ROOT / "docs/errors.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith("| `MissingParameter.<Field>`")]
    assert set(row.split("one of ")[1].rstrip(" |").split(", ")) == problems.MISSING


LISTED = """
AuthFailure AuthFailure.UnRealNameAuthenticated AuthFailure.UnauthorizedOperation AuthFailure.UnsupportedOperation FailedOperation
FailedOperation.CRUnsupportMethod FailedOperation.RestrictedConcurrency InternalError.CRInternalError InvalidParameter.OutOfRange
InvalidParameter.SdkAppId MissingParameter.StreamType ResourceNotFound UnsupportedOperation ActionOffline
AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId AuthFailure.MFAFailure AuthFailure.SecretIdNotFound AuthFailure.SignatureExpire
AuthFailure.SignatureFailure AuthFailure.TokenFailure DryRunOperation InternalError InvalidAction InvalidParameter InvalidParameterValue
InvalidRequest IpInBlacklist IpNotInWhitelist LimitExceeded MissingParameter NoSuchProduct NoSuchVersion RequestLimitExceeded
RequestLimitExceeded.IPLimitExceeded RequestLimitExceeded.UinLimitExceeded RequestSizeLimitExceeded ResourceInUse ResourceInsufficient
ResourceUnavailable ResponseSizeLimitExceeded ServiceUnavailable UnauthorizedOperation UnknownParameter UnsupportedProtocol
UnsupportedRegion
"""
"""What TRTC documents for the four calls, and Tencent Cloud for all of its APIs; missing fields are in the test before."""


def test_each_code_that_tencent_lists_is_given_or_it_is_said_why_not() -> None:
    text = (ROOT / "docs/errors.md").read_text()
    first_cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    named = [code for cell in first_cells for code in re.findall(r"`([A-Za-z.]+)`", cell)]
    assert set(LISTED.split()) - set(named) == set()
    given, never = ([c for cell in part for c in re.findall(r"`([A-Za-z.]+)`", cell)] for part in _split(text))
    assert set(given) & set(never) == set()


def _split(text: str) -> tuple[list[str], list[str]]:
    """First cells of the tables of codes that are given, and of those that never are."""
    before, after = text.split("## Codes that are never given")
    given, never = ([line.split(" | ")[0] for line in part.splitlines() if line.startswith("| ")] for part in (before, after))
    assert given
    assert never
    return given, never
