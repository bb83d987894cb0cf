"""Which simulcast layer is asked for, given where a camera is seen."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rokuga.capture.layers import Layers, picture_size, pictures_a_second, places
from rokuga.control.model import Params
from rokuga.render.mix.layout import CROP, FIT, STRETCH, Cell, Rect
from rokuga.room.protocol import HIGHEST, MediaTrack, Stream

PARAMS = Params(sdk_app_id=1, room_id="room", room_id_type=0, user_id="bot")
VIDEO = {"VideoParams": {"Width": 1280, "Height": 720, "Fps": 15, "BitRate": 1_000_000, "Gop": 4}}


def cell(width: int, height: int, mode: int = CROP) -> Cell:
    return Cell(Rect(0, 0, width, height), None, mode)


def stream(name: str, order: int, video: bool = True) -> Stream:
    return Stream(name, "main", name, order, None, MediaTrack("0", "video", "vp8", True) if video else None)


def test_streams_recorded_one_by_one_have_no_places() -> None:
    assert places(PARAMS, [stream("a", 0)]) is None


def test_pictures_that_are_shown_a_second() -> None:
    assert pictures_a_second(PARAMS) == 0
    assert pictures_a_second(replace(PARAMS, record_mode=2, transcode=VIDEO)) == 15
    assert pictures_a_second(replace(PARAMS, record_mode=2)) == 15, "TRTC's default"


def test_places_are_those_of_the_layout() -> None:
    mixed = Params(**{**vars(PARAMS), "record_mode": 2, "transcode": VIDEO, "layout": {"MixLayoutMode": 4}})
    assert places(mixed, [stream("a", 0)]) == {("a", "main"): []}
    grid = Params(**{**vars(mixed), "layout": {"MixLayoutMode": 3, "RenderMode": 2}})
    found = places(grid, [stream("a", 0), stream("b", 1)])
    assert found is not None
    assert [[(c.rect, c.render_mode) for c in cells] for cells in found.values()] == [
        [(Rect(0, 0, 640, 720), FIT)],
        [(Rect(640, 0, 640, 720), FIT)],
    ]


@pytest.mark.parametrize(
    ("seen", "cells", "wanted"),
    [
        ({}, [cell(2, 2)], 2),  # nothing known yet
        ({2: (1280, 720)}, None, 2),
        ({2: (1280, 720)}, [], 0),  # not seen
        ({2: (1280, 720)}, [cell(320, 180)], 0),
        ({2: (1280, 720)}, [cell(352, 198)], 0),  # a tenth larger
        ({2: (1280, 720)}, [cell(354, 200)], 1),
        ({2: (1280, 720)}, [cell(642, 360)], 1),
        ({2: (1280, 720)}, [cell(1280, 720)], 2),
        ({2: (1280, 720)}, [cell(320, 180), cell(640, 360)], 1),  # in two places
        ({1: (640, 360)}, [cell(256, 144)], 0),  # two layers: the second is the highest
        ({1: (640, 360)}, [cell(1280, 720)], 2),
        ({2: (1280, 720)}, [cell(180, 180)], 0),  # cropped: the height counts
        ({2: (1280, 720)}, [cell(180, 320)], 1),
        ({2: (1280, 720)}, [cell(180, 320, FIT)], 0),  # with bars: the width counts
        ({2: (1280, 720)}, [cell(180, 320, STRETCH)], 1),
        ({2: (720, 1280)}, [cell(180, 320)], 0),  # a telephone held upright
        ({2: (1280, 720), 0: (240, 135)}, [cell(320, 180)], 1),  # the lowest is smaller than a quarter
        ({2: (1280, 720), 1: (480, 270)}, [cell(640, 360)], 2),
    ],
)
def test_the_lowest_layer_that_fills_its_places(seen: dict[int, tuple[int, int]], cells: list[Cell] | None, wanted: int) -> None:
    layers = Layers()
    assert layers.wanted == HIGHEST
    layers.place(cells)
    for layer, size in seen.items():
        layers.saw(layer, size)
    assert layers.wanted == wanted


def test_a_camera_that_adapts_changes_all_of_its_layers() -> None:
    layers = Layers()
    layers.place([cell(320, 180)])
    layers.saw(2, (1280, 720))
    layers.saw(0, (320, 180))
    assert layers.wanted == 0
    layers.saw(0, (160, 90))
    assert layers.wanted == 1
    layers.saw(1, (320, 180))
    assert layers.wanted == 1
    layers.saw(1, (640, 360))
    assert layers.wanted == 0


def test_a_layer_that_does_not_come_is_asked_for_three_times() -> None:
    layers = Layers()
    assert not layers.overdue(1, 0), "the highest is what the server sends by itself"
    layers.place([cell(320, 180)])
    layers.saw(2, (1280, 720))
    times = [ms for ms in range(1000, 20_000, 100) if layers.overdue(2, ms * 1_000_000)]
    assert times == [2200, 3400, 4600]
    layers.place([cell(640, 360)])
    assert [ms for ms in range(20_000, 25_000, 100) if layers.overdue(2 if ms < 22_000 else 1, ms * 1_000_000)] == [21_200]


SIZES = st.tuples(st.integers(16, 1920), st.integers(16, 1080))


@given(st.lists(SIZES, min_size=3, max_size=3, unique_by=max), SIZES)
def test_it_settles_whatever_the_layers_are(sizes: list[tuple[int, int]], place: tuple[int, int]) -> None:
    """Each answer is a keyframe of the layer that was asked for: it is not asked for another one for ever."""
    sizes.sort(key=max)
    layers = Layers()
    layers.place([cell(*place)])
    asked = []
    for _ in range(8):
        asked.append(layers.wanted)
        layers.saw(layers.wanted, sizes[layers.wanted])
    assert asked[-1] == asked[-2] == asked[-3]


@pytest.mark.parametrize("codec", ["h264", "vp8", "vp9", "av1"])
def test_the_size_that_a_keyframe_names(codec: str) -> None:
    assert picture_size(codec, b"") is None
    assert picture_size(codec, b"\x00" * 20) is None
    assert picture_size("h264", b"\x00\x00\x00\x01\x67\x42") is None, "an SPS cut off"
    assert picture_size("vp8", bytes.fromhex("100200 9d012a 0045 d082")) == (1280, 720), "without the two bits that scale"
