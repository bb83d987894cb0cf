"""From what validation finds wrong to TRTC's error codes.

Messages name the field, what is wrong and what to do; they repeat no text of the request, only numbers.
"""

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from rokuga.api.schema import Part
from rokuga.errors import ApiError
from rokuga.words import Words

MISSING = frozenset(
    """
    AccessKey Bucket CloudStorage RecordMode RecordParams Region RoomId SdkAppId SecretKey
    StorageParams TaskId UserId UserIds UserSig Vendor
    """.split()  # noqa: SIM905 - readable as the documentation's list
)
"""Fields that have a code of their own when they are missing. TRTC's list has StreamType too, which has a default."""
OWN_CODE = frozenset(["RoomId", "SdkAppId", "TaskId", "UserId", "UserIds", "UserSig"])
"""Fields of the request itself whose wrong values have a code of their own."""
NULLS_DEPTH = 64
PATH_SHOWN = 200

P = TypeVar("P", bound=Part)


def missing(path: str) -> ApiError:
    """The error for a required field that is absent or empty; ``path`` is dotted, as in ``RecordParams.RecordMode``."""
    name = path.rsplit(".", 1)[-1]
    code = f"MissingParameter.{name}" if name in MISSING else "MissingParameter"
    return ApiError(code, Words("The request is missing a required parameter `{path}`. Add it.", path=path))


def invalid(path: str, what: str, code: str = "InvalidParameter") -> ApiError:
    """The error for a wrong value: ``what`` continues the sentence "The parameter `X` …"."""
    return ApiError(code, Words("The parameter `{path}` {what}.", path=path, what=what))


def out_of_range(path: str, what: str) -> ApiError:
    return invalid(path, what, "InvalidParameter.OutOfRange")


def parse_json(body: bytes) -> dict[str, Any]:
    """The body's JSON object; an empty body is an empty one. Raises ApiError InvalidParameter."""
    if not body.strip():
        return {}
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise ApiError("InvalidParameter", Words("The body is not valid JSON in UTF-8. Send one JSON object.")) from None
    if not isinstance(data, dict):
        raise ApiError("InvalidParameter", Words("The body is JSON, but not an object. Send one JSON object."))
    return data


def parse(model: type[P], data: dict[str, Any], as_text: bool = False) -> P:
    """Validate a request; ``as_text`` for parameters of a query string. A null counts as absent.

    Raises ApiError: MissingParameter*, InvalidParameter*.
    """
    try:
        return model.model_validate(without_nulls(data), context={"text": as_text})
    except ValidationError as error:
        # Only the first problem: the envelope carries one code.
        first = error.errors(include_url=False, include_input=False)[0]
        raise _translate(first["type"], first["loc"], first.get("ctx", {}).get("what", first["msg"])) from None


def without_nulls(value: Any, depth: int = NULLS_DEPTH) -> Any:
    """Drop null members of objects: SDKs may send them for fields that were not set."""
    if depth and isinstance(value, dict):
        return {key: without_nulls(item, depth - 1) for key, item in value.items() if item is not None}
    if depth and isinstance(value, list):
        return [without_nulls(item, depth - 1) for item in value]
    return value


def _translate(kind: str, location: tuple[int | str, ...], words: str) -> ApiError:
    path = ".".join(map(str, location))[:PATH_SHOWN]
    if kind in ("missing", "missing_value"):
        return missing(path)
    code = "InvalidParameter.OutOfRange" if kind == "range" else "InvalidParameter"
    if len(location) == 1 and location[0] in OWN_CODE:
        code = f"InvalidParameter.{location[0]}"
    elif location[-1] == "BackgroundImageUrl":
        code = "InvalidParameter.BackgroundImageUrl"
    match kind:
        case "model_type":
            words = Words("must be an object")
        case "list_type":
            words = Words("must be a list")
        case "string_unicode":
            words = Words("must be valid Unicode text")
    return invalid(path, words, code)
