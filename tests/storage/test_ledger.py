"""The ledger: what may be put, in every order in which the store confirms."""

import json
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
    text: list[str] = []
    for segment in shuffled:
        ledger.confirm(segment)
        there.add(segment.name)
        due = ledger.due(playlist)
        if due is not None:
            assert due[0] > before
            assert not due[1]
            text += [s.name for s in ledger.take(playlist)]
            assert text == [s.name for s in made[: due[0]]]
            assert set(text) <= there
            assert ledger.held == count - len(text) - len(playlist.there)
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
        ledger.load({"playlist": "a.m3u8", "index": segment.index, "segment": segment.name})
    ledger.load({"playlist": "a.m3u8", "count": 3, "closed": False})
    for segment in made[:3]:
        ledger.exists(segment)
        assert ledger.due(ledger.playlists["a.m3u8"]) is None
    ledger.exists(made[3])
    assert ledger.due(ledger.playlists["a.m3u8"]) == (4, False)


def test_a_closed_playlist_stays_closed() -> None:
    ledger = Ledger()
    ledger.load({"playlist": "a.m3u8", "index": 0, "segment": "a0.ts"})
    ledger.load({"playlist": "a.m3u8", "count": 1, "closed": True})
    ledger.exists(ONE)
    assert ledger.due(ledger.playlists["a.m3u8"]) is None
    assert ledger.held == 0, "nobody will take it into a text"
    ledger.finished = True
    assert ledger.drained


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_notes_tell_as_much_as_the_lines_that_they_replace(count: int, order: random.Random) -> None:
    made = segments(count)
    first = Ledger()
    for segment in made[: count // 2 + 1]:
        first.exists(segment)
    lines: list[dict[str, object]] = []
    for segment in order.sample(made[: count // 2 + 1], order.randrange(count // 2 + 2)):
        first.confirm(segment)
        lines.append({"playlist": "a.m3u8", "index": segment.index})
        due = first.due(first.playlists["a.m3u8"])
        if due is not None and order.random() < 0.3:
            first.store("a.m3u8", *due)
            lines.append({"playlist": "a.m3u8", "count": due[0], "closed": due[1]})
    shown = []
    for told in (lines, list(first.notes())):
        ledger = Ledger()
        for line in told:
            ledger.load(line)
        # Shortened once more, before the manifest is read.
        again = Ledger()
        for line in json.loads(json.dumps(list(ledger.notes()))):
            again.load(line)
        for one in (ledger, again):
            for segment in made:
                one.exists(segment)
            playlist = one.playlists["a.m3u8"]
            there = [s.index for s in made if one.has(s)]
            shown.append((there, playlist.confirmed, one.due(playlist), one.bytes_confirmed, one.take(playlist), one.held))
    assert all(each == shown[0] for each in shown)
    assert shown[0][0] == [s.index for s in made[: count // 2 + 1] if first.has(s)]


def test_what_unconfirmed_segments_are_made_of_is_told() -> None:
    ledger = Ledger()
    made = [replace(s, journal=[s.index, s.index + 1]) for s in segments(4)]
    for segment in made:
        ledger.exists(segment)
    assert ledger.journal() == {0, 1, 2, 3, 4}
    ledger.confirm(made[0])
    ledger.confirm(made[2])
    assert ledger.journal() == {1, 2, 3, 4}
    ledger.confirm(made[1])
    assert ledger.journal() == {3, 4}
    ledger.exists(replace(made[0], index=4, name="a4.ts", journal=[]))
    assert 0 in ledger.journal(), "it is not known"


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
