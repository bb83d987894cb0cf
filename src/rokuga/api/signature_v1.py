"""HmacSHA1 and HmacSHA256, Tencent Cloud's older request signature ("signature v1"): verification as a pure function.

Everything is a parameter, also what signature v3 has in headers; the parameters stand in the query (GET) or in a form body (POST).
The rules are those of Tencent Cloud's "Signature v1" page.
"""

import base64
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rokuga.api.problems import invalid, missing
from rokuga.api.signature import check_clock, hosts, secret_for, signature_failure, token_failure
from rokuga.words import Words

COMMON = frozenset("Action Version Region Timestamp Nonce SecretId Signature SignatureMethod RequestClient Language Token".split())  # noqa: SIM905
"""Parameters that are none of the action's."""
DIGESTS = {"HmacSHA1": "sha1", "HmacSHA256": "sha256"}
DEFAULT_METHOD = "HmacSHA1"

_NONCE = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True)
class OldRequest:
    """A request as signature v1 covers it: decoded ``pairs`` of name and value, in any order, each name once; ``host`` as sent."""

    method: str
    host: str
    pairs: Sequence[tuple[str, str]] = field(repr=False)

    def common(self, name: str) -> str:
        """A common parameter's value, empty if it was not sent."""
        return next((value for key, value in self.pairs if key == name), "")

    def others(self) -> list[tuple[str, str]]:
        """The action's own parameters."""
        return [(name, value) for name, value in self.pairs if name not in COMMON]


def is_old(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether these are the parameters of a request that is signed in this way."""
    return any(name == "Signature" for name, _ in pairs)


def verify(request: OldRequest, secret_of: Callable[[str], str | None], now: float) -> str:
    """The SecretId whose secret signed ``request``; ``now`` is in seconds since the epoch.

    Raises ApiError: AuthFailure.SecretIdNotFound, .SignatureExpire, .SignatureFailure, .TokenFailure, MissingParameter, InvalidParameter.
    """
    if request.common("Token"):
        raise token_failure()
    for name in ("SecretId", "Timestamp", "Nonce"):
        if not request.common(name):
            raise missing(name)
    if not _NONCE.fullmatch(request.common("Nonce")):
        raise invalid("Nonce", Words("must be a positive integer"))
    digest = DIGESTS.get(request.common("SignatureMethod") or DEFAULT_METHOD)
    if digest is None:
        what = Words("must be one of {values}", values=", ".join(DIGESTS))
        raise invalid("SignatureMethod", what)
    secret = secret_for(request.common("SecretId"), secret_of)
    check_clock(request.common("Timestamp"), now, "Timestamp")
    given = request.common("Signature").strip().encode()
    # All of them, so that the time taken says nothing about which one matched.
    matches = [hmac.compare_digest(given, sign(secret, text, digest).encode()) for text in _candidates(request)]
    if not any(matches):
        raise signature_failure()
    return request.common("SecretId")


def text_to_sign(method: str, host: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The text that is signed; ``Signature`` itself is left out of ``pairs``."""
    return f"{method}{host}/?" + "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "Signature")


def sign(secret: str, text: str, digest: str) -> str:
    """The signature of a text: base64. ``digest`` is sha1 or sha256."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), digest)).decode()


def _candidates(request: OldRequest) -> list[str]:
    """What a client may have signed: its endpoint with or without the port, names with or without `_` written as a dot (Python's SDK)."""
    pairs = list(request.pairs)
    dotted = [(name.replace("_", "."), value) for name, value in pairs]
    namings = [pairs] if dotted == pairs else [pairs, dotted]
    return [text_to_sign(request.method, host, naming) for naming in namings for host in hosts(request.host)]
