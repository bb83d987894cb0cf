"""Temporal layers of VP8: those that a mix has no use for are not asked for."""

from itertools import pairwise

import pytest

from rokuga.capture.pace import Pace
from rokuga.capture.vp8 import temporal_layer
from rokuga.room.protocol import HIGHEST

PATTERN = (0, 2, 1, 2)
"""what browsers send of three temporal layers"""


def send(pace: Pace, fps: float, begin: float, seconds: float, layers: tuple[int, ...] = PATTERN) -> None:
    """A camera of ``fps`` pictures a second, as far as the server passes it on."""
    for number in range(round(fps * seconds)):
        if layers[number % len(layers)] <= pace.wanted:
            pace.saw(layers[number % len(layers)], round((begin + number / fps) * 1e9) + 1)


@pytest.mark.parametrize(
    ("camera", "mix", "layers", "wanted"),
    [
        (30, 15, PATTERN, 1),
        (29.7, 15, PATTERN, 1),
        (30, 7, PATTERN, 1),  # never the lowest alone
        (30, 20, PATTERN, HIGHEST),
        (15, 15, PATTERN, HIGHEST),
        (30, 15, (0,), 1),  # there are none: it does not matter
        (30, 15, (0, 1), HIGHEST - 1),  # two layers: all of them
        (10, 15, PATTERN, HIGHEST),
    ],
)
def test_no_more_pictures_than_are_shown(camera: float, mix: int, layers: tuple[int, ...], wanted: int) -> None:
    pace = Pace(mix)
    send(pace, camera, 1, 3, layers)
    assert pace.wanted == wanted


def test_a_camera_that_becomes_slower_is_asked_for_everything_again() -> None:
    pace = Pace(15)
    send(pace, 30, 1, 5)
    assert pace.wanted == 1
    send(pace, 15, 6, 5)
    assert pace.wanted == HIGHEST
    send(pace, 30, 11, 5)
    assert pace.wanted == 1


def test_it_does_not_waver() -> None:
    pace = Pace(15)
    wishes = []
    for second in range(1, 60):
        send(pace, 30, second, 1)
        wishes.append(pace.wanted)
    assert sum(a != b for a, b in pairwise(wishes)) == 1


@pytest.mark.parametrize(
    ("payload", "layer"),
    [
        ("10 00", 0),  # no extension
        ("90 80 05 00", 0),  # a PictureID and no TID
        ("90 e0 05 01 80 00", 2),  # PictureID of 7 bits, TL0PICIDX
        ("90 e0 80 05 01 40 00", 1),  # PictureID of 15 bits
        ("90 20 60 00", 1),  # TID and layer sync alone
        ("90 e0", 0),
        ("90 e0 80", 0),
        ("", 0),
    ],
)
def test_the_temporal_layer_is_in_the_payload_descriptor(payload: str, layer: int) -> None:
    assert temporal_layer(bytes.fromhex(payload)) == layer
