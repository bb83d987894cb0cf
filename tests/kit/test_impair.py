"""The bad network does to packets what it is told to, and the same each time."""

from collections.abc import Sequence

import pytest

from tests.kit.impair import BLACKOUT, BURST, CALM, DUPLICATE, LOSS, PASSED, QUEUE, Conditions, Impairment

Fates = list[tuple[float, str, tuple[float, ...]]]


def run(conditions: Conditions, seconds: float = 20, rate: int = 100, size: int = 1000, seed: int = 1) -> tuple[Fates, Impairment]:
    """(sent, fate, arrivals) of a packet every ``1 / rate`` seconds."""
    impairment = Impairment(seed, conditions)
    return [(n / rate, *impairment.decide(n / rate, size)) for n in range(round(seconds * rate))], impairment


def arrivals(fates: Fates) -> list[float]:
    return [arrival for _, _, each in fates for arrival in each]


def lost(fates: Fates) -> list[float]:
    return [sent for sent, fate, _ in fates if fate != PASSED]


def test_a_good_network_passes_everything_at_once() -> None:
    fates, impairment = run(CALM)
    assert all((fate, each) == (PASSED, (sent,)) for sent, fate, each in fates)
    assert impairment.counts == {PASSED: 2000}


def test_loss_has_its_probability_and_its_seed() -> None:
    fates, impairment = run(Conditions(loss=0.05), seconds=100)
    assert 400 < impairment.counts[LOSS] < 600
    assert len(lost(fates)) == impairment.counts[LOSS]
    assert fates == run(Conditions(loss=0.05), seconds=100)[0]
    assert fates != run(Conditions(loss=0.05), seconds=100, seed=2)[0]


def test_bursts_are_packets_in_a_row() -> None:
    fates, impairment = run(Conditions(burst=20, burst_every=3))
    assert lost(fates) == pytest.approx([start + n / 100 for start in range(3, 20, 3) for n in range(20)])
    assert impairment.counts == {PASSED: 1880, BURST: 120}


def test_jitter_reorders_unless_told_not_to() -> None:
    for reorder in (True, False):
        fates, _ = run(Conditions(delay=0.1, jitter=0.3, reorder=reorder))
        came = arrivals(fates)
        assert all(0.1 <= arrival - sent <= 0.4 for (sent, _, _), arrival in zip(fates, came, strict=True))
        assert max(arrival - sent for (sent, _, _), arrival in zip(fates, came, strict=True)) > 0.39
        assert (came == sorted(came)) is not reorder


def test_duplicates_come_twice() -> None:
    fates, impairment = run(Conditions(duplicate=0.2))
    assert 300 < impairment.counts[DUPLICATE] < 500
    assert len(arrivals(fates)) == 2000 + impairment.counts[DUPLICATE]


def test_a_blackout_takes_everything_between_its_ends() -> None:
    fates, impairment = run(Conditions(blackouts=((1, 2), (5, 5.5))))
    assert {fate for sent, fate, _ in fates if 1 <= sent < 2 or 5 <= sent < 5.5} == {BLACKOUT}
    assert impairment.counts == {PASSED: 1850, BLACKOUT: 150}


def _rate(came: Sequence[float], size: int) -> float:
    return (len(came) - 1) * size / (came[-1] - came[0])


def test_a_rate_delays_first_and_then_loses() -> None:
    fates, impairment = run(Conditions(rate=50_000, queue=0.2))  # half of what is sent
    came = arrivals(fates)
    assert _rate(came, 1000) == pytest.approx(50_000, rel=0.02)
    assert 900 < impairment.counts[QUEUE] < 1000
    assert max(each[0] - sent for sent, _, each in fates if each) == pytest.approx(0.2, abs=0.03)


def test_conditions_change_in_the_middle() -> None:
    impairment = Impairment(1, Conditions(loss=1))
    assert impairment.decide(0, 100) == (LOSS, ())
    impairment.conditions = CALM
    assert impairment.decide(1, 100) == (PASSED, (1,))
    impairment.conditions = Conditions(burst=1, burst_every=2)
    assert [impairment.decide(now, 100)[0] for now in (2, 3, 4, 5)] == [PASSED, PASSED, BURST, PASSED]
