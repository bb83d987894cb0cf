"""Where packets go on a mix's timeline: seamless, in step with a clock that drifts, and at once where their source jumps."""

import pytest

from rokuga.journal.reader import Position
from rokuga.render.mix.voice import STEP, VoiceTrack
from rokuga.render.plan import Ref

SAMPLES = 960
REF = Ref(Position(1, 1), 100, 0, samples=SAMPLES, codec="opus")


@pytest.mark.live
@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_a_clock_that_drifts_for_hours_is_followed_without_a_seam(ppm: int) -> None:
    track = VoiceTrack()
    worst = end = 0
    for number in range(3600 * 50):
        wanted = round(number * SAMPLES * (1 + ppm / 1e6))
        track.add(REF, number * SAMPLES, wanted, restarted=False)
        worst = max(worst, abs(track.voices[-1].at - wanted))
        assert track.voices[-1].at == end
        assert abs(track.voices[-1].length - SAMPLES) <= SAMPLES // 256
        end = track.end
        track.forget(wanted - 4800)
    assert worst <= 480, "10 ms"
    assert len(track.voices) <= 7


def test_a_hole_stays_a_hole_and_a_jump_is_taken_at_once() -> None:
    track = VoiceTrack()
    for number in (0, 1, 4, 5):
        track.add(REF, number * SAMPLES, number * SAMPLES, restarted=False)
    assert [v.at for v in track.voices] == [0, 960, 3840, 4800]
    track.add(REF, 6 * SAMPLES, 6 * SAMPLES + STEP + 1, restarted=False)
    assert track.voices[-1].at == 6 * SAMPLES + STEP + 1
    # A source that began anew: its RTP time tells nothing.
    track.add(REF, 5, track.end + 300, restarted=True)
    assert track.voices[-1].at == track.voices[-2].at + SAMPLES + 300


def test_what_comes_too_late_to_sound_is_left_out() -> None:
    track = VoiceTrack()
    track.add(REF, 0, -SAMPLES, restarted=False)
    assert track.voices == []
    track.add(REF, 0, 10 * SAMPLES, restarted=False)
    track.add(REF, SAMPLES, 2 * SAMPLES, restarted=False)
    assert [v.at for v in track.voices] == [10 * SAMPLES]


def test_what_is_asked_for_is_what_sounds_there_and_survives_a_state() -> None:
    track = VoiceTrack()
    for number in range(10):
        track.add(REF, number * SAMPLES, number * SAMPLES, restarted=False)
    assert [v.at for v in track.between(SAMPLES + 1, 3 * SAMPLES)] == [SAMPLES, 2 * SAMPLES]
    assert VoiceTrack.load(track.save()) == track
