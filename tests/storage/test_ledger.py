"""The ledger: what may be put, in every order in which the store confirms."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rokuga.storage.ledger import Ledger
from rokuga.storage.spool import Segment

ONE = Segment("a.m3u8", 0, "a0.ts", 10, "", 0, 1.0, 0, "alice", "main", "audio")


def segments(count: int) -> list[Segment]:
    return [replace(ONE, index=i, name=f"a{i}.ts") for i in range(count)]


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_a_playlist_only_grows_and_lists_only_what_is_there(count: int, order: random.Random) -> None:
    ledger = Ledger()
    made = segments(count)
    for segment in made:
        assert ledger.exists(segment)
    shuffled = made[:]
    order.shuffle(shuffled)
    playlist = ledger.playlists["a.m3u8"]
    there: set[str] = set()
    before = 0
    for segment in shuffled:
        ledger.confirm(segment)
        there.add(segment.name)
        due = ledger.due(playlist)
        if due is not None:
            assert due[0] > before
            assert not due[1]
            assert {s.name for s in playlist.segments[: due[0]]} <= there
            if order.random() < 0.5:
                ledger.store("a.m3u8", *due)
                before = due[0]
    ledger.finished = True
    assert not ledger.drained
    assert ledger.due(playlist) == (count, True)
    ledger.store("a.m3u8", count, True)
    assert ledger.due(playlist) is None
    assert ledger.drained
    assert ledger.bytes_confirmed == ledger.bytes_spooled == 10 * count


def test_a_restart_never_offers_an_older_text() -> None:
    ledger = Ledger()
    made = segments(5)
    for segment in made[:4]:
        ledger.load({"segment": segment.name, "sha256": ""})
    ledger.load({"playlist": "a.m3u8", "count": 3, "closed": False})
    for segment in made[:3]:
        ledger.exists(segment)
        assert ledger.due(ledger.playlists["a.m3u8"]) is None
    ledger.exists(made[3])
    assert ledger.due(ledger.playlists["a.m3u8"]) == (4, False)


def test_a_closed_playlist_stays_closed() -> None:
    ledger = Ledger()
    ledger.load({"segment": "a0.ts", "sha256": ""})
    ledger.load({"playlist": "a.m3u8", "count": 1, "closed": True})
    ledger.exists(ONE)
    assert ledger.due(ledger.playlists["a.m3u8"]) is None
    ledger.finished = True
    assert ledger.drained


def test_lines_may_stand_twice() -> None:
    ledger = Ledger()
    assert ledger.exists(ONE)
    assert not ledger.exists(ONE)
    ledger.confirm(ONE)
    ledger.confirm(ONE)
    assert ledger.playlists["a.m3u8"].confirmed == 1
    assert ledger.bytes_confirmed == 10


def test_nothing_recorded_is_drained_at_once() -> None:
    ledger = Ledger()
    assert not ledger.drained
    ledger.finished = True
    assert ledger.drained
