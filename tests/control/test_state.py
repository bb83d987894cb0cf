"""A task's decisions, without Temporal: what follows from what, in whatever order it arrives."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.converter import value_to_type

from rokuga.control.model import Lists, Modified, Params, Report
from rokuga.control.state import TaskState, Todo

PARAMS = Params(sdk_app_id=1, room_id="r", room_id_type=0, user_id="bot")
PAUSES = [0.0, 0.0, 0.0]
CLOSE = 60_000


class Play:
    """Does what the state asks for, at once, and keeps what was sent."""

    def __init__(self) -> None:
        self.state = TaskState()
        self.now = 1_000
        self.sent: list[tuple[int, object]] = []
        self.released = 0
        self._number = 0

    def settle(self) -> None:
        while todo := self.state.todo(self.now, CLOSE):
            match todo:
                case Todo.EVENTS:
                    events, self.state.outbox = self.state.outbox, []
                    self.sent += [(e.type, next(iter(e.payload.values()))) for e in events]
                case Todo.RELEASE:
                    self.released += 1
                    self.state.release_due = False
                case Todo.LATE:
                    self.state.lates.append(self.state.lates_due.pop(0))
                case Todo.GENERATION:
                    self.state.opened()
                case Todo.CLOSE:
                    self.state.conclude(self.now)
                case Todo.LEAVE:
                    self.state.left = True

    def says(self, generation: int, kind: str, **payload: object) -> None:
        self._number += 1
        self.state.report(Report(generation, str(self._number), kind, self.now, payload), self.now)
        self.settle()

    def over(self, generation: int, kind: str, session: int = 0) -> None:
        self.state.recorder_over(generation, kind, session, None, PAUSES, self.now)
        self.settle()

    def running(self) -> "Play":
        self.settle()
        self.state.placed(0, "n1")
        self.says(0, "started")
        return self


def test_one_generation() -> None:
    play = Play().running()
    play.says(0, "flow", active=True)
    assert play.state.describe(PARAMS, 0).status == "InProgress"
    play.says(0, "stopped", leave_code=99)
    assert (play.released, play.state.closed) == (1, False)
    assert play.state.describe(PARAMS, 0).status == "Exited"
    play.says(0, "drained")
    assert play.sent == [(301, 0), (302, 99), (305, 0)]
    assert play.state.left
    play.over(0, "done")
    assert play.sent == [(301, 0), (302, 99), (305, 0)]


def test_files_that_stay_unconfirmed_close_it_after_a_minute() -> None:
    play = Play().running()
    play.says(0, "stopped", leave_code=0)
    play.now += CLOSE - 1
    play.settle()
    assert not play.state.closed
    assert play.state.wake_ms(CLOSE) == play.now + 1
    play.now += 1
    play.settle()
    assert play.sent[-1] == (305, 1)
    assert play.state.lates == [0]


def test_a_lost_generation_is_followed_by_the_next_and_owes_its_files() -> None:
    play = Play().running()
    play.over(0, "lost", session=77)
    assert (play.state.generation, play.state.session, play.state.lates) == (1, 77, [0])
    play.state.placed(1, "n2")
    play.says(1, "started")
    # What the lost one still says decides nothing.
    play.says(0, "stopped", leave_code=99)
    assert play.state.describe(PARAMS, 0).status == "Idle"
    play.says(1, "stopped", leave_code=0)
    play.says(1, "drained")
    assert not play.state.closed
    play.says(0, "drained")
    assert play.sent == [(301, 0), (306, 0), (302, 0), (305, 0)]


def test_lost_after_its_end_needs_no_successor() -> None:
    play = Play().running()
    play.says(0, "stopped", leave_code=0)
    play.over(0, "lost")
    assert (play.state.generation, play.state.lates) == (0, [0])
    play.state.late_over(0, False)
    play.settle()
    assert play.sent == [(301, 0), (302, 0), (305, 1)]
    assert play.state.left


def test_lost_before_it_was_in_the_room_the_next_one_is_the_start() -> None:
    play = Play()
    play.settle()
    play.state.placed(0, "n1")
    play.over(0, "lost")
    play.says(1, "started")
    play.state.late_over(0, False)
    play.says(1, "stopped", leave_code=0)
    play.says(1, "drained")
    assert play.sent == [(301, 0), (302, 0), (305, 0)]


def test_no_more_than_three_pull_ups() -> None:
    play = Play().running()
    for generation in range(4):
        play.over(generation, "lost")
    assert (play.state.generation, play.sent, play.released) == (3, [(301, 0), (302, 100)], 1)


def test_a_pull_up_that_cannot_start_is_followed_by_the_next_unless_there_is_no_room() -> None:
    play = Play().running()
    play.over(0, "lost")
    play.over(1, "start_failed")
    assert (play.state.generation, play.state.owed) == (2, [0, 2])
    play.over(2, "no_room")
    assert play.sent == [(301, 0), (302, 100)]


@pytest.mark.parametrize("kind", ["start_failed", "no_room"])
def test_never_started(kind: str) -> None:
    play = Play()
    play.settle()
    play.over(0, kind)
    assert play.sent == [(301, 1)]
    assert (play.released, play.state.left) == (1, True)


def test_stopped_between_two_generations() -> None:
    play = Play().running()
    play.state.recorder_over(0, "lost", 0, None, [5.0, 5.0, 5.0], play.now)
    assert play.state.wake_ms(CLOSE) == play.now + 5000
    play.state.stop(play.now)
    play.settle()
    assert play.sent == [(301, 0), (302, 0)]
    assert play.state.generation == 1


def test_stopped_while_the_node_dies() -> None:
    play = Play().running()
    play.state.stop(play.now)
    assert play.state.behind
    play.over(0, "lost")
    assert play.sent == [(301, 0), (302, 0)]
    assert (play.state.behind, play.state.lates) == (False, [0])


def test_a_new_version_is_owed_to_the_node_until_it_has_it() -> None:
    play = Play().running()
    assert not play.state.behind
    play.state.modify(PARAMS.lists, {}, 5)
    assert play.state.behind
    play.over(0, "lost")
    # The next generation starts with it.
    assert (play.state.behind, play.state.applied) == (False, 2)


def test_what_a_lost_recorder_was_told_at_its_nodes_door_holds_if_it_came_later() -> None:
    for ms, wins in ((4, False), (5, False), (6, True)):
        play = Play().running()
        play.state.modify(Lists(), {"by": "task"}, 5)
        play.state.recorder_over(0, "lost", 0, Modified(ms, Lists(), {"by": "door"}), PAUSES, play.now)
        assert (play.state.layout == {"by": "door"}) is wins
        play.state.modify(Lists(), {"by": "task"}, 7)
        assert play.state.layout == {"by": "task"}


REPORTS = ["started", "failed", "flow", "upload_started", "stopped", "drained", "sliced", "uploaded"]
GENERATIONS = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("report"), GENERATIONS, st.sampled_from(REPORTS)),
        st.tuples(st.just("over"), GENERATIONS, st.sampled_from(["done", "start_failed", "no_room", "lost"])),
        st.tuples(st.just("placed"), GENERATIONS, st.just("n")),
        st.tuples(st.just("late"), GENERATIONS, st.sampled_from(["whole", "gone"])),
        st.tuples(st.sampled_from(["stop", "wait", "carry"]), st.just(0), st.just("")),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_in_whatever_order(steps: list[tuple[str, int, str]]) -> None:
    """301 first and once, 302 at most once and only after 301 Status 0, 305 once and last of the three; the slot goes back once."""
    play = Play()
    play.settle()
    for what, generation, detail in steps:
        if what == "report":
            play.says(generation, detail, file=f"{generation}", user_id="u", track_type="audio", begin_ms=1, leave_code=0, active=True)
        elif what == "over":
            play.over(generation, detail)
        elif what == "placed":
            play.state.placed(generation, detail)
        elif what == "late":
            play.state.late_over(generation, detail == "whole")
        elif what == "stop" and not play.state.ended:
            play.state.stop(play.now)
        elif what == "wait":
            play.now += CLOSE
        elif what == "carry":
            play.state = value_to_type(TaskState, json.loads(json.dumps(dataclasses.asdict(play.state))))
        play.settle()
    types = [t for t, _ in play.sent if t in (301, 302, 305)]
    assert types in ([], [301], [301, 302], [301, 302, 305])
    assert ((301, 1) in play.sent) <= (types == [301])
    assert [t for t, _ in play.sent].count(303) <= 1
    assert play.released == (play.state.out_ms > 0)
    assert play.state.generation <= 3
    if play.state.closed:
        assert play.state.left


@pytest.mark.parametrize(
    ("foretold", "told", "later", "code"),
    [
        (1, 3, 1_000, 1),
        (2, 4, 1_000, 2),
        (1, 4, 1_000, 4),
        (2, 3, 1_000, 3),
        (1, 0, 1_000, 0),
        (1, 101, 1_000, 101),
        (1, 3, 60_000, 3),
        (1, 3, -1_000, 1),
        (0, 3, 1_000, 3),
    ],
)
def test_an_end_that_our_api_has_foretold_is_the_customer_s(foretold: int, told: int, later: int, code: int) -> None:
    """Kicked and dissolved are told alike whoever did it (LeaveCodes 1 to 4, payload of event 302 in TRTC's guide)."""
    play = Play().running()
    if foretold:
        play.state.foretell(foretold, play.now)
    play.now += later
    play.says(0, "stopped", leave_code=told)
    assert (302, code) in play.sent
