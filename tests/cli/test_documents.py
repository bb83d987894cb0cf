"""What the documents say of files, commands and the SDK is true."""

import re
from pathlib import Path
from typing import Any

import pytest

from rokuga.api.rules import bucket_of, check_create
from rokuga.api.schema import CreateCloudRecording
from tests.cli.test_cli import COMMANDS

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "README.ja.md"]
PAGES = [*READMES, *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere_and_commands_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert set(re.findall(r"(?:`|bin/)rokuga ([a-z]+)", text)) <= COMMANDS | {"up"}


def test_both_languages_say_the_same() -> None:
    english, japanese = (page.read_text("utf-8") for page in READMES)
    for pattern in (r"^## ", r"^- ", r"^```", r"^    \S"):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(re.findall(pattern, japanese, re.MULTILINE)), pattern


@pytest.mark.parametrize("page", READMES, ids=lambda p: p.name)
def test_the_example_of_the_sdk_works(page: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    made: dict[str, Any] = {"SECRET_ID": "id", "SECRET_KEY": "key", "USER_SIG": "x" * 80}
    # All but the last line, which sends it.
    exec("\n".join(code.strip().splitlines()[:-1]), made)
    request = CreateCloudRecording.model_validate(made["request"]._serialize())
    check_create(request)
    assert bucket_of(request).Bucket == "mine"
