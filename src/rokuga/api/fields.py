"""Kinds of request fields: types, ranges and character sets, each with its own words for what is wrong.

A validator raises `wrong` of one of these kinds, which `rokuga.api.problems` maps to TRTC codes: ``type``, ``range``, ``format``,
``missing_value``. With the validation context ``{"text": True}`` (parameters of a query string) numbers
and booleans come as text.
"""

import re
from typing import Any, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from rokuga.words import Words

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

USER_ID = r"[A-Za-z0-9_-]+"
STRING_ROOM = r"[A-Za-z0-9 !#$%&()+\-:;<=.>?@\[\]^_{}|~,]+"
"""the 89 characters of a string room's id"""
NAME_PART = r"[A-Za-z0-9_-]+"
BUCKET = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*"
REGION = r"[A-Za-z0-9][A-Za-z0-9-]*"
VISIBLE = r"[!-~]+"
COLOUR = r"(?:#|0x)[0-9A-Fa-f]{6}"
IMAGE_URL = r"https?://[A-Za-z0-9\-._~:/?#\[\]@!&()*+,%=]+?\.(?:[jJ][pP][eE]?[gG]|[pP][nN][gG])(?:\?[A-Za-z0-9\-._~:/?#\[\]@!&()*+,%=]*)?"


def wrong(kind: Literal["type", "range", "format", "missing_value"], template: str, **values: object) -> PydanticCustomError:
    """What a validator raises; the words continue the sentence "The parameter `X` …"."""
    return PydanticCustomError(kind, "{what}", {"what": Words(template, **values)})


def _text_mode(info: ValidationInfo) -> bool:
    return bool(info.context and info.context.get("text"))


def _integer(value: Any, info: ValidationInfo) -> int:
    if type(value) is int:
        return value
    if _text_mode(info) and isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise wrong("type", "must be an integer")


def _shown(number: int) -> str:
    return str(number) if abs(number) < 10**20 else Words("a far larger number")


def span(low: int, high: int) -> BeforeValidator:
    """An integer from ``low`` to ``high``, both included."""

    def check(value: Any, info: ValidationInfo) -> int:
        number = _integer(value, info)
        if not low <= number <= high:
            raise wrong("range", "must be from {low} to {high}, not {got}", low=low, high=high, got=_shown(number))
        return number

    return BeforeValidator(check)


def one_of(*values: int) -> BeforeValidator:
    """One of a few integers."""

    def check(value: Any, info: ValidationInfo) -> int:
        number = _integer(value, info)
        if number not in values:
            raise wrong("range", "must be one of {values}, not {got}", values=", ".join(map(str, values)), got=_shown(number))
        return number

    return BeforeValidator(check)


def _boolean(value: Any, info: ValidationInfo) -> bool:
    if isinstance(value, bool):
        return value
    if _text_mode(info) and isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    raise wrong("type", "must be true or false")


boolean = BeforeValidator(_boolean)


def text(most: int, pattern: str = r"(?s:.*)", words: str = "", empty: bool = False) -> AfterValidator:
    """A string of at most ``most`` bytes that ``pattern`` matches as a whole; ``words`` say what it may hold. Never repeated."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not value:
            if empty:
                return value
            raise wrong("missing_value", "must not be empty")
        if len(value.encode()) > most:
            raise wrong("range", "must have at most {most} bytes", most=most)
        if not compiled.fullmatch(value):
            raise wrong("format", "must be {words}", words=words)
        return value

    return AfterValidator(check)


def _string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise wrong("type", "must be a string")


string = BeforeValidator(_string)


def _filled(value: list[Any]) -> list[Any]:
    if not value:
        raise PydanticCustomError("missing_value", "must not be empty")
    return value


filled = AfterValidator(_filled)


def at_most(count: int) -> AfterValidator:
    """A list of at most ``count`` entries."""

    def check(value: list[Any]) -> list[Any]:
        if len(value) > count:
            raise wrong("range", "must have at most {most} entries, not {got}", most=count, got=len(value))
        return value

    return AfterValidator(check)
