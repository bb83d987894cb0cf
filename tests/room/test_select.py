"""Lists, StreamType, MediaId and the limit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga.control.model import Lists, Params
from rokuga.room.protocol import MediaId, MediaTrack, Stream
from rokuga.room.select import select

AUDIO = MediaTrack("0", "audio", "opus")
VIDEO = MediaTrack("1", "video", "h264")
PARAMS = Params(sdk_app_id=1400000001, room_id="r", room_id_type=0, user_id="bot")


def stream(user: str, order: int, media: MediaId = "main") -> Stream:
    return Stream(user, media, user, order, AUDIO if media == "main" else None, VIDEO)


ROOM = [stream("u1", 0), stream("u1", 0, "aux"), stream("u10", 1), stream("v1", 2)]


def chosen(params: Params, streams: list[Stream] = ROOM) -> list[str]:
    """``user/media:av`` of each selected stream."""
    return [f"{s.user_id}/{s.media_id}:{'a' if s.audio else ''}{'v' if s.video else ''}" for s in select(streams, params)]


def lists(**entries: list[str]) -> Params:
    return replace(PARAMS, lists=Lists(**entries))


def test_everybody_by_default() -> None:
    assert select(ROOM, PARAMS) == ROOM


def test_the_bot_is_never_recorded() -> None:
    assert chosen(PARAMS, [stream("bot", 0), stream("u1", 1)]) == ["u1/main:av"]


@pytest.mark.parametrize(
    ("stream_type", "expected"),
    [
        (0, ["u1/main:av", "u1/aux:v", "u10/main:av", "v1/main:av"]),
        (1, ["u1/main:a", "u10/main:a", "v1/main:a"]),
        (2, ["u1/main:v", "u1/aux:v", "u10/main:v", "v1/main:v"]),
    ],
)
def test_stream_type(stream_type: int, expected: list[str]) -> None:
    assert chosen(replace(PARAMS, stream_type=stream_type)) == expected


@pytest.mark.parametrize(("media_id", "expected"), [(1, ["u1/main:av", "u10/main:av", "v1/main:av"]), (2, ["u1/aux:v"])])
def test_media_id(media_id: int, expected: list[str]) -> None:
    assert chosen(replace(PARAMS, media_id=media_id)) == expected


def test_allowlists_of_audio_and_video_are_apart() -> None:
    assert chosen(lists(audio_allow=["u1"], video_allow=["v1", "u1"])) == ["u1/main:av", "u1/aux:v", "v1/main:v"]


def test_an_allowlist_for_audio_leaves_video_to_everybody() -> None:
    assert chosen(lists(audio_allow=["v1"])) == ["u1/main:v", "u1/aux:v", "u10/main:v", "v1/main:av"]


def test_blocklists() -> None:
    assert chosen(lists(audio_block=["u1", "v1"], video_block=["v1"])) == ["u1/main:v", "u1/aux:v", "u10/main:av"]


def test_a_wildcard_is_a_prefix() -> None:
    assert chosen(lists(audio_allow=["u1.*$"], video_block=["u1.*$"])) == ["u1/main:a", "u10/main:a", "v1/main:v"]
    assert chosen(lists(audio_allow=[".*$"], video_block=[".*$"])) == ["u1/main:a", "u10/main:a", "v1/main:a"]


def test_it_is_no_regular_expression() -> None:
    assert chosen(lists(audio_allow=["u.*"], video_allow=["u.$"])) == []
    assert chosen(lists(audio_allow=["[uv].*$"], video_allow=["u.1.*$"])) == []


def test_a_user_whose_id_is_the_text_of_a_wildcard_is_meant_alone() -> None:
    room = [stream("u.*$", 0), stream("u1", 1)]
    assert chosen(lists(audio_allow=["u.*$"], video_allow=["u.*$"]), room) == ["u.*$/main:av"]
    assert chosen(lists(audio_block=["u.*$"], video_block=["u.*$"]), room) == ["u1/main:av"]


def test_an_audio_only_user_whose_audio_is_not_wanted_is_not_selected() -> None:
    assert chosen(replace(PARAMS, stream_type=2), [replace(stream("u1", 0), video=None)]) == []


def test_the_next_one_moves_up_when_one_leaves() -> None:
    room = [stream(f"user{i:02}", i) for i in range(30)]
    assert [s.order for s in select(room, PARAMS)] == list(range(25))
    assert [s.order for s in select(room[1:], PARAMS)] == list(range(1, 26))


def test_those_who_are_not_wanted_take_no_place() -> None:
    room = [stream(f"user{i:02}", i) for i in range(30)]
    params = replace(lists(audio_block=["user00"], video_block=["user00"]), max_streams=2)
    assert [s.order for s in select(room, params)] == [1, 2]


def test_main_and_aux_are_two_streams() -> None:
    room = [replace(s, order=o) for o in range(2) for s in (stream("u1", o), stream("u1", o, "aux"))]
    assert [(s.order, s.media_id) for s in select(room, replace(PARAMS, max_streams=3))] == [(0, "main"), (0, "aux"), (1, "main")]


@given(st.permutations(ROOM))
def test_the_order_of_the_list_does_not_matter(room: list[Stream]) -> None:
    assert select(room, PARAMS) == ROOM
