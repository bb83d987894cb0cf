"""Error messages in English and in Chinese."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from rokuga.api.language import catalogue, in_language
from rokuga.errors import ApiError, Fault
from rokuga.words import Words

from .calls import APP, TASK, create_body
from .conftest import Running
from .wire import Wire, http, tc3, v1

SOURCE = Path(__file__).parents[2] / "src/rokuga"
MAKERS = {"Words": 0, "TicketError": 0, "wrong": 1}
"""Functions that are given a template, and which of their arguments it is."""


def templates() -> Iterator[str]:
    """Every template in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text("utf-8")
        if not any(f"{maker}(" in text for maker in MAKERS):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                given = node.args[MAKERS[node.func.id]]
                if isinstance(given, ast.Constant):
                    yield str(given.value)


def names(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_message_has_its_chinese_and_no_other_has() -> None:
    said = set(templates())
    assert len(said) > 60
    assert said == set(catalogue()["messages"])


def test_both_languages_say_the_same_values() -> None:
    for english, chinese in catalogue()["messages"].items():
        assert names(english) == names(chinese), english
        assert re.search(r"[\u4e00-\u9fff]|^\s*`", chinese), english


def test_words_are_a_string_and_remember() -> None:
    what = Words("must be from {low} to {high}, not {got}", low=1, high=2, got="{x}")
    text = Words("The parameter `{path}` {what}.", path="A.B", what=what)
    assert text == "The parameter `A.B` must be from 1 to 2, not {x}."
    assert in_language(text, "X", "zh-CN") == "参数 `A.B` 必须在 1 到 2 之间，不能是 {x}。"
    for language in ("", "en-US", "ja", "zh"):
        assert in_language(text, "X", language) == text


def test_texts_of_other_parts_are_told_by_their_code() -> None:
    assert "不存在" in in_language("no running task t", "ResourceNotFound", "zh-CN")
    assert in_language("something new", "Unknown", "zh-CN") == "something new"


@pytest.mark.parametrize("language", ["zh-CN", "ZH-cn"])
async def test_the_request_says_the_language(api: Running, wire: Wire, language: str) -> None:
    body = create_body(RecordParams__MaxIdleTime=4)
    expected = "参数 `RecordParams.MaxIdleTime` 必须在 5 到 86400 之间，不能是 4。"
    header = {"X-TC-Language": language}
    for request in (
        tc3(wire.endpoint, "CreateCloudRecording", body, more=header),
        tc3(wire.endpoint, "CreateCloudRecording", body, method="GET", more=header),
        v1(wire.endpoint, "CreateCloudRecording", body, Language=language),
        v1(wire.endpoint, "CreateCloudRecording", body, method="GET", Language=language),
    ):
        assert (await wire.send(request))["Error"]["Message"] == expected
    # Before the signature, and from behind the API.
    unsigned = await wire.send(http("POST", "/", {"Host": "x", **header}))
    assert unsigned["Error"]["Message"].startswith("请求没有签名")
    foreign = await wire.send(tc3(wire.endpoint, "DescribeCloudRecording", {"SdkAppId": APP, "TaskId": TASK}, more=header))
    assert "没有这个正在运行的任务" in foreign["Error"]["Message"]
    api.tasks.error = ApiError("InternalError.CRInternalError", "not now", Fault.SERVICE)
    failed = await wire.send(tc3(wire.endpoint, "CreateCloudRecording", create_body(), more=header))
    assert failed["Error"]["Message"] == "服务器内部错误，请稍后使用相同参数重试。"


async def test_english_otherwise(wire: Wire) -> None:
    body = create_body(UserId="a b")
    expected = "The parameter `UserId` must be letters, digits, `_` and `-`."
    for more in ({}, {"X-TC-Language": "en-US"}, {"X-TC-Language": "ja-JP"}):
        answer = await wire.send(tc3(wire.endpoint, "CreateCloudRecording", body, more=more))
        assert answer["Error"]["Message"] == expected
