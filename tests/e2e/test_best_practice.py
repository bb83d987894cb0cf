"""What TRTC's guide advises its customers ("Best practices" of on-cloud recording), rehearsed with `rokuga.client` on the real thing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import pytest_asyncio

from rokuga.client import PAUSES, CallError, Client, NotFound, TooManyRecordings, WrongParameter
from rokuga.control.client import TaskClient
from rokuga.control.model import Lists, Params, StoreTarget, TaskInput, Timing
from rokuga.journal.records import Loss
from rokuga.journal.records import Params as ParamsRecord
from tests.kit.journals import opened, records
from tests.kit.media_checks import not_in_order, playlist, playlists, slices_of, watch
from tests.kit.people import person, prepare
from tests.kit.receiver import Receiver
from tests.kit.running import BUCKET, SDK_APP_ID, Running, until
from tests.kit.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

MAX_TASKS = 2
STORAGE = {"Vendor": 0, "Region": "local", "Bucket": BUCKET, "AccessKey": "none", "SecretKey": "none"}
MODIFIES, PER_RUN, AT_A_TIME = 300, 50, 6

Sleep = Callable[[float], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> AsyncIterator[Running]:
    prepare("alice")
    options: dict[str, Any] = {"app": {"max_tasks": MAX_TASKS}, "recorder": {"segment_seconds": 2}, "server": {"requests_per_second": 1000}}
    async with Running(tmp_path_factory.mktemp("system"), callback_url=receiver.url, **options) as running:
        yield running


def client(system: Running, sleep: Sleep, url: str = "") -> Client:
    app = system.config.apps[0]
    return Client(url or system.api, app.secret_id, app.secret_key.get_secret_value(), app.sdk_app_id, sleep=sleep)


async def never(seconds: float) -> None:
    raise AssertionError(f"nothing was to be waited for, least of all {seconds} s")


async def ended(receiver: Receiver, calls: Client, task_id: str) -> None:
    await calls.delete(task_id)
    await receiver.wait_for(305, task_id=task_id)


async def test_internal_error_is_tried_again_with_the_same_parameters(system: Running, receiver: Receiver) -> None:
    """Nobody runs the workflows at first."""
    waited: list[float] = []

    async def mend(seconds: float) -> None:
        waited.append(seconds)
        os.kill(system.pids["control"], signal.SIGCONT)

    async with client(system, mend) as calls, person(system.janus, "again", "alice", "audio"):
        os.kill(system.pids["control"], signal.SIGSTOP)
        try:
            task_id = await calls.create("again", "recorder_1", system.user_sig("recorder_1"), STORAGE)
        finally:
            os.kill(system.pids["control"], signal.SIGCONT)
        assert waited == [PAUSES[0]]
        await receiver.wait_for(304, task_id=task_id)
        assert (await calls.describe(task_id)).status == "InProgress"
        await ended(receiver, calls, task_id)


async def test_a_create_whose_answer_was_lost_is_replaced_by_the_next(system: Running, receiver: Receiver) -> None:
    wire = Wire(int(system.api.rpartition(":")[2]))
    await wire.mend()
    wire.lose = 1
    before = {event.task_id for event in receiver.events()}
    lost: list[str] = []

    async def wait_for_the_first(seconds: float) -> None:
        """Until it records, of whose TaskId its customer knows nothing."""
        await until(lambda: {event.task_id for event in receiver.events() if event.type == 304} - before)
        lost.extend({event.task_id for event in receiver.events()} - before)

    async with client(system, wait_for_the_first, f"http://127.0.0.1:{wire.port}") as calls, person(system.janus, "lost", "alice", "audio"):
        task_id = await calls.create("lost", "recorder_1", system.user_sig("recorder_1"), STORAGE)
        (first,) = lost
        await receiver.wait_for(305, task_id=first)
        await receiver.wait_for(304, task_id=task_id)
        with pytest.raises(NotFound):
            await calls.describe(first)
        status = await calls.describe(task_id)
        assert status.status == "InProgress"
        assert [file.user_id for file in status.files] == ["alice"]
        await ended(receiver, calls, task_id)
    await wire.cut()
    for one, leave_code in ((first, 101), (task_id, 0)):
        events = receiver.events(one)
        assert [event.type for event in events] == [301, 303, 307, 304, 302, 305]
        assert events[-2].payload == {"LeaveCode": leave_code}
        assert events[-1].payload == {"Status": 0}
        for path in playlists(system.store(one)):
            assert watch(path).problems == []
            assert playlist(path).closed


async def test_what_only_the_caller_can_mend_is_given_up_at_once(system: Running, receiver: Receiver) -> None:
    async with client(system, never) as calls:
        mistakes: list[dict[str, Any]] = [{"user_sig": "not one"}, {"record": {"MaxIdleTime": 1}}, {"cloud_storage": {}}]
        for wrong in mistakes:
            given: dict[str, Any] = {"user_sig": system.user_sig("recorder_1"), "cloud_storage": STORAGE, **wrong}
            with pytest.raises(WrongParameter):
                await calls.create("wrong", "recorder_1", **given)
        with pytest.raises(NotFound):
            await calls.delete("t" + "x" * 32)
        with pytest.raises(CallError, match=r"FailedOperation\.RoomNotExist"):
            await calls.dismiss("nowhere")
        with pytest.raises(CallError, match=r"FailedOperation\.RoomNotExist"):
            await calls.remove_users(77, ["alice"])
        tasks = [await calls.create(7, f"bot_{number}", system.user_sig(f"bot_{number}"), STORAGE) for number in range(MAX_TASKS)]
        with pytest.raises(TooManyRecordings, match="max_tasks"):
            await calls.create(7, "bot_9", system.user_sig("bot_9"), STORAGE)
        for task_id in tasks:
            await receiver.wait_for(301, task_id=task_id)
        await calls.dismiss(7)
        for task_id in tasks:
            await receiver.wait_for(305, task_id=task_id)
            (out,) = [event for event in receiver.events(task_id) if event.type == 302]
            assert out.payload == {"LeaveCode": 2}


async def test_300_modifies_roll_the_workflow_over_and_lose_nothing(system: Running, receiver: Receiver) -> None:
    """As from an API that has no node on its machine: the workflow begins anew every 50 of them. And 300 more by the node's door.

    What a customer cannot set is set here by starting the task as the API does.
    """
    orchestrator = await system.orchestrator()
    target = StoreTarget(0, "local", BUCKET, "none", "none")
    params = Params(SDK_APP_ID, "modified", 0, "recorder_1", segment_seconds=2)
    task_id = "t" + "m" * 32
    task = TaskInput(task_id, params, target, system.user_sig("recorder_1"), timing=replace(Timing(), updates_per_run=PER_RUN))
    far = TaskClient(orchestrator)
    await far.create(task, MAX_TASKS + 1, 72)
    async with client(system, never) as calls, person(system.janus, "modified", "alice") as alice:
        await receiver.wait_for(304, task_id=task_id, count=2)
        first_run = (await orchestrator.get_workflow_handle(task_id).describe()).run_id
        numbers = iter(range(2 * MODIFIES))

        async def modify_far() -> None:
            for number in islice(numbers, MODIFIES // AT_A_TIME):
                await far.modify(SDK_APP_ID, task_id, f"m{number}", Lists(video_block=[f"nobody_{number}"]), {})

        async def modify_on() -> None:
            for number in numbers:
                await calls.modify(task_id, {"UnSubscribeVideoUserIds": [f"nobody_{number}"]})

        await asyncio.gather(*(modify_far() for _ in range(AT_A_TIME)))
        await until(lambda: said(system, task_id)[-1].params["lists"]["video_block"] == [f"nobody_{MODIFIES - 1}"])
        between = said(system, task_id)[-1].version
        await asyncio.gather(*(modify_on() for _ in range(AT_A_TIME)))
        count = len(alice.sent["video"])
        await until(lambda: len(alice.sent["video"]) > count + 45)
        await alice.unpublish()
        await ended(receiver, calls, task_id)
    updates = await _updates(orchestrator, task_id, first_run)
    assert sum(updates) == MODIFIES + 1, "the Delete is one"
    assert max(updates) < 2 * PER_RUN
    journal = records(system.data, task_id)
    versions = [record.version for record in said(system, task_id)]
    assert versions == list(range(1, between + MODIFIES + 1)), "those by the door are all in the journal"
    assert [record for record in journal if isinstance(record, Loss)] == []
    assert sorted(opened(system.data, task_id)) == [("alice", "main", "audio"), ("alice", "main", "video")]
    for path in playlists(system.store(task_id)):
        assert "EXT-X-DISCONTINUITY" not in playlist(path).text
        seen = watch(path)
        assert seen.problems == []
        if seen.video:
            assert not_in_order(slices_of(alice.sent["video"]), seen.video.slices) == ""
            assert seen.video.slices[-1] == slices_of(alice.sent["video"])[-1]
    assert receiver.types(task_id) == [301, 303, *[t for t in receiver.types(task_id) if t in (307, 304)], 302, 305]


def said(system: Running, task_id: str) -> list[ParamsRecord]:
    """What the journal says of the parameters."""
    return [record for record in records(system.data, task_id) if isinstance(record, ParamsRecord)]


async def _updates(orchestrator: Any, task_id: str, run_id: str) -> list[int]:
    """How many each run took, from that one on."""
    counts = []
    while run_id:
        history = await orchestrator.get_workflow_handle(task_id, run_id=run_id).fetch_history()
        counts.append(sum(event.HasField("workflow_execution_update_accepted_event_attributes") for event in history.events))
        run_id = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return counts
