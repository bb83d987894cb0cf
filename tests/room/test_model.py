"""Events as a Janus 1.1.2 sends them go in; changes come out."""

from typing import Any

from rokuga.room.model import RoomModel, Seating
from rokuga.room.protocol import Gone, MediaTrack, Published, RoomChange, Stream, UserJoined, UserLeft

OPUS = {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus"}
H264 = {"type": "video", "mindex": 1, "mid": "1", "codec": "h264"}
SCREEN = {"type": "video", "mindex": 2, "mid": "2", "codec": "h264", "description": "aux"}
MICROPHONE = MediaTrack("0", "audio", "opus")
CAMERA = MediaTrack("1", "video", "h264")
SHARED = MediaTrack("2", "video", "h264")


def event(**data: Any) -> dict[str, Any]:
    return {"videoroom": "event", "room": "r", **data}


def publishes(feed: str | int, *streams: dict[str, Any], display: str = "") -> dict[str, Any]:
    return event(publishers=[{"id": feed, "display": display or str(feed), "audio_codec": "opus", "streams": list(streams)}])


def entered(*entries: dict[str, Any], seating: Seating | None = None) -> RoomModel:
    model = RoomModel("bot", Seating() if seating is None else seating)
    model.enter(entries, {})
    return model


def main_of(user: str, order: int, audio: MediaTrack | None = MICROPHONE, video: MediaTrack | None = CAMERA) -> Stream:
    return Stream(user, "main", user, order, audio, video)


def aux_of(user: str, order: int, video: MediaTrack = SHARED, feed: str = "") -> Stream:
    return Stream(user, "aux", feed or user, order, None, video)


def test_an_empty_room_begins_with_an_empty_list() -> None:
    assert RoomModel("bot", Seating()).enter([], {}) == [Published(())]


def test_those_before_us_are_seated_by_when_they_came() -> None:
    model = RoomModel("bot", Seating())
    entries = [{"id": name, "display": name} for name in ("adam", "bea", "carl", "dora")]
    changes = model.enter([*entries, {"id": "bot", "display": "rokuga-bot:bot"}], {"dora": 10, "bea": 20, "adam": 30, "carl": 25})
    assert changes == [UserJoined("dora", 0), UserJoined("bea", 1), UserJoined("carl", 2), UserJoined("adam", 3), Published(())]


def test_without_times_they_are_seated_by_name_behind_the_known_ones() -> None:
    model = RoomModel("bot", Seating())
    changes = model.enter([{"id": name} for name in ("zoe", "mia", "adam")], {"zoe": 10})
    assert changes == [UserJoined("zoe", 0), UserJoined("adam", 1), UserJoined("mia", 2), Published(())]


def test_a_user_who_returns_gets_a_new_place_and_the_others_keep_theirs() -> None:
    model = entered({"id": "adam"}, {"id": "bea"})
    assert model.event(event(leaving="adam")) == [UserLeft("adam")]
    assert model.event(event(joining={"id": "adam", "display": "adam"})) == [UserJoined("adam", 2)]
    assert model.event(publishes("bea", OPUS)) == [Published((main_of("bea", 1, video=None),))]


def test_joining_publishing_and_leaving_with_its_doubles() -> None:
    model = entered()
    assert model.event(event(joining={"id": "x", "display": "x"})) == [UserJoined("x", 0)]
    assert model.event(event(joining={"id": "x", "display": "x"})) == []
    assert model.event(publishes("x", OPUS, H264)) == [Published((main_of("x", 0),))]
    assert model.event(publishes("x", OPUS, H264)) == []
    assert model.event(event(unpublished="x")) == [Published(())]
    assert model.event(event(unpublished="x")) == []
    assert model.event(event(leaving="x")) == [UserLeft("x")]
    assert model.event(event(leaving="x")) == []
    assert model.event(event(unpublished="nobody")) == []


def test_leaving_while_publishing_takes_the_streams_along() -> None:
    model = entered()
    model.event(publishes("x", OPUS, H264))
    assert model.event(event(leaving="x")) == [UserLeft("x"), Published(())]


def test_a_publisher_nobody_announced_has_joined() -> None:
    model = entered()
    assert model.event(publishes("x", H264)) == [UserJoined("x", 0), Published((main_of("x", 0, audio=None),))]


def test_a_kicked_user_has_left() -> None:
    model = entered({"id": "x"})
    assert model.event(event(kicked="x")) == [UserLeft("x")]


def test_tracks_that_come_and_go() -> None:
    model = entered()
    model.event(publishes("x", OPUS, H264))
    assert model.event(publishes("x", OPUS, H264, SCREEN)) == [Published((main_of("x", 0), aux_of("x", 0)))]
    gone = {"type": "video", "mindex": 1, "mid": "1", "disabled": True}
    assert model.event(publishes("x", OPUS, gone, SCREEN)) == [Published((main_of("x", 0, video=None), aux_of("x", 0)))]
    data = {"type": "data", "mindex": 3, "mid": "3"}
    assert model.event(publishes("x", OPUS, gone, SCREEN, data)) == []


def test_a_second_video_without_description_is_aux() -> None:
    model = entered()
    second = {**SCREEN, "description": None}
    assert model.event(publishes("x", OPUS, H264, second))[-1] == Published((main_of("x", 0), aux_of("x", 0)))


def test_descriptions_count_more_than_the_order_of_lines() -> None:
    model = entered()
    first, second = {**H264, "description": "aux"}, {**SCREEN, "description": "main"}
    assert model.event(publishes("x", first, second))[-1] == Published((main_of("x", 0, audio=None, video=SHARED), aux_of("x", 0, CAMERA)))


def test_only_a_screen_is_aux_alone_and_its_sound_is_nobody_s() -> None:
    model = entered()
    changes = model.event(publishes("x", {**OPUS, "description": "aux"}, SCREEN))
    assert changes == [UserJoined("x", 0), Published((aux_of("x", 0),))]


def test_a_feed_of_its_own_for_aux_belongs_to_its_user() -> None:
    model = entered()
    model.event(publishes("x", OPUS, H264))
    changes = model.event(publishes("x#aux", OPUS, H264))
    assert changes == [Published((main_of("x", 0), aux_of("x", 0, CAMERA, "x#aux")))]
    assert model.event(event(leaving="x")) == [Published((aux_of("x", 0, CAMERA, "x#aux"),))], "x is there as long as one feed is"
    assert model.event(event(leaving="x#aux")) == [UserLeft("x"), Published(())]


def test_codec_names_are_lower_case_and_simulcast_is_told() -> None:
    model = entered()
    (_, published) = model.event(publishes("x", {**H264, "codec": "VP8", "simulcast": True}))
    assert isinstance(published, Published)
    assert published.streams[0].video == MediaTrack("1", "video", "vp8", simulcast=True)


def test_streams_are_listed_in_room_entry_order_main_first() -> None:
    model = RoomModel("bot", Seating())
    model.enter([{"id": "adam"}, {"id": "zoe"}], {"zoe": 1, "adam": 2})
    model.event(publishes("adam", OPUS, H264, SCREEN))
    (published,) = model.event(publishes("zoe", OPUS, SCREEN))
    assert isinstance(published, Published)
    assert [(s.user_id, s.media_id) for s in published.streams] == [("zoe", "main"), ("zoe", "aux"), ("adam", "main"), ("adam", "aux")]


def test_bots_are_nobody_s_anchor_unless_they_publish() -> None:
    model = entered({"id": "b2", "display": "rokuga-bot:b2"})
    assert model.event(event(joining={"id": "b3", "display": "rokuga-bot:b3"})) == []
    assert model.event(event(leaving="b2")) == []
    assert model.event(event(joining={"id": "sly", "display": "rokuga-bot:other"})) == [UserJoined("sly", 0)]
    hidden = model.event(publishes("b3", OPUS, H264, display="rokuga-bot:b3"))
    assert hidden == [UserJoined("b3", 1), Published((main_of("b3", 1),))], "a name must not hide anybody from a recording"


def test_our_own_end() -> None:
    model = entered({"id": "x"})
    assert model.event(event(leaving="ok", reason="kicked")) == [Gone("kicked")]
    assert model.event({"videoroom": "destroyed", "room": "r"}) == [Gone("destroyed")]
    assert model.event(event(leaving="ok")) == []
    assert model.event(event(error_code=426, error="No such room")) == []
    assert model.event({"videoroom": "joined", "room": "r", "id": "bot", "publishers": [{"id": "y"}]}) == []


def test_a_poll_finds_those_who_only_joined_and_those_who_went() -> None:
    model = entered({"id": "x"}, {"id": "y"})
    changes: list[RoomChange] = model.poll([{"id": "bot"}, {"id": "y", "publisher": False}, {"id": "z", "publisher": False}])
    assert changes == [UserLeft("x"), UserJoined("z", 2)]
    assert model.poll([{"id": "y"}, {"id": "z"}]) == []


def test_a_poll_that_is_older_than_an_event_is_not_believed() -> None:
    model = entered({"id": "x"})
    model.event(event(leaving="x"))
    assert model.poll([{"id": "x"}], unsure={"x"}) == []
    model.event(publishes("y", OPUS))
    assert model.poll([], unsure={"y"}) == []


def test_a_poll_leaves_streams_alone() -> None:
    model = entered()
    model.event(publishes("x", OPUS))
    assert model.poll([{"id": "x", "publisher": True}]) == []


def test_with_integer_ids_the_display_is_the_user() -> None:
    model = RoomModel(7, Seating(), by_display=True)
    entries: list[dict[str, Any]] = [
        {"id": 3, "display": "ann"},
        {"id": 4, "display": "ann"},
        {"id": 5},
        {"id": 6, "display": "rokuga-bot:b"},
    ]
    changes = model.enter([*entries, {"id": 7, "display": "rokuga-bot:bot"}], {3: 1, 4: 2, 5: 3})
    assert changes == [UserJoined("ann", 0), UserJoined("ann#4", 1), UserJoined("5", 2), Published(())]
    model.event(event(leaving=3))
    assert model.event(publishes(4, OPUS, display="ann"))[-1] == Published((Stream("ann#4", "main", 4, 1, MICROPHONE, None),))
    assert model.event(publishes(9, H264, display="ann#4#aux"))[-1] == Published(
        (Stream("ann#4", "main", 4, 1, MICROPHONE, None), Stream("ann#4", "aux", 9, 1, None, CAMERA))
    )


def test_after_a_lost_link_those_who_stayed_keep_their_places() -> None:
    seating = Seating()
    entered({"id": "adam"}, {"id": "bea"}, {"id": "carl"}, seating=seating)
    again = RoomModel("bot", seating)
    changes = again.enter([{"id": "aaron"}, {"id": "carl"}, {"id": "bea"}], {})
    assert changes == [UserJoined("aaron", 3), UserJoined("bea", 1), UserJoined("carl", 2), Published(())]
    assert again.event(event(joining={"id": "adam"})) == [UserJoined("adam", 4)]
