"""Where packets go on a mix's timeline: seamless, in step with a clock that drifts, and at once where their source jumps."""

import pytest

from rokuga.journal.reader import Position
from rokuga.render.clock import TrackClock
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


@pytest.mark.parametrize("more", [0.1, 0.14, -0.1])
def test_lips_and_voice_stay_together_when_a_networks_delay_changes_for_good(more: float) -> None:
    clocks = {"audio": TrackClock(48_000), "video": TrackClock(90_000)}
    frames = []
    for kind, rate, a_second in (("audio", 48_000, 50), ("video", 90_000, 25)):
        arrival = 0
        for number in range(60 * a_second):
            second = number / a_second
            # None overtakes another of its stream.
            arrival = max(arrival, round((second + 0.2 + (more if second > 20 else 0)) * 1e9))
            frames.append((arrival, kind, number * rate // a_second, second))
    frames.sort()
    for arrival, kind, rtp, _ in frames:
        clocks[kind].see(rtp, arrival)
    track = VoiceTrack()
    voices: dict[float, float] = {}
    pictures: dict[float, float] = {}
    for _, kind, rtp, second in frames:
        room = clocks[kind].settle().room_ns / 1e9
        if kind == "video":
            pictures[second] = room
        else:
            track.add(REF, rtp, round(room * 48_000), restarted=False)
            voices[second] = track.voices[-1].at / 48_000
    together = voices.keys() & pictures.keys()
    assert len(together) == 60 * 25
    assert max(abs(voices[second] - pictures[second]) for second in together) < 0.04


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


def test_a_packet_that_announces_a_pause_is_there_for_what_follows_the_pause() -> None:
    track = VoiceTrack()
    for number, size in ((0, 100), (1, 1), (20, 30), (21, 1), (40, 30)):
        track.add(REF._replace(size=size), number * SAMPLES, number * SAMPLES, restarted=False)
    assert [v.at // SAMPLES for v in track.between(15 * SAMPLES, 30 * SAMPLES)] == [1, 20, 21]
    track.forget(15 * SAMPLES)
    assert [v.at // SAMPLES for v in track.voices] == [1, 20, 21, 40]
