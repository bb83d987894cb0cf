"""The parameters of a query string or a form body: nested objects flattened with dots and indices, as in ``RecordParams.RecordMode=1``."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from rokuga.errors import ApiError
from rokuga.words import Words

FIELDS_MAX = 2000
DEPTH_MAX = 8


def pairs_of(text: str) -> list[tuple[str, str]]:
    """The names and values of a query string or form body, decoded, in their order; each name once. Raises ApiError InvalidParameter."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        what = Words("The parameters must be UTF-8, percent-encoded, {most} at most.", most=FIELDS_MAX)
        raise ApiError("InvalidParameter", what) from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise ApiError("InvalidParameter", Words("A parameter is given twice. Send each one once."))
    return pairs


def unflatten(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The nested object that parameters say; all values are strings. Raises ApiError InvalidParameter."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        *parents, last = name.split(".", DEPTH_MAX)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise _both()
        if last in node:
            raise _both()
        node[last] = value
    return {name: _lists(value) for name, value in tree.items()}


def _both() -> ApiError:
    return ApiError("InvalidParameter", Words("A parameter is both a value and an object. Send one of the two."))


def _lists(value: Any) -> Any:
    """Objects whose keys are 0, 1, 2, … become lists."""
    if not isinstance(value, dict):
        return value
    items = {key: _lists(item) for key, item in value.items()}
    if items and items.keys() == {str(index) for index in range(len(items))}:
        return [items[str(index)] for index in range(len(items))]
    return items
