"""TC3-HMAC-SHA256, Tencent Cloud's request signature: verification as a pure function.

The rules are those of Tencent Cloud's "Signature v3" page. Official SDKs deviate from it in what they take for host, service and
content type when their endpoint is overridden (a port, an IP address), so each signed header has a few values that count as signed.
"""

import hashlib
import hmac
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rokuga.errors import ApiError
from rokuga.words import Words

ALGORITHM = "TC3-HMAC-SHA256"
TOLERANCE = 300
"""seconds that a caller's clock may differ from ours"""
UNSIGNED = "UNSIGNED-PAYLOAD"
SIGNED_HEADERS_MAX = 32

_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256\s+Credential=(?P<credential>[^,\s]+)\s*,\s*SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-fA-F]{64})"
)
# The service is free text: some SDKs put the first dot-label of the endpoint there ("127", "localhost:8080").
_CREDENTIAL = re.compile(r"(?P<secret_id>.+?)/(?P<date>\d{4}-\d{2}-\d{2})/(?P<service>.+)/tc3_request", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True)
class SignedRequest:
    """The parts of a request that a signature covers. Header names are lower-case, values as sent (latin-1)."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """ASGI headers as a mapping; a repeated header is joined by commas, as HTTP allows."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def verify(request: SignedRequest, secret_of: Callable[[str], str | None], now: float) -> str:
    """The SecretId whose secret signed ``request``; ``now`` is in seconds since the epoch.

    Raises ApiError: AuthFailure.InvalidAuthorization, .SecretIdNotFound, .SignatureExpire, .SignatureFailure, .TokenFailure,
    MissingParameter, InvalidParameter.
    """
    headers = request.headers
    if headers.get("x-tc-token"):
        raise token_failure()
    authorization = _AUTHORIZATION.fullmatch(headers.get("authorization", "").strip())
    credential = _CREDENTIAL.fullmatch(authorization["credential"]) if authorization else None
    if authorization is None or credential is None:
        raise ApiError(
            "AuthFailure.InvalidAuthorization",
            Words(
                "The Authorization header must read `{form}`.",
                form="TC3-HMAC-SHA256 Credential=<SecretId>/<yyyy-mm-dd>/<service>/tc3_request, "
                "SignedHeaders=content-type;host, Signature=<64 hex digits>",
            ),
        )
    names = authorization["headers"].lower().split(";")
    if not {"content-type", "host"} <= set(names) or len(names) > SIGNED_HEADERS_MAX or len(set(names)) != len(names):
        raise ApiError("AuthFailure.InvalidAuthorization", Words("SignedHeaders must name `content-type` and `host`, each header once."))
    if absent := [name for name in names if name not in headers]:
        what = Words("SignedHeaders names headers that were not sent: {names}.", names=", ".join(absent)[:200])
        raise ApiError("AuthFailure.InvalidAuthorization", what)
    secret = secret_for(credential["secret_id"], secret_of)
    sent = headers.get("x-tc-timestamp", "").strip()
    if not sent:
        raise missing_header("Timestamp")
    timestamp = check_clock(sent, now, "X-TC-Timestamp")
    if credential["date"] != _date(timestamp):
        what = Words("The date in Credential must be the UTC date of X-TC-Timestamp, which is {date}.", date=_date(timestamp))
        raise ApiError("AuthFailure.SignatureFailure", what)
    scope = f"{credential['date']}/{credential['service']}/tc3_request"
    key = signing_key(secret, credential["date"], credential["service"])
    given = authorization["signature"].lower()
    payload = payload_hash(request)
    for values in _candidates(names, headers):
        canonical = canonical_request(request.method, request.query, values, payload)
        if hmac.compare_digest(given, sign(key, timestamp, scope, canonical)):
            return credential["secret_id"]
    raise signature_failure()


def secret_for(secret_id: str, secret_of: Callable[[str], str | None]) -> str:
    """Raises ApiError AuthFailure.SecretIdNotFound."""
    secret = secret_of(secret_id)
    if secret is None:
        raise ApiError("AuthFailure.SecretIdNotFound", Words("The SecretId is not found, please ensure that your SecretId is correct."))
    return secret


def check_clock(sent: str, now: float, name: str) -> int:
    """A request's timestamp, called ``name``. Raises ApiError InvalidParameter, AuthFailure.SignatureExpire."""
    if not _SECONDS.fullmatch(sent):
        raise ApiError("InvalidParameter", Words("{name} must be the current time in whole seconds since 1970, UTC.", name=name))
    timestamp = int(sent)
    if abs(now - timestamp) > TOLERANCE:
        what = Words(
            "{name} {sent} differs from the server's time {now} by over {most} seconds: set the caller's clock.",
            name=name,
            sent=timestamp,
            now=int(now),
            most=TOLERANCE,
        )
        raise ApiError("AuthFailure.SignatureExpire", what)
    return timestamp


def missing_header(name: str) -> ApiError:
    """The error for a common parameter that signature v3 wants in a header."""
    what = Words("The request is missing a required parameter `{name}`: send the header X-TC-{name}.", name=name)
    return ApiError("MissingParameter", what)


def signature_failure() -> ApiError:
    what = Words("The provided credentials could not be validated. Please check your signature is correct.")
    return ApiError("AuthFailure.SignatureFailure", what)


def token_failure() -> ApiError:
    what = Words("This server issues no temporary credentials: sign with a permanent SecretId and send no X-TC-Token or Token.")
    return ApiError("AuthFailure.TokenFailure", what)


def payload_hash(request: SignedRequest) -> str:
    """What stands for the body in the canonical request: lower-case hex."""
    payload = request.body if request.method == "POST" else b""
    if request.headers.get("x-tc-content-sha256") == UNSIGNED:
        payload = UNSIGNED.encode()
    return hashlib.sha256(payload).hexdigest()


def canonical_request(method: str, query: str, signed: Mapping[str, str], payload: str) -> str:
    """The text that is signed, one character a byte (latin-1); ``signed`` are the signed headers, ``payload`` a `payload_hash`."""
    names = sorted(signed)
    lines = [method, "/", query if method == "GET" else ""]
    lines += [f"{name}:{signed[name]}" for name in names]
    lines += ["", ";".join(names), payload]
    return "\n".join(lines)


def signing_key(secret: str, date: str, service: str) -> bytes:
    """The key derived for one day (yyyy-mm-dd, UTC) and service."""
    key = ("TC3" + secret).encode()
    for part in (date, service, "tc3_request"):
        key = derive(key, part)
    return key


def derive(key: bytes, part: str) -> bytes:
    """The next key of the chain: of the day, of the service, of the request."""
    return hmac.digest(key, part.encode("latin-1"), "sha256")


def sign(key: bytes, timestamp: int, scope: str, canonical: str) -> str:
    """The signature of a canonical request: lower-case hex. ``scope`` is ``<date>/<service>/tc3_request``."""
    hashed = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{hashed}"
    return hmac.digest(key, text.encode("latin-1"), "sha256").hex()


def _date(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")


def _candidates(names: list[str], headers: Mapping[str, str]) -> Iterable[dict[str, str]]:
    """Every set of header values that a client may have signed; the one of most SDKs comes first."""
    others = {name: headers[name].strip() for name in names if name not in ("host", "content-type")}
    variants = [others]
    # Tencent's page wants header values in lower case; SDKs sign none but host and content-type.
    if (lowered := {name: value.lower() for name, value in others.items()}) != others:
        variants.append(lowered)
    for rest, host, kind in itertools.product(variants, hosts(headers["host"]), _content_types(headers["content-type"])):
        yield {**rest, "host": host, "content-type": kind}


def hosts(sent: str) -> list[str]:
    """What a client may have signed as its host: with the port as sent (most SDKs) and without it (Node)."""
    raw = sent.strip()
    without = re.sub(r":[0-9]+\Z", "", raw)
    return list(dict.fromkeys([raw, without, raw.lower(), without.lower()]))


def _content_types(sent: str) -> list[str]:
    """As sent, and with and without a charset: .NET signs one that it does not send."""
    raw = sent.strip()
    bare = raw.split(";")[0].strip()
    return list(dict.fromkeys([raw, bare, f"{bare}; charset=utf-8", raw.lower(), bare.lower()]))
