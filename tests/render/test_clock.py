"""The clock against the truth that the frames were made from."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rokuga.render.clock import AHEAD_NS, TrackClock

SECOND = 1_000_000_000


@dataclass
class Sent:
    true_ns: int
    rtp: int
    arrival_ns: int
    switched: bool = False


def frames(seed: int, rate: int, every_ns: int, hours: float, ppm: float) -> Iterator[Sent]:
    """A publisher whose clock runs wrong by ``ppm``: bursts of jitter, the first at once, a pause of 60 s, a jump of 2^31, then another
    SSRC, whose timestamps begin anywhere."""
    random_ = random.Random(seed)
    end = int(hours * 3600 * SECOND)
    pause, jump, renewed = end // 5, end * 2 // 5, end * 3 // 5
    base = 5 * SECOND
    offset = random_.randrange(2**31)
    now = 0
    burst_until = 2 * SECOND
    while now < end:
        if now > burst_until + 2 * SECOND and random_.random() < 0.01:
            burst_until = now + random_.randrange(SECOND // 2, 3 * SECOND)
        jitter = random_.randrange(40_000_000) if now < burst_until else random_.randrange(1_500_000)
        media = int(now * (1 + ppm * 1e-6)) * rate // SECOND
        shift = offset + (2**31 if now >= jump else 0)
        rtp = media + shift if now < renewed else media - renewed * rate // SECOND + 17
        yield Sent(base + now, rtp, base + now + jitter)
        now += every_ns
        if pause <= now < pause + every_ns:
            now += 60 * SECOND


def play(clock: TrackClock, sent: list[Sent]) -> list[tuple[Sent, int, bool]]:
    """See and settle as the fold does: a frame is settled when another has arrived 3 s later."""
    out: list[tuple[Sent, int, bool]] = []
    waiting: list[Sent] = []
    head = 0
    for frame in sent:
        clock.see(frame.rtp, frame.arrival_ns, frame.switched)
        waiting.append(frame)
        while head < len(waiting) and waiting[head].arrival_ns + AHEAD_NS <= frame.arrival_ns:
            settled = clock.settle()
            out.append((waiting[head], settled.room_ns, settled.restarted))
            head += 1
    while head < len(waiting):
        settled = clock.settle()
        out.append((waiting[head], settled.room_ns, settled.restarted))
        head += 1
    return out


@pytest.mark.live
@pytest.mark.parametrize(("ppm", "rate", "every_ns"), [(200.0, 48_000, 60_000_000), (-200.0, 90_000, 66_666_667)])
def test_two_hours_are_within_ten_milliseconds(ppm: float, rate: int, every_ns: int) -> None:
    """From the first frame on, and at once after the pause, the jump and the change of SSRC."""
    sent = list(frames(7, rate, every_ns, 2, ppm))
    played = play(TrackClock(rate), sent)
    assert len(played) == len(sent)
    assert sent[-1].true_ns - sent[0].true_ns > 7_199 * SECOND
    assert all(after[1] >= before[1] for before, after in itertools.pairwise(played)), "room time went back"
    assert max(abs(room_ns - frame.true_ns) for frame, room_ns, _ in played) <= 10_000_000
    assert max(abs(frame.arrival_ns - frame.true_ns) for frame in sent) > 39_000_000, "the jitter was there"
    assert sum(restarted for _, _, restarted in played) == 2, "the jump and the new SSRC, and neither the pause nor the jitter"


def test_first_frames_are_right_although_they_came_late() -> None:
    sent = [Sent(i * 20_000_000, i * 960, i * 20_000_000 + (35_000_000 if i < 100 else 0)) for i in range(500)]
    assert [room for _, room, _ in play(TrackClock(48000), sent)] == [s.true_ns for s in sent]


def test_pause_in_which_rtp_time_stood_still_is_followed() -> None:
    sent = [Sent(i * 20_000_000, i * 960, i * 20_000_000) for i in range(200)]
    later = 90 * SECOND
    sent += [Sent(later + i * 20_000_000, (200 + i) * 960, later + i * 20_000_000) for i in range(200)]
    played = play(TrackClock(48000), sent)
    assert [room for _, room, _ in played] == [s.true_ns for s in sent]
    assert [i for i, (_, _, restarted) in enumerate(played) if restarted] == [200]


def test_timestamps_that_a_simulcast_switch_moved_are_right_from_that_picture_on() -> None:
    """Five switches in ten seconds, after each of which pictures come 20 ms later than their timestamps say; jitter as usual."""
    random_ = random.Random(5)
    sent = []
    for number in range(300):
        true_ns, moved = number * 66_666_667, min(number // 30, 5) * 20_000_000
        rtp = (true_ns - moved) * 90_000 // SECOND
        jitter = random_.choice([0, 0, 3, 9]) * 1_000_000
        sent.append(Sent(true_ns, rtp, true_ns + jitter, number % 30 == 0 and 0 < number <= 150))
    played = play(TrackClock(90_000), sent)
    assert max(abs(room_ns - frame.true_ns) for frame, room_ns, _ in played) < 1_000_000
    assert not any(restarted for _, _, restarted in played)
    unmarked = play(TrackClock(90_000), [Sent(s.true_ns, s.rtp, s.arrival_ns) for s in sent])
    assert max(abs(room_ns - frame.true_ns) for frame, room_ns, _ in unmarked) > 50_000_000, "without the mark it takes ten seconds"


def test_a_switch_to_timestamps_that_say_too_much_is_followed_at_once() -> None:
    sent = [Sent(n * 50_000_000, n * 4500 + (9000 if n >= 40 else 0), n * 50_000_000, n == 40) for n in range(120)]
    rooms = [room for _, room, _ in play(TrackClock(90_000), sent)]
    assert rooms == [s.true_ns for s in sent]


def test_a_stall_of_the_network_is_not_a_new_clock() -> None:
    stall = range(300, 400)
    sent = [Sent(i * 20_000_000, i * 960, (max(stall) + 1 if i in stall else i) * 20_000_000) for i in range(800)]
    played = play(TrackClock(48000), sent)
    assert not any(restarted for _, _, restarted in played)
    assert [room for _, room, _ in played] == [s.true_ns for s in sent]


def test_a_stall_that_grows_in_steps_and_is_caught_up_slowly_is_not_a_new_clock() -> None:
    """As a sender with too little processor time: 339 ms late, 1004 ms late, later and later again, then 18 ms less each packet."""
    late = [339, *range(1004, 860, -18), *range(1098, 0, -18)]
    sent = []
    for i in range(800):
        behind = late[i - 300] if 300 <= i < 300 + len(late) else 0
        sent.append(Sent(i * 20_000_000, i * 960, i * 20_000_000 + behind * 1_000_000))
    played = play(TrackClock(48000), sent)
    assert not any(restarted for _, _, restarted in played)
    assert [room for _, room, _ in played] == [s.true_ns for s in sent]


def test_a_restored_clock_goes_on_as_if_nothing_had_happened() -> None:
    sent = list(frames(3, 48000, 20_000_000, 0.05, 150))
    whole = play(TrackClock(48000), sent)
    for at in (1, 777, 2600, 3700, 6000):
        clock = TrackClock(48000)
        for frame in sent[:at]:
            clock.see(frame.rtp, frame.arrival_ns)
        # As the fold would: those up to `at` are settled with what follows them in sight.
        clock = TrackClock(48000)
        seen = 0
        for index in range(at):
            while seen < len(sent) and sent[seen].arrival_ns < sent[index].arrival_ns + AHEAD_NS:
                clock.see(sent[seen].rtp, sent[seen].arrival_ns)
                seen += 1
            clock.settle()
        restored = TrackClock(48000, json.loads(json.dumps(clock.state())))
        assert [room for _, room, _ in play(restored, sent[at:])] == [room for _, room, _ in whole[at:]]
