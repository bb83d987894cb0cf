"""The callback queue against scripted and random receivers, in virtual time."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rokuga.deliver.events import Event
from rokuga.deliver.queue import MAX_WAITING, Queue, Retry

Answer = Callable[[str, float], bool]


def event(key: str, number: int = 304) -> Event:
    return Event(number, 0, {}, key)


def play(
    queue: Queue, answer: Answer, seconds: float, retry: Retry | None = None, begin: float = 0, took: float = 0
) -> list[tuple[float, str, bool]]:
    """Run the queue in virtual time; each try takes ``took`` seconds. Returns (second, key, taken) of every try."""
    now, tries = int(begin * 1000), []
    while now <= seconds * 1000:
        item = queue.due(now)
        if item is None:
            wake = queue.wake_ms()
            if wake is None:
                break
            now = wake
            continue
        if not item.body:
            item.body, item.first_ms = "frozen", now
        item.tries += 1
        ok = answer(item.event.key, now / 1000)
        tries.append((now / 1000, item.event.key, ok))
        now += int(took * 1000)
        if ok:
            queue.answered(item)
        else:
            queue.failed(item, now, retry or Retry())
    return tries


def test_the_schedule_of_one_event_that_always_fails() -> None:
    queue = Queue()
    queue.add(event("a"))
    times = [t for t, _, _ in play(queue, lambda *_: False, 30 * 24 * 3600)]
    assert times[:10] == [0, 0, 10, 20, 30, 40, 50, 60, 80, 120]
    gaps = [b - a for a, b in pairwise(times[7:])]
    assert gaps[:3] == [20, 40, 80]
    assert max(gaps) == 24 * 3600
    assert 7 * 24 * 3600 <= times[-1] <= 8 * 24 * 3600
    assert (queue.items, queue.dropped) == ([], 1)


def test_a_receiver_that_never_answers() -> None:
    """5 s a try, TRTC's limit: again at once, then 10 s after each failure."""
    queue = Queue()
    queue.add(event("a"))
    times = [t for t, _, _ in play(queue, lambda *_: False, 100, took=5)]
    assert times == [0, 5, 20, 35, 50, 65, 90]


def test_order_while_the_receiver_answers() -> None:
    queue = Queue()
    for key in "abcd":
        assert queue.add(event(key))
    assert not queue.add(event("b"))
    assert [k for _, k, _ in play(queue, lambda *_: True, 10)] == list("abcd")
    assert not queue.add(event("b"))


def test_order_over_an_outage_shorter_than_a_minute() -> None:
    queue = Queue()
    for key in "abc":
        queue.add(event(key))
    tries = play(queue, lambda _, now: now >= 25, 100)
    assert [(t, k) for t, k, ok in tries if ok] == [(30, "a"), (30, "b"), (30, "c")]


def test_one_that_is_refused_for_a_minute_steps_aside() -> None:
    queue = Queue()
    for key in ("bad", "b", "c"):
        queue.add(event(key))
    tries = play(queue, lambda key, _: key != "bad", 1000)
    taken = [(t, k) for t, k, ok in tries if ok]
    assert taken == [(60, "b"), (60, "c")]
    assert [t for t, k, _ in tries if k == "bad"] == [0, 0, 10, 20, 30, 40, 50, 60, 60, 100, 180, 340, 660]


def test_after_a_long_outage_the_oldest_come_first() -> None:
    queue = Queue()
    for key in "abcde":
        queue.add(event(key))
    tries = play(queue, lambda _, now: now >= 150, 10_000)
    taken = [k for _, k, ok in tries if ok]
    assert sorted(taken) == list("abcde")
    # a and b stood aside; the first success calls both back, before what was never tried.
    assert taken.index("d") > max(taken.index("a"), taken.index("b"))
    assert taken[-1] == "e"


def test_a_full_queue_drops_upload_errors_first() -> None:
    queue = Queue()
    queue.add(event("start", 301))
    queue.add(event("error", 308))
    for number in range(MAX_WAITING):
        queue.add(event(str(number)))
    assert len(queue.items) == MAX_WAITING
    assert queue.dropped == 2
    assert "error" not in [i.event.key for i in queue.items]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 6))
def test_every_event_arrives_once_whatever_the_receiver_does(answers: list[bool], count: int) -> None:
    queue = Queue()
    for number in range(count):
        queue.add(event(str(number)))
    script = iter(answers)
    tries = play(queue, lambda *_: next(script, True), 6 * 24 * 3600)
    taken = [k for _, k, ok in tries if ok]
    assert sorted(taken, key=int) == [str(n) for n in range(count)]
    assert queue.items == []
