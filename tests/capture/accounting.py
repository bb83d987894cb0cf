"""Whether a journal says the truth: what was sent, less what it names as lost, is what it has."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rokuga.journal.records import Loss, TrackOpened
from rokuga.publish.clip import Unit
from tests.capture.kit import Journal, units_of
from tests.kit.network import Sent

Fingerprint = tuple[int, str]
"""An access unit or audio packet: its RTP time on the impaired line (32 bits) and its hash."""


@dataclass(frozen=True)
class Account:
    """``wire``: the track's packets as they were sent; ``published``: what was sent from the first recorded unit to the last."""

    wire: list[Sent]
    recorded: list[Fingerprint]
    published: list[Fingerprint]
    losses: list[Loss]
    lost: list[Sent]
    """the packets that the journal names"""

    def check(self) -> None:
        """What is recorded is what was published, less the units that the journal names; and it names only what was dropped."""
        named = {packet.rtp_time for packet in self.lost}
        assert self.recorded == [unit for unit in self.published if unit[0] not in named]
        assert [packet for packet in self.lost if not packet.dropped] == []
        assert {loss.cause for loss in self.losses} <= {"network", "repair-failed"}

    @property
    def first(self) -> float:
        """When the first unit that is recorded was sent; the first packet of all: ``wire[0]``."""
        return self._sent_at(self.recorded[0][0])

    @property
    def last(self) -> float:
        return self._sent_at(self.recorded[-1][0])

    def _sent_at(self, rtp_time: int) -> float:
        return next(packet.time for packet in self.wire if packet.rtp_time == rtp_time)


def account(journal: Journal, track: TrackOpened, sent: Sequence[Unit], packets: Sequence[Sent], relayed: bool = False) -> Account:
    """Compare a track with its publisher's units and with the RTP packets that were sent on the impaired line.

    ``relayed``: the line leads from the publisher to the media server, which gives the packets other numbers and times.
    """
    video = track.kind == "video"
    frames = [(frame.rtp_time, _hash(data, video)) for frame, data in journal.frames(track)]
    units = [(unit.pts, _hash(unit.data, video)) for unit in sent]
    losses = [loss for loss in journal.of(Loss) if loss.track == track.track]
    # The picture that was coming when the recording ended.
    losses = [loss for loss in losses if loss.cause != "incomplete" or loss.rtp_time <= frames[-1][0]]
    to_journal = _shift(units, frames)
    wire = _wire(packets, {pts for pts, _ in units}, None if relayed else to_journal)
    to_wire = wire[0].rtp_time - units[0][0] if relayed else to_journal
    turn = to_wire - to_journal
    published = [(pts, digest) for pts, digest in units if frames[0][0] <= pts + to_journal <= frames[-1][0]]
    return Account(
        wire=wire,
        recorded=[((time + turn) & 0xFFFFFFFF, digest) for time, digest in frames],
        published=[((pts + to_wire) & 0xFFFFFFFF, digest) for pts, digest in published],
        losses=losses,
        lost=_named(wire, losses, turn, relayed),
    )


def _hash(data: bytes, video: bool) -> str:
    return hashlib.sha256(b"\0\0\0\1".join(units_of(data, video))).hexdigest()


def _shift(units: Sequence[tuple[int, str]], frames: Sequence[tuple[int, str]]) -> int:
    """From a unit's time to the journal's, by a unit that exists only once."""
    count = Counter(digest for _, digest in units)
    times = {digest: pts for pts, digest in units if count[digest] == 1}
    return next(time - times[digest] for time, digest in frames if digest in times)


def _wire(packets: Sequence[Sent], times: set[int], shift: int | None) -> list[Sent]:
    """The packets of the one source whose times are these (its retransmissions have their times too, but are fewer)."""
    sources: dict[int, list[Sent]] = {}
    for packet in packets:
        sources.setdefault(packet.ssrc, []).append(packet)

    def fits(source: list[Sent]) -> bool:
        start = source[0].rtp_time - min(times) if shift is None else shift
        wanted = {(time + start) & 0xFFFFFFFF for time in times}
        return all(packet.rtp_time in wanted for packet in source)

    return max((source for source in sources.values() if fits(source)), key=len)


def _named(wire: Sequence[Sent], losses: Sequence[Loss], turn: int, relayed: bool) -> list[Sent]:
    """The packets that these losses mean, each of which is on the wire."""
    by_number = {packet.sequence: packet for packet in reversed(wire)}  # as sent first: audio is repeated under its own number
    numbers = [(number, loss) for loss in losses for number in range(loss.first_sequence, loss.last_sequence + 1)]
    offsets: Iterator[int] = iter((0,))
    if relayed and numbers:
        # The server counts from elsewhere: each loss must be a packet that was dropped, of the frame that it is said to have spoiled.
        offsets = (packet.sequence - numbers[0][0] for packet in wire if packet.dropped)
    for offset in offsets:
        named = [(by_number[at], loss) for number, loss in numbers if (at := (number + offset) & 0xFFFF) in by_number]
        found = [packet for packet, _ in named]
        if len(found) == len(numbers) and _spoils_what_it_says(named, turn) and not (relayed and any(not p.dropped for p in found)):
            return found
    raise AssertionError("the losses in the journal are not packets on the wire")


def _spoils_what_it_says(named: Sequence[tuple[Sent, Loss]], turn: int) -> bool:
    """Where losses name a frame, one of their packets is of that frame."""
    said: dict[tuple[int, int], set[int]] = {}
    for packet, loss in named:
        if loss.rtp_time >= 0:
            said.setdefault((loss.first_sequence, (loss.rtp_time + turn) & 0xFFFFFFFF), set()).add(packet.rtp_time)
    return all(time in times for (_, time), times in said.items())
