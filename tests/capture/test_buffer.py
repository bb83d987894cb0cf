"""The receive buffer: order, wrap, repair, loss, restart, bounds."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rokuga.capture.buffer import MAX_JUMP, MS, Event, Lost, Packet, ReceiveBuffer, Restarted
from rokuga.capture.rtp import MalformedPacket, RtpPacket

TICK = 20 * MS
IDLE_TICK = 100 * MS
"""while nothing is missing"""


def rtp(number: int, payload: bytes | None = None, step: int = 3000) -> RtpPacket:
    """The ``number``-th packet of a source, counted without wrap; its payload names it."""
    body = b"%d" % number if payload is None else payload
    return RtpPacket(9, 107, number & 0xFFFF, number * step & 0xFFFFFFFF, True, body)


def rtx(number: int) -> RtpPacket:
    original = rtp(number)
    payload = (number & 0xFFFF).to_bytes(2, "big") + original.payload
    return RtpPacket(10, 108, 1, original.timestamp, original.marker, payload, original.orientation)


def numbers(events: list[Event]) -> list[int]:
    return [int(e.payload) for e in events if isinstance(e, Packet)]


def test_packets_in_order_come_out_at_once() -> None:
    buffer = ReceiveBuffer()
    for n in range(5):
        buffer.push(rtp(n), n)
        (event,) = buffer.poll(n)
        assert event == Packet(n, n * 3000, True, b"%d" % n, n)
    assert buffer.counters.received == 5


def test_what_comes_in_order_is_counted_and_a_stray_packet_before_it_is_forgotten() -> None:
    buffer = ReceiveBuffer()
    buffer.push(rtp(0), 0)
    assert numbers(buffer.poll(0)) == [0]
    buffer.push_all([(rtp(20000), 1), (rtp(1), 2), (rtp(2, payload=b""), 3), (rtp(20001), 4), (rtp(3), 5)])
    assert numbers(buffer.poll(5)) == [1, 3]
    assert (buffer.counters.received, buffer.counters.bytes, buffer.counters.empty, buffer.counters.restarts) == (4, 3, 1, 0)
    assert (buffer.highest, buffer.expected, buffer.last_arrival_ns) == (3, 4, 5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 3, 0, -1, 5000]), max_size=20), max_size=10), st.integers(65500, 65540))
def test_packets_that_are_taken_in_together_come_out_as_one_by_one(ticks: list[list[int]], number: int) -> None:
    """``ticks``: how far each packet's number is from that of the one before; every seventh packet is empty."""
    together, single = ReceiveBuffer(), ReceiveBuffer()
    came = 0
    for tick, steps in enumerate(ticks):
        now = (tick + 1) * 400 * MS
        packets = []
        for step in steps:
            number += step
            came += 1
            packets.append((rtp(number, payload=None if number % 7 else b""), now - 300 * MS + came))
        together.push_all(packets)
        for packet, arrival_ns in packets:
            single.push(packet, arrival_ns)
        assert together.poll(now) == single.poll(now)
        assert together.nacks(now) == single.nacks(now)
        for what in ("counters", "highest", "expected", "last_arrival_ns", "held"):
            assert getattr(together, what) == getattr(single, what)
    assert together.flush() == single.flush()


def test_sequence_and_timestamp_are_unwrapped() -> None:
    buffer = ReceiveBuffer()
    start = 3 * 65536 - 10
    step = 2**30  # the timestamp wraps every fourth packet
    events = []
    for n in range(start, start + 20):
        buffer.push(rtp(n, step=step), 0)
        events += buffer.poll(0)
    packets = [e for e in events if isinstance(e, Packet)]
    assert [p.sequence - packets[0].sequence for p in packets] == list(range(20))
    assert [p.rtp_time - packets[0].rtp_time for p in packets] == [n * step for n in range(20)]


def test_a_timestamp_may_go_back() -> None:
    """B-frames and resent packets: unwrapping goes by the shorter way."""
    buffer = ReceiveBuffer()
    times = [100, 2**32 - 50, 200]
    for n, time in enumerate(times):
        buffer.push(RtpPacket(9, 107, n, time, True, b"x"), 0)
    assert [e.rtp_time for e in buffer.poll(0) if isinstance(e, Packet)] == [100, -50, 200]


def test_a_hole_holds_back_until_it_is_repaired() -> None:
    buffer = ReceiveBuffer()
    for n in (0, 1, 4, 5):
        buffer.push(rtp(n), 0)
    assert numbers(buffer.poll(0)) == [0, 1]
    assert buffer.nacks(0) == [2, 3]
    buffer.push_rtx(rtx(3), MS)
    assert numbers(buffer.poll(MS)) == []
    buffer.push_rtx(rtx(2), 2 * MS)
    events = buffer.poll(2 * MS)
    assert numbers(events) == [2, 3, 4, 5]
    assert [e.rtp_time for e in events if isinstance(e, Packet)] == [6000, 9000, 12000, 15000]
    assert buffer.counters.repaired == 2
    assert buffer.counters.lost == 0


def test_reordering_is_not_a_loss_and_asks_for_nothing() -> None:
    buffer = ReceiveBuffer()
    for n in (0, 3, 1, 2, 4):
        buffer.push(rtp(n), 0)
    assert numbers(buffer.poll(0)) == [0, 1, 2, 3, 4]
    assert buffer.nacks(0) == []
    assert buffer.counters.repaired == 0


def test_nacks_are_repeated_until_janus_has_nothing_any_more() -> None:
    buffer = ReceiveBuffer()
    buffer.push(rtp(0), 0)
    buffer.push(rtp(2), 0)
    asked = [now // MS for now in range(0, 2000 * MS, 10 * MS) if buffer.nacks(now)]
    assert asked == list(range(0, 1051, 70))


def test_a_hole_that_stays_is_a_loss_with_its_range_and_tries() -> None:
    buffer = ReceiveBuffer()
    for n in (0, 1, 5):
        buffer.push(rtp(n), 0)
    events: list[Event] = []
    now = 0
    while now < 3000 * MS and Lost not in {type(e) for e in events}:
        events += buffer.poll(now)
        buffer.nacks(now)
        now += TICK
    assert [type(e) for e in events] == [Packet, Packet, Lost, Packet]
    assert events[2] == Lost(2, 4, 14)  # asked at 0, 80, 160, … 1040 ms
    assert 1000 * MS < now <= 2000 * MS
    assert buffer.counters.lost == 3
    buffer.push_rtx(rtx(3), now)
    assert buffer.poll(now) == []
    assert buffer.counters.late + buffer.counters.duplicates == 1


def test_how_long_the_oldest_hole_is_waited_for() -> None:
    buffer = ReceiveBuffer()
    assert buffer.waits_ns(0) == 0
    for n in (0, 2, 4):
        buffer.push(rtp(n), n * MS)
    assert buffer.waits_ns(100 * MS) == 98 * MS
    buffer.push_rtx(rtx(1), 100 * MS)
    assert buffer.waits_ns(100 * MS) == 96 * MS
    buffer.push_rtx(rtx(3), 100 * MS)
    assert buffer.waits_ns(100 * MS) == 0


def test_no_track_is_held_back_longer_than_a_second_and_a_half() -> None:
    buffer = ReceiveBuffer()
    buffer.push(rtp(0), 0)
    buffer.push(rtp(2), 0)
    buffer.poll(0)
    assert buffer.poll(1499 * MS) == []
    assert numbers(buffer.poll(1500 * MS)) == [2]


def test_duplicates_come_out_once() -> None:
    buffer = ReceiveBuffer()
    for n in (0, 0, 2, 2, 1, 1):
        buffer.push(rtp(n), 0)
    assert numbers(buffer.poll(0)) == [0, 1, 2]
    buffer.push(rtp(2), 0)
    buffer.push_rtx(rtx(1), 0)
    assert buffer.poll(0) == []
    assert buffer.counters.duplicates == 5


def test_padding_probes_count_in_the_sequence_and_are_no_media() -> None:
    buffer = ReceiveBuffer()
    buffer.push(rtp(0), 0)
    buffer.push(rtp(1, b""), 0)
    buffer.push(rtp(2), 0)
    assert numbers(buffer.poll(0)) == [0, 2]
    assert buffer.counters.empty == 1
    assert buffer.counters.lost == 0


def test_probes_on_the_retransmission_ssrc_are_nothing_and_a_cut_one_is_malformed() -> None:
    buffer = ReceiveBuffer()
    buffer.push_rtx(rtx(7), 0)  # before any media: nothing is known to be missing
    buffer.push(rtp(0), 0)
    buffer.push_rtx(RtpPacket(10, 108, 1, 0, False, b""), 0)
    with pytest.raises(MalformedPacket):
        buffer.push_rtx(RtpPacket(10, 108, 2, 0, False, b"x"), 0)
    assert numbers(buffer.poll(0)) == [0]
    assert buffer.counters.malformed == 1


def test_a_single_stray_packet_changes_nothing() -> None:
    buffer = ReceiveBuffer()
    for n in (0, 1, 20_000, 2, 3):
        buffer.push(rtp(n), 0)
    assert numbers(buffer.poll(0)) == [0, 1, 2, 3]
    assert buffer.counters.restarts == 0


def test_a_source_that_begins_anew_is_a_restart_after_what_was_before() -> None:
    buffer = ReceiveBuffer()
    for n in (0, 1, 3):
        buffer.push(rtp(n), 0)
    for n in (30_000, 30_001, 30_002):
        buffer.push(rtp(n), MS)
    events = buffer.poll(MS)
    assert [type(e).__name__ for e in events] == ["Packet", "Packet", "Lost", "Packet", "Restarted", "Packet", "Packet", "Packet"]
    assert numbers(events) == [0, 1, 3, 30_000, 30_001, 30_002]
    assert buffer.expected == 3


@pytest.mark.parametrize("gap", [MAX_JUMP + 1, 20_000, 32_768])
def test_a_source_that_went_on_during_an_outage_is_the_same_and_all_that_is_missing_is_named(gap: int) -> None:
    """At 1,000 packets a second; Janus has the last second of it at most, and it is asked for no more than is a believable jump."""
    buffer = ReceiveBuffer()
    step = 90
    for n in (0, 1, 3):
        buffer.push(rtp(n, step=step), n * MS)
    for n in (3 + gap, 4 + gap):
        buffer.push(rtp(n, step=step), (n + 300) * MS)
    now = (304 + gap) * MS
    events = buffer.poll(now)
    asked = buffer.nacks(now)
    assert asked == [n & 0xFFFF for n in range(4 + gap - MAX_JUMP, 3 + gap)]
    for n in range(2 + gap, 3 + gap - 500, -1):
        buffer.push_rtx(RtpPacket(10, 108, 1, n * step & 0xFFFFFFFF, True, (n & 0xFFFF).to_bytes(2, "big") + b"%d" % n), now)
    events += buffer.poll(now + 2000 * MS)
    assert buffer.counters.restarts == 0
    assert numbers(events) == [0, 1, 3, *range(4 + gap - 500, 5 + gap)]
    lost = [n for e in events if isinstance(e, Lost) for n in range(e.first, e.last + 1)]
    assert lost == [2, *range(4, 4 + gap - 500)]
    assert buffer.counters.lost == len(lost)


def test_the_largest_jump_that_is_believed_is_a_hole() -> None:
    buffer = ReceiveBuffer()
    buffer.push(rtp(0), 0)
    buffer.push(rtp(MAX_JUMP), 0)
    buffer.poll(0)
    assert len(buffer.nacks(0)) == MAX_JUMP - 1


def test_a_keyframe_of_2_mb_waits_for_its_first_packet() -> None:
    buffer = ReceiveBuffer()
    buffer.push(rtp(0), 0)
    payload = bytes(1200)
    for n in range(2, 1802):
        buffer.push(rtp(n, payload), 0)
    assert len(buffer.poll(0)) == 1
    buffer.push_rtx(rtx(1), 500 * MS)
    assert len(buffer.poll(500 * MS)) == 1801


def test_beyond_the_bound_the_oldest_hole_is_given_up() -> None:
    buffer = ReceiveBuffer()
    buffer.push(rtp(0), 0)
    payload = bytes(64 * 1024)
    for n in range(2, 400):
        buffer.push(rtp(n, payload), 0)
    events = buffer.poll(0)
    assert Lost(1, 1, 0) in events
    assert buffer.held == 0


def test_flush_gives_up_every_hole() -> None:
    buffer = ReceiveBuffer()
    for n in (0, 2, 5):
        buffer.push(rtp(n), 0)
    events = buffer.flush()
    assert [type(e) for e in events] == [Packet, Lost, Packet, Lost, Packet]
    assert ReceiveBuffer().flush() == []


def simulate(
    seed: int, count: int, loss: float, rtx_loss: float, start: int, jitter_ms: int = 8, nack_loss: float = 0.0, resend_ms: int = 5
) -> tuple[list[Event], ReceiveBuffer]:
    """A sender of one packet a millisecond that answers NACKs as Janus does (once in 200 ms, for 1000 ms), over a bad network."""
    dice = random.Random(seed)
    buffer = ReceiveBuffer()
    events: list[Event] = []
    wire: list[tuple[int, int, RtpPacket, bool]] = []
    sent_at = {}
    resent_at: dict[int, int] = {}
    for n in range(start, start + count):
        at = (n - start) * MS
        sent_at[n] = at
        if n == start or dice.random() >= loss:
            wire.append((at + (0 if n == start else dice.randrange(jitter_ms * MS)), n, rtp(n), False))
            if dice.random() < 0.01:
                wire.append((at + dice.randrange(50 * MS), n, rtp(n), False))
    now = 0
    end = (count + 3000) * MS
    while now < end:
        now += TICK if buffer.held else IDLE_TICK
        due = sorted((w for w in wire if w[0] <= now), key=lambda w: (w[0], w[1]))
        wire = [w for w in wire if w[0] > now]
        for at, _, packet, repeated in due:
            (buffer.push_rtx if repeated else buffer.push)(packet, at)
        events += buffer.poll(now)
        for sequence in buffer.nacks(now):
            if nack_loss and dice.random() < nack_loss:
                continue
            n = next(k for k in range(start + count - 1, start - 1, -1) if k & 0xFFFF == sequence)
            if now - sent_at[n] > 1000 * MS or now - resent_at.get(n, -(10**12)) < 200 * MS:
                continue
            resent_at[n] = now
            if dice.random() >= rtx_loss:
                wire.append((now + dice.randrange(resend_ms * MS), n, rtx(n), True))
    return events, buffer


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    rtx_loss=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    start=st.sampled_from([0, 1, 65_500, 4_000_000]),
)
def test_every_packet_comes_out_once_in_order_or_is_named_as_lost(seed: int, loss: float, rtx_loss: float, start: int) -> None:
    events, buffer = simulate(seed, 400, loss, rtx_loss, start)
    base = (start & 0xFFFF) - start  # unwrapping begins at the first packet's own number
    told: list[int] = []
    for event in events:
        assert not isinstance(event, Restarted)
        if isinstance(event, Lost):
            told += range(event.first, event.last + 1)
        else:
            assert event.sequence == int(event.payload) + base
            told.append(event.sequence)
    assert told == list(range(start & 0xFFFF, (start & 0xFFFF) + len(told)))
    # What is lost behind the last packet that came cannot be known.
    assert len(told) == buffer.expected
    assert buffer.held == 0
    if rtx_loss == 0.0:
        assert buffer.counters.lost == 0


def test_five_percent_loss_on_everything_is_repaired() -> None:
    for seed in range(5):
        _, buffer = simulate(seed, 1000, 0.05, 0.05, 65_000)
        assert buffer.counters.lost == 0
        assert buffer.counters.repaired > 20


def test_lost_nacks_and_slow_answers_cost_nothing() -> None:
    """10 % of everything is lost, of NACKs 20 %, and answers take up to 200 ms: each packet has all the chances of its second."""
    for seed in range(6):
        _, buffer = simulate(seed, 1500, 0.1, 0.1, 65_000, nack_loss=0.2, resend_ms=200)
        assert buffer.counters.lost == 0
