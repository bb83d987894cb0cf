"""What a track says of its frames: which is the first of another simulcast layer, and which is lost at its end."""

from collections import Counter
from pathlib import Path

import pytest
import structlog
from aiortc import RTCCertificate

from rokuga.capture.rtp import RtpPacket
from rokuga.capture.sdp import Codec, Media
from rokuga.capture.track import Setting, Track
from rokuga.journal.writer import JournalWriter
from rokuga.room.protocol import Stream
from tests.capture.kit import Journal

MS = 1_000_000
EVERY_MS = 100
IDR = b"\x78\x00\x02\x67\x42\x00\x03\x65\x88\x80"
"""with its SPS in one packet"""
SLICE = b"\x41\x9a\x00"


def make_track(writer: JournalWriter) -> Track:
    codec = Codec(107, "h264", 90_000)
    media = Media("1", "video", "UDP/TLS/RTP/SAVPF", True, (codec,), ssrc=7)
    setting = Setting(writer, RTCCertificate.generateCertificate(), 10, Counter(), structlog.get_logger())
    return Track(setting, Stream("alice", "main", "alice", 0, None, None), media, codec, 8, setting.log)


def marked(folder: Path, told_ms: list[int], keys: set[int], held: bool = False) -> list[int]:
    """The numbers of the frames that are marked, of 30 that come every 100 ms.

    ``told_ms``: when we are told of another layer, the first one being known from the start; ``keys``: numbers of keyframes; ``held``: all
    wait for a hole in front of them.
    """
    writer = JournalWriter(folder, "task", 0)
    track = make_track(writer)
    track.layer(0, 0)
    told = list(told_ms)
    for number in range(30):
        now = number * EVERY_MS
        while told and told[0] < now:
            track.layer(1 + len(told) % 2, told.pop(0) * MS)
        if not (held and number == 1):
            track.rtp(RtpPacket(7, 107, number + 1, number * 9000, True, IDR if number in keys else SLICE), now * MS)
        track.tick(now * MS, now * MS)
    track.flush("left")
    writer.close()
    frames = Journal(folder).frames(Journal(folder).tracks("alice", "video")[0])
    return [frame.rtp_time // 9000 for frame, _ in frames if frame.switched]


@pytest.mark.parametrize(
    ("told_ms", "keys", "numbers"),
    [
        ([950], {0, 10, 20}, [10]),  # told just before its keyframe comes
        ([1050], {0, 10, 20}, [14]),  # told too late: the next frames soon afterwards
        ([950, 1450], {0, 10, 15}, [10, 15]),
        ([950, 960], {0, 10, 11}, [10, 11]),  # told of two before the first frame of either was seen
        ([950, 960], {0, 10}, [10, 13]),  # through a layer of which nothing was sent: as if the second were late
        ([1050, 1060], {0, 9, 10}, [14]),  # told of both too late
        ([-50], {0}, []),  # before anything came: there is no layer that it could follow
        ([950], {0, 8}, [13]),  # the keyframe is lost
        ([], {0, 10}, []),
    ],
)
def test_the_mark_is_on_the_new_layers_first_frame(tmp_path: Path, told_ms: list[int], keys: set[int], numbers: list[int]) -> None:
    assert marked(tmp_path / "j", told_ms, keys) == numbers


def test_a_layer_told_again_is_no_switch(tmp_path: Path) -> None:
    """Janus tells the layer once more when it is asked for the one that it sends."""
    writer = JournalWriter(tmp_path, "task", 0)
    track = make_track(writer)
    track.layer(2, 0)
    for number in range(25):
        if number == 10:
            track.layer(2, number * EVERY_MS * MS)
        track.rtp(RtpPacket(7, 107, number + 1, number * 9000, True, SLICE if number else IDR), number * EVERY_MS * MS)
        track.tick(number * EVERY_MS * MS, number * EVERY_MS * MS)
    writer.close()
    assert not [frame for frame, _ in Journal(tmp_path).frames(Journal(tmp_path).tracks("alice", "video")[0]) if frame.switched]


def test_frames_that_waited_for_a_repair_are_told_apart_by_when_they_came(tmp_path: Path) -> None:
    assert marked(tmp_path / "j", [950], {0, 5, 10}, held=True) == [10]


@pytest.mark.parametrize(("cause", "lost"), [("left", 1), ("link-lost", 1), ("end", 0), ("unsubscribed", 0)])
def test_a_picture_that_we_do_not_wait_for_is_no_loss(tmp_path: Path, cause: str, lost: int) -> None:
    writer = JournalWriter(tmp_path, "task", 0)
    track = make_track(writer)
    for sequence, rtp_time, ends in [(1, 0, True), (2, 9000, False)]:
        track.rtp(RtpPacket(7, 107, sequence, rtp_time, ends, IDR), 0)
    track.tick(0, 0)
    track.flush(cause)
    writer.close()
    journal = Journal(tmp_path)
    assert len(journal.payloads) == 1
    assert [loss.cause for loss in journal.losses()] == ["incomplete"] * lost


def test_receiver_reports_come_each_second_at_first_and_then_each_five(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "task", 0)
    track = make_track(writer)
    begin = 1_000_000 * MS
    sent = [track.tick(begin + number * EVERY_MS * MS, begin) for number in range(300)]
    writer.close()
    reported = [number for number, datagrams in enumerate(sent) if any(data[1] == 201 for data in datagrams)]
    assert reported == [*range(0, 150, 10), 190, 240, 290]
