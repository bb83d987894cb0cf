"""The language of error messages: English, or Chinese where the request asks for it (``X-TC-Language`` or ``Language`` is ``zh-CN``).

The texts stand in the code, in English, as `Words`; their Chinese is in ``zh-CN.toml`` beside this file.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from rokuga.words import Words

CHINESE = "zh-CN"


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Two tables: ``messages``, the Chinese of each template, and ``codes``, what is said of an error whose text is none of ours."""
    found: dict[str, dict[str, str]] = tomllib.loads((files("rokuga.api") / "zh-CN.toml").read_text("utf-8"))
    return found


def in_language(message: str, code: str, language: str) -> str:
    """An error's ``message`` in ``language``; whatever is not ``zh-CN`` is English, as on Tencent Cloud's international site."""
    if language.strip().lower() != CHINESE.lower():
        return str(message)
    if isinstance(message, Words) and message.template in catalogue()["messages"]:
        return _chinese(message)
    return catalogue()["codes"].get(code, str(message))


def _chinese(text: Words) -> str:
    values: dict[str, Any] = {name: _chinese(value) if isinstance(value, Words) else value for name, value in text.values.items()}
    return catalogue()["messages"].get(text.template, text.template).format(**values)
