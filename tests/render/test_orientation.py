"""Phones that are turned: the files say so of each picture, as FFmpeg's decoder reads it."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from rokuga.render.h264 import display_orientation, nal_units, with_orientation
from tests.kit.turned import Matrix, matrix, turned
from tests.render.material import FPS, SECOND, JournalMaker, Published, coded, h264, opus
from tests.render.test_h264 import Bits
from tests.render.test_media import Rendered, rendered

pytestmark = pytest.mark.live

START = b"\x00\x00\x00\x01"
WIDTH, HEIGHT = 96, 64
Quarters = tuple[tuple[int, int], tuple[int, int]]
"""Brightness of a picture's quarters, row by row."""
UPRIGHT: Quarters = ((40, 90), (150, 220))


def counter_clockwise(q: Quarters) -> Quarters:
    return (q[0][1], q[1][1]), (q[0][0], q[1][0])


def mirrored(q: Quarters) -> Quarters:
    return (q[0][1], q[0][0]), (q[1][1], q[1][0])


def as_sent(orientation: int) -> Quarters:
    """TS 26.114 table 7.2: R quarter turns counter-clockwise are what the receiver compensates; F: what is sent is mirrored."""
    picture = UPRIGHT
    for _ in range(orientation & 3):
        picture = counter_clockwise(picture)
    return mirrored(picture) if orientation & 4 else picture


def encoded(quarters: Quarters) -> bytes:
    """An IDR picture."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = WIDTH, HEIGHT, "yuv420p", Fraction(1, FPS)
    encoder.options = {"tune": "zerolatency", "x264-params": "repeat-headers=1:annexb=1"}
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    luma = frame.planes[0]
    rows = [bytes([left]) * (WIDTH // 2) + bytes([right]) * (luma.line_size - WIDTH // 2) for left, right in quarters]
    luma.update(rows[0] * (HEIGHT // 2) + rows[1] * (HEIGHT // 2))
    for plane in frame.planes[1:]:
        plane.update(bytes([128]) * plane.buffer_size)
    return b"".join(bytes(p) for p in (*encoder.encode(frame), *encoder.encode(None)))


def shown(frame: VideoFrame) -> Quarters:
    """What a player shows that does as FFmpeg says."""
    a, b, c, d = matrix(frame)
    plane = frame.planes[0]
    data = bytes(plane)
    found = [[0, 0], [0, 0]]
    for y, line in ((-1, HEIGHT // 4), (1, HEIGHT * 3 // 4)):
        for x, column in ((-1, WIDTH // 4), (1, WIDTH * 3 // 4)):
            found[(b * x + d * y + 1) // 2][(a * x + c * y + 1) // 2] = data[line * plane.line_size + column]
    return (found[0][0], found[0][1]), (found[1][0], found[1][1])


@pytest.mark.parametrize("orientation", range(8))
def test_what_a_phone_sends_is_shown_upright(orientation: int) -> None:
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    (frame,) = [*decoder.decode(av.Packet(with_orientation(encoded(as_sent(orientation)), orientation))), *decoder.decode(None)]
    for got, wanted in zip(shown(frame), UPRIGHT, strict=True):
        assert got == pytest.approx(wanted, abs=6)
    if not orientation & 4:
        assert frame.rotation % 360 == -90 * orientation % 360, "PyAV counts anticlockwise"


@pytest.mark.parametrize("orientation", range(1, 8))
def test_the_message_is_laid_out_as_the_standard_says(orientation: int) -> None:
    anticlockwise = (360 - 90 * (orientation & 3)) % 360 * 65536 // 360
    message = Bits().u(0, 1).u(orientation >> 2, 1).u(0, 1).u(anticlockwise, 16).ue(0).u(0, 1)
    payload = message.nal(0)[1:]  # the stop bit of an RBSP and the alignment of an SEI payload are written alike
    assert display_orientation(orientation) == b"\x06" + bytes((47, len(payload))) + payload + b"\x80"
    assert b"\0\0" not in display_orientation(orientation), "nothing that would need emulation prevention"


def test_it_stands_in_front_of_the_first_slice_and_the_rest_is_untouched() -> None:
    message = START + display_orientation(1)
    head, idr = (
        START + b"\x09\x10" + START + b"\x67\x01" + START + b"\x68\x02" + START + b"\x06\x05\x01\x00\x80",
        b"\x65\x88" + START + b"\x65\x44",
    )
    for start in (START, START[1:]):
        assert with_orientation(head + start + idr, 1) == head + message + start + idr
        assert with_orientation(start + b"\x41\x9a", 1) == message + start + b"\x41\x9a"
        assert (
            with_orientation(head + start + b"\x6e\x01" + start + b"\x61\x9a", 1)
            == head + message + start + b"\x6e\x01" + start + b"\x61\x9a"
        )
    assert with_orientation(head + START + idr, 0) == head + START + idr
    for without in (b"", b"\0\0\1", START, head):
        assert with_orientation(without, 1) == without


PHONE = (0, 1, 1, 3, 2, 0, 6, 1)


def turns(done: Rendered, kind: str) -> list[Matrix]:
    """The matrix of each picture of a playlist that is read from end to end."""
    with av.open(str(done.folder / done.of(kind)[0].playlist)) as container:
        return [matrix(frame) for frame in container.decode(video=0)]


def expected(count: int, orientations: tuple[int, ...] = PHONE) -> Iterator[Matrix]:
    for number in range(count):
        yield turned(orientations[number // 10 % len(orientations)])


@pytest.mark.parametrize("codec", ["h264", "vp8", "vp9", "av1"])
def test_each_picture_is_turned_as_it_was_told(tmp_path: Path, codec: Literal["h264", "vp8", "vp9", "av1"]) -> None:
    maker = JournalMaker(tmp_path / "journal", params={"segment_seconds": 4})
    units = h264(192, 108, 10) if codec == "h264" else coded(codec, 192, 108, 10)
    published = maker.video(maker.track(SECOND, "alice", "video", codec=codec), SECOND, 12, units, orientations=PHONE)
    maker.write(15 * SECOND)
    done = rendered(tmp_path, maker, published, Published("audio"))
    assert turns(done, "video") == list(expected(12 * FPS))
    if codec == "h264":
        with av.open(str(done.folder / done.of("video")[0].playlist)) as container:
            found = [u for p in container.demux(video=0) for u in nal_units(bytes(p)) if u[0] & 31 in (1, 5)]
        assert found == [u for _, data in published.frames for u in nal_units(data) if u[0] & 31 in (1, 5)]


def test_pictures_that_are_upright_are_written_as_ever(tmp_path: Path) -> None:
    made = []
    for name, orientations in (("upright", (0,)), ("turned", (0,) * 6 + (1,))):
        maker = JournalMaker(tmp_path / name / "journal", params={"segment_seconds": 4})
        maker.video(maker.track(SECOND, "alice", "video"), SECOND, 6, h264(192, 108, 10), orientations=orientations)
        maker.write(9 * SECOND)
        done = rendered(tmp_path / name, maker, Published("video"), Published("audio"))
        made.append([(done.folder / s.name).read_bytes() for s in done.of("video")])
    upright, other = made
    assert upright[0] == other[0], "before it is turned nothing is different"
    assert upright[1] != other[1]


@pytest.mark.parametrize("fill_type", [0, 1], ids=["its last picture", "black"])
def test_a_camera_that_stops_leaves_its_last_picture_as_it_was_held(tmp_path: Path, fill_type: int) -> None:
    maker = JournalMaker(tmp_path / "journal", params={"av_merge": 1, "fill_type": fill_type, "segment_seconds": 4})
    maker.audio(maker.track(SECOND, "alice", "audio"), SECOND, 20, opus(10))
    maker.video(maker.track(SECOND, "alice", "video"), SECOND, 6, h264(192, 108, 10), orientations=(3,))
    maker.write(26 * SECOND)
    done = rendered(tmp_path, maker, Published("video"), Published("audio"))
    found = turns(done, "audio_video")
    assert found[:90] == [turned(3)] * 90
    assert len(found) > 95
    assert set(found[90:]) == {turned(0 if fill_type else 3)}
