"""Real bitstreams through packets: what comes out is decoded to as many pictures as were encoded."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from av.error import FFmpegError

from rokuga.capture.picture import PictureDepacketizer
from rokuga.capture.track import DEPACKETIZERS
from tests.capture.packets import Source, av1, feed, obus, units, vp8, vp9
from tests.capture.pictures import decode, encode

LOOKING_AHEAD = {"libvpx-vp9": {"cpu-used": "8"}, "libsvtav1": {"preset": "11", "crf": "40"}}
"""options with which there are pictures that are coded and not shown"""


@dataclass(frozen=True)
class Codec:
    name: str
    encoder: str
    decoder: str
    packetize: Callable[[bytes, int], list[bytes]] = field(repr=False)
    as_sent: Callable[[bytes], bytes] = lambda data: data

    def depacketizer(self) -> PictureDepacketizer:
        made = DEPACKETIZERS[self.name]()
        assert isinstance(made, PictureDepacketizer)
        return made


def without_delimiter(unit: bytes) -> bytes:
    return unit[2:] if unit.startswith(b"\x12\x00") else unit


CODECS = [
    Codec("vp8", "libvpx", "vp8", vp8),
    Codec("vp9", "libvpx-vp9", "vp9", vp9),
    Codec("av1", "libsvtav1", "libdav1d", lambda unit, size: av1(list(obus(unit)), size), without_delimiter),
]
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


@each_codec
@pytest.mark.parametrize("size", [100, 1200, 60_000])
def test_every_picture_arrives_as_it_was_encoded(codec: Codec, size: int) -> None:
    frames = encode(codec.encoder)
    source = Source()
    depacketizer = codec.depacketizer()
    made = units(feed(depacketizer, [p for f in frames for p in source.picture(*codec.packetize(f, size))]))
    assert [u.data for u in made] == [codec.as_sent(f) for f in frames]
    assert [u.keyframe for u in made] == [True] + [False] * 9
    assert decode(codec.decoder, [u.data for u in made]) == [(320, 180)] * 10
    assert depacketizer.malformed == 0


@pytest.mark.parametrize("codec", CODECS[1:], ids=lambda codec: codec.name)
def test_pictures_that_are_coded_and_not_shown(codec: Codec) -> None:
    frames = encode(codec.encoder, count=20, options=LOOKING_AHEAD[codec.encoder])
    source = Source()
    made = units(feed(codec.depacketizer(), [p for f in frames for p in source.picture(*codec.packetize(f, 1200))]))
    assert [u.keyframe for u in made] == [True] + [False] * (len(frames) - 1)
    assert decode(codec.decoder, [u.data for u in made]) == [(320, 180)] * 20


@each_codec
def test_another_resolution_in_mid_stream(codec: Codec) -> None:
    source = Source()
    sent = [f for width, height in ((320, 180), (640, 360), (160, 90)) for f in encode(codec.encoder, width, height, 4)]
    made = units(feed(codec.depacketizer(), [p for f in sent for p in source.picture(*codec.packetize(f, 1200))]))
    assert [u.keyframe for u in made] == [True, False, False, False] * 3
    assert decode(codec.decoder, [u.data for u in made]) == [(320, 180)] * 4 + [(640, 360)] * 4 + [(160, 90)] * 4


@each_codec
def test_after_a_loss_decoding_begins_again_at_the_keyframe(codec: Codec) -> None:
    source = Source()
    pictures = [source.picture(*codec.packetize(f, 500)) for _ in range(2) for f in encode(codec.encoder, count=5)]
    lost = pictures[0][1].sequence
    made = units(feed(codec.depacketizer(), [p for picture in pictures for p in picture], {lost}))
    assert [u.rtp_time for u in made] == [p[0].rtp_time for p in pictures[1:]]
    keyframe = [u.keyframe for u in made].index(True)
    assert keyframe == 4
    assert decode(codec.decoder, [u.data for u in made[keyframe:]]) == [(320, 180)] * 5
    try:
        before = decode(codec.decoder, [u.data for u in made[:keyframe]])
    except FFmpegError:
        before = []
    assert len(before) < keyframe  # what the lost one carried is missing indeed
