"""Users, streams, and since when nobody is there."""

from rokuga.capture.presence import Presence
from rokuga.journal.records import RoomEvent
from rokuga.room.protocol import MediaTrack, Published, Stream, UserJoined, UserLeft

AUDIO = MediaTrack("0", "audio", "opus")


def stream(user: str, order: int) -> Stream:
    return Stream(user, "main", user, order, AUDIO, None)


def test_joining_and_leaving_are_told_once() -> None:
    presence = Presence(0)
    assert presence.apply(UserJoined("b", 0), 1) == [RoomEvent("joined", "b", 0)]
    assert presence.apply(UserJoined("b", 0), 2) == []
    assert presence.apply(UserJoined("a", 1), 2) == [RoomEvent("joined", "a", 1)]
    assert presence.users == ["b", "a"]
    assert presence.apply(UserLeft("b"), 3) == [RoomEvent("left", "b", 0)]
    assert presence.apply(UserLeft("b"), 3) == []
    assert presence.users == ["a"]


def test_idle_counts_from_the_start_and_from_the_last_leaving_and_silent_anchors_count() -> None:
    presence = Presence(5)
    assert presence.idle_since_ns == 5
    presence.apply(Published(()), 6)
    assert presence.idle_since_ns == 5
    presence.apply(UserJoined("a", 0), 7)
    assert presence.idle_since_ns is None
    presence.apply(Published(()), 8)
    assert presence.idle_since_ns is None
    presence.apply(UserLeft("a"), 9)
    assert presence.idle_since_ns == 9


def test_who_leaves_publishes_nothing() -> None:
    presence = Presence(0)
    presence.apply(UserJoined("a", 0), 0)
    presence.apply(UserJoined("b", 1), 0)
    presence.apply(Published((stream("a", 0), stream("b", 1))), 0)
    presence.apply(UserLeft("a"), 0)
    assert presence.streams == (stream("b", 1),)


def test_after_a_lost_link_those_who_are_not_named_again_have_left() -> None:
    presence = Presence(0)
    for order, user in enumerate("abc"):
        presence.apply(UserJoined(user, order), 0)
    presence.link_lost()
    assert presence.streams == ()
    assert presence.apply(UserJoined("b", 1), 1) == []
    assert presence.apply(UserJoined("d", 3), 1) == [RoomEvent("joined", "d", 3)]
    assert presence.apply(Published((stream("b", 1),)), 1) == [RoomEvent("left", "a", 0), RoomEvent("left", "c", 2)]
    assert presence.apply(Published(()), 2) == []
    assert presence.users == ["b", "d"]


def test_a_room_found_empty_after_a_lost_link_is_idle_from_then_on() -> None:
    presence = Presence(0)
    presence.apply(UserJoined("a", 0), 0)
    presence.link_lost()
    assert presence.idle_since_ns is None
    presence.apply(Published(()), 9)
    assert presence.idle_since_ns == 9
