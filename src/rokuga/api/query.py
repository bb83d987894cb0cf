"""The parameters of a GET request: nested objects flattened with dots and list indices, as in ``RecordParams.RecordMode=1&UserIds.0=a``."""

from typing import Any
from urllib.parse import parse_qsl

from rokuga.errors import ApiError

FIELDS_MAX = 2000
DEPTH_MAX = 8


def unflatten(query: str) -> dict[str, Any]:
    """The nested object that a query string says; all values are strings. Raises ApiError InvalidParameter."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        raise ApiError(
            "InvalidParameter", f"The query string must be UTF-8, percent-encoded, of at most {FIELDS_MAX} parameters."
        ) from None
    tree: dict[str, Any] = {}
    for name, value in pairs:
        *parents, last = name.split(".", DEPTH_MAX)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ApiError("InvalidParameter", "A parameter of the query string is both a value and an object.")
        if last in node:
            raise ApiError("InvalidParameter", "A parameter of the query string is given twice.")
        node[last] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    """Objects whose keys are 0, 1, 2, … become lists."""
    if not isinstance(value, dict):
        return value
    items = {key: _lists(item) for key, item in value.items()}
    if items and items.keys() == {str(index) for index in range(len(items))}:
        return [items[str(index)] for index in range(len(items))]
    return items
