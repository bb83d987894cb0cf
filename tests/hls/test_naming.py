import pytest

from rokuga.hls.naming import encode_id, object_key, playlist_name, segment_name, single_stem, utc_digits


@pytest.mark.parametrize(
    ("text", "expected"), [("1686119", "MTY4NjExOQ.."), ("ab?", "YWI-"), ("ab>", "YWI+"), ("a", "YQ.."), ("alice", "YWxpY2U."), ("", "")]
)
def test_special_base64(text: str, expected: str) -> None:
    assert encode_id(text) == expected


def test_utc_has_seventeen_digits() -> None:
    assert utc_digits(1768910400123) == "20260120120000123"
    assert utc_digits(1622425551884) == "20210531014551884"
    assert utc_digits(0) == "19700101000000000"


def test_names_of_a_numeric_room_are_the_seeds_example() -> None:
    stem = single_stem(1400123456, "12345", 1, "1686119", "main", "video")
    assert stem == "1400123456_12345__UserId_s_MTY4NjExOQ..__UserId_e_main_video"
    assert playlist_name(stem) == f"{stem}.m3u8"
    assert segment_name(stem, 1768910422495) == f"{stem}_20260120120022495.ts"


def test_a_string_room_is_encoded_and_a_pull_up_is_told() -> None:
    assert single_stem(1400, "ab?", 0, "a", "aux", "audio", 2) == "ha2_1400_YWI-__UserId_s_YQ..__UserId_e_aux_audio"
    assert single_stem(1400, "7", 1, "a", "main", "audio_video").endswith("_main_audiovideo")


def test_object_key() -> None:
    assert object_key([], "task", "x.ts") == "task/x.ts"
    assert object_key(["meeting", "room_1"], "task", "x.ts") == "meeting/room_1/task/x.ts"


def test_a_recording_of_weeks_has_further_playlists() -> None:
    stem = single_stem(1400, "7", 1, "a", "main", "video")
    assert [playlist_name(stem, part) for part in range(3)] == [f"{stem}.m3u8", f"{stem}_1.m3u8", f"{stem}_2.m3u8"]


def test_a_user_whose_id_no_file_name_can_hold_has_one_all_the_same() -> None:
    stems = {single_stem(1400000000, "r" * 64, 0, "\u00e9" * 200 + who, "main", "audio_video", 3) for who in ("a", "b")}
    assert len(stems) == 2
    assert all(len(f".writing-{segment_name(stem, 0)}".encode()) <= 255 for stem in stems)
    assert all(stem.startswith("ha3_1400000000_") and stem.endswith("__UserId_e_main_audiovideo") for stem in stems)
