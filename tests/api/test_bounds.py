"""Each field's type, range and default as TRTC's API documents them: one row a field in ``fields.jsonl``, sent signed over HTTP.

A row has the SDK's ``model`` and ``field``, its ``type``, the code that answers when it is ``absent`` (none: it may be), the ``default``
that then holds, the width and height of the ``canvas`` where it is not the default one, and by code what it ``answers`` to which values
("": they are taken).
"""

import copy
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.trtc.v20190722 import models

from rokuga.api import usersig
from rokuga.api.rules import check_create
from rokuga.api.schema import CreateCloudRecording

from .calls import APP, USER_SIG_KEY, create_body
from .conftest import Running
from .memory import MemoryTasks
from .wire import Wire, flat, tc3, v1

pytestmark = pytest.mark.live

ROWS: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "fields.jsonl").read_text("utf-8").splitlines()]
MODELS = sorted({row["model"] for row in ROWS})
OWN_CODE = ("RoomId", "SdkAppId", "TaskId", "UserId", "UserSig")
CREATE, MODIFY = "CreateCloudRecording", "ModifyCloudRecording"

BOX = {"Top": 0, "Left": 0, "Width": 9, "Height": 9}
VIDEO = {"Width": 640, "Height": 360, "Fps": 15, "BitRate": 550000, "Gop": 10}
IMAGE = BOX | {"WaterMarkUrl": "https://h/m.png"}
LAYOUT: dict[str, Any] = {"MixLayoutMode": 4}
PLACES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    # The action that has such an object, where in it, and what the object holds besides the field that is looked at.
    **{f"{action}Request": [(action, "", {})] for action in (CREATE, "DescribeCloudRecording", MODIFY, "DeleteCloudRecording")},
    "RecordParams": [(CREATE, "RecordParams", {"RecordMode": 1})],
    "SubscribeStreamUserIds": [(CREATE, "RecordParams.SubscribeStreamUserIds", {}), (MODIFY, "SubscribeStreamUserIds", {})],
    "StorageParams": [(CREATE, "StorageParams", create_body()["StorageParams"])],
    "CloudStorage": [(CREATE, "StorageParams.CloudStorage", create_body()["StorageParams"]["CloudStorage"])],
    "CloudVod": [(CREATE, "StorageParams.CloudVod", {})],
    "TencentVod": [(CREATE, "StorageParams.CloudVod.TencentVod", {"ExpireTime": 0})],
    "MixTranscodeParams": [(CREATE, "MixTranscodeParams", {})],
    "VideoParams": [(CREATE, "MixTranscodeParams.VideoParams", VIDEO)],
    "AudioParams": [(CREATE, "MixTranscodeParams.AudioParams", {"SampleRate": 1, "Channel": 2, "BitRate": 64000})],
    "MixLayoutParams": [(CREATE, "MixLayoutParams", LAYOUT), (MODIFY, "MixLayoutParams", LAYOUT)],
    "MixLayout": [(CREATE, "MixLayoutParams.MixLayoutList.0", dict.fromkeys(BOX, 0))],
    "WaterMark": [(CREATE, "MixLayoutParams.WaterMarkList.0", {"WaterMarkImage": IMAGE})],
    "WaterMarkImage": [(CREATE, "MixLayoutParams.WaterMarkList.0.WaterMarkImage", IMAGE)],
    "WaterMarkChar": [(CREATE, "MixLayoutParams.WaterMarkList.0.WaterMarkChar", BOX | {"Chars": "x"})],
    "WaterMarkTimestamp": [(CREATE, "MixLayoutParams.WaterMarkList.0.WaterMarkTimestamp", {"Pos": 0})],
}
NOT_ORDERED = ("OutputFormat", "MaxMediaFileDuration", "SubscribeAbility")
"""What an order does not show: its default is in the request as the API has read it."""
MARK_TYPES = {"WaterMarkChar": 1, "WaterMarkTimestamp": 2}
WRONG_TYPES: dict[str, list[Any]] = {
    "integer": ["1", 1.5, 1.0, True, [1], {"a": 1}],
    "string": [5, True, ["a"], {"a": "b"}],
    "boolean": [1, "true", [True]],
    "object": ["x", 5, [1]],
    "list of string": ["x", 5, {"a": "b"}, [5], [["a"]]],
    "list of object": ["x", 5, {"a": "b"}, ["x"], [5]],
}
WRONG_TEXTS = {"integer": ["x", "1.5", "", "0x1", "+1", "١"], "boolean": ["yes", "2", ""], "object": ["x"], "list of string": ["x"]}


def sdk_fields() -> Iterator[tuple[str, str]]:
    """Every field of the four requests in the official SDK, with the model that has it."""
    seen: set[str] = set()
    todo = [f"{action}CloudRecordingRequest" for action in ("Create", "Describe", "Modify", "Delete")]
    while todo:
        model = todo.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, member in vars(getattr(models, model)).items():
            if isinstance(member, property):
                yield model, name
                # The SDK says a field's type nowhere else.
                kind = str(re.search(r":rtype: (.*)", member.fget.__doc__ or "").group(1))  # type: ignore[union-attr]
                inner = re.search(r"(?:models\.|list of )(\w+)", kind)
                if inner and hasattr(models, inner[1]):
                    todo.append(inner[1])


def test_there_is_one_row_for_each_field_of_the_sdk() -> None:
    fields = sorted(sdk_fields())
    assert len(fields) == len(set(fields)) == len(ROWS) == 106
    assert sorted((row["model"], row["field"]) for row in ROWS) == fields


def unfolded(value: Any) -> Any:
    """A row's value with its repetitions written out."""
    match value:
        case {"repeat": [unit, times]}:
            return unfolded(unit) * times
        case dict():
            return {key: unfolded(item) for key, item in value.items()}
        case list():
            return [unfolded(item) for item in value]
    return value


def node_at(body: dict[str, Any], path: str, held: dict[str, Any]) -> dict[str, Any]:
    """The object at ``path``, made with ``held`` in it."""
    node: Any = body
    if not path:
        return body
    steps = path.split(".")
    for step, after in zip(steps, [*steps[1:], ""], strict=True):
        fresh: Any = [{}] if after == "0" else copy.deepcopy(held) if not after else {}
        node = node[0] if step == "0" else node.setdefault(step, fresh)
        if step == "0" and not after:
            node.update(copy.deepcopy(held))
    assert isinstance(node, dict)
    return node


class Bench:
    """Sends bodies that differ in one field. ``read`` is the Create that the API has read last."""

    def __init__(self, api: Running, wire: Wire) -> None:
        self.tasks, self.wire = api.tasks, wire
        self.task_id = ""
        self.turns = 0
        self.read: CreateCloudRecording

    def note(self, request: CreateCloudRecording) -> None:
        self.read = request
        check_create(request)

    async def start(self) -> None:
        created = await self.wire.send(tc3(self.wire.endpoint, CREATE, create_body()))
        self.task_id = created["TaskId"]
        self.kept = dict(self.tasks.tasks)

    def body(self, action: str, path: str, held: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A right request, and the object in it."""
        body: dict[str, Any] = create_body() if action == CREATE else {"SdkAppId": APP, "TaskId": self.task_id}
        if "CloudVod" in path:
            body["StorageParams"] = {}
        if path.startswith("Mix"):
            body.setdefault("RecordParams", {})["RecordMode"] = 2
        if path.startswith("MixLayoutParams."):
            body["MixLayoutParams"] = {"MixLayoutMode": 4}
        node = node_at(body, path, held)
        if (kind := MARK_TYPES.get(path.split(".")[-1])) is not None:
            body["MixLayoutParams"]["WaterMarkList"][0]["WaterMarkType"] = kind
        return body, node

    def changed(self, row: dict[str, Any], action: str, path: str, held: dict[str, Any], value: Any) -> dict[str, Any]:
        """A request that is right but for that value of the row's field."""
        body, node = self.body(action, path, held)
        node[row["field"]] = value
        if "canvas" in row:
            width, height = row["canvas"]
            body["MixTranscodeParams"] = {"VideoParams": VIDEO | {"Width": width, "Height": height}}
        if action == CREATE and not path and row["field"] == "UserId":
            body["UserSig"] = usersig.make(APP, value, USER_SIG_KEY, int(time.time()))
        return body

    async def as_json(self, action: str, body: dict[str, Any]) -> str:
        """The code that answers it."""
        return await self._ask(tc3(self.wire.endpoint, action, body))

    async def as_text(self, action: str, body: dict[str, Any]) -> str:
        """The same where all values are text: in turn a query string and a form."""
        self.turns += 1
        endpoint = self.wire.endpoint
        return await self._ask(v1(endpoint, action, body) if self.turns % 2 else tc3(endpoint, action, body, method="GET"))

    async def _ask(self, request: bytes) -> str:
        # Nothing that this one deletes or starts counts for the next.
        self.tasks.tasks = dict(self.kept)
        return await self.wire.code(request)


@pytest.fixture
async def bench(api: Running, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(api, wire)
    monkeypatch.setattr("rokuga.api.rules.check_create", made.note)
    await made.start()
    return made


def on_the_way(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, str, dict[str, Any]]]:
    for row in rows:
        for action, path, held in PLACES[row["model"]]:
            yield row, action, path, held


def rows_of(model: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["model"] == model]


@pytest.mark.parametrize("model", MODELS)
async def test_ranges(bench: Bench, model: str) -> None:
    for row, action, path, held in on_the_way(rows_of(model)):
        for expected, values in row["answers"].items():
            for value in map(unfolded, values):
                body = bench.changed(row, action, path, held, value)
                codes = [await bench.as_json(action, body)]
                if flat(value):
                    codes.append(await bench.as_text(action, body))
                assert set(codes) == {expected}, (path, row["field"], str(value)[:80], codes)


@pytest.mark.parametrize("model", MODELS)
async def test_absent_fields_and_defaults(bench: Bench, model: str) -> None:
    for row, action, path, held in on_the_way(rows_of(model)):
        for absent in ("dropped", "null"):
            body, node = bench.body(action, path, held)
            node.pop(row["field"], None)
            if absent == "null":
                node[row["field"]] = None
            elif path and not held and not node:
                node["New"] = 1
            bench.tasks.modified.clear()
            code = await bench.as_json(action, body)
            expected = row.get("absent", "FailedOperation.CRUnsupportMethod" if "CloudVod" in path else "")
            assert code == expected, (path, row["field"], code)
            if "default" in row:
                assert taken(bench, action, path, row["field"]) == row["default"], (path, row["field"])


@pytest.mark.parametrize("model", MODELS)
async def test_wrong_types(bench: Bench, model: str) -> None:
    for row, action, path, held in on_the_way(rows_of(model)):
        name = row["field"]
        expected = f"InvalidParameter.{name}" if (not path and name in OWN_CODE) or name == "BackgroundImageUrl" else "InvalidParameter"
        for value in WRONG_TYPES[row["type"]]:
            body, node = bench.body(action, path, held)
            node[name] = value
            assert await bench.as_json(action, body) == expected, (path, name, value)
        for text in WRONG_TEXTS.get(row["type"], []):
            body, node = bench.body(action, path, held)
            node[name] = text
            assert await bench.as_text(action, body) == expected, (path, name, text)


@pytest.mark.parametrize("value", ["True", "true", "1", "False", "false", "0"])
async def test_truth_as_text(bench: Bench, value: str) -> None:
    body, node = bench.body(MODIFY, "MixLayoutParams", LAYOUT)
    node["PureAudioDisableLayout"] = value
    request = tc3(bench.wire.endpoint, MODIFY, body, method="GET")
    assert await bench.wire.code(request) == ""
    [(_, layout)] = bench.tasks.modified
    assert layout["PureAudioDisableLayout"] is (value.lower() in ("true", "1"))


def taken(bench: Bench, action: str, path: str, name: str) -> Any:
    """What holds for a field: as it was ordered, or read."""
    if name in NOT_ORDERED:
        return getattr(bench.read.RecordParams, name)
    if name == "SubscribeStreamUserIds":
        inner = f"{path}.{name}".lstrip(".")
        return {row["field"]: ordered(bench.tasks, action, inner, row["field"]) for row in rows_of(name)}
    return ordered(bench.tasks, action, path, name)


def ordered(tasks: MemoryTasks, action: str, path: str, name: str) -> Any:
    """What was ordered for a field."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    if name == "ResourceExpiredHour":
        return tasks.expire_hours
    if path.endswith("SubscribeStreamUserIds"):
        kind = "audio" if "Audio" in name else "video"
        lists = tasks.modified[-1][0] if action == MODIFY else list(tasks.tasks.values())[-1].params.lists
        return getattr(lists, f"{kind}_{'block' if name.startswith('Un') else 'allow'}")
    if path.startswith("MixLayoutParams"):
        node: Any = tasks.modified[-1][1] if action == MODIFY else list(tasks.tasks.values())[-1].params.layout
        for step in path.split(".")[1:]:
            node = node[0] if step == "0" else node[step]
        return node[name]
    task = list(tasks.tasks.values())[-1]
    return task.target.prefix if name == "FileNamePrefix" else getattr(task.params, snake)
