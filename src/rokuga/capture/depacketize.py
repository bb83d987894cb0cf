"""From packets in order to frames: what every depacketizer is, and the one for audio. Pure."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rokuga.capture.buffer import Lost, Packet

INCOMPLETE = "incomplete"
"""Cause of a loss: a picture whose packets all came, as far as anybody knows, and that is not whole."""


class AccessUnit(NamedTuple):
    """One whole picture or audio packet; arrivals are those of its earliest and its latest packet, the rest as in the journal's Frame."""

    rtp_time: int
    first_arrival_ns: int
    last_arrival_ns: int
    keyframe: bool
    data: bytes
    orientation: int = 0
    switched: bool = False


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A loss, and the frame it cost (``rtp_time`` -1: whole frames between others). ``cause`` as in the journal's Loss."""

    first_sequence: int
    last_sequence: int
    rtp_time: int
    cause: str
    tries: int = 0


Output = list[AccessUnit | Spoiled]


def cause_of(lost: Lost) -> str:
    return "repair-failed" if lost.tries else "network"


class Depacketizer(Protocol):
    malformed: int
    """packets that contradicted their format"""

    def push(self, packet: Packet) -> Output:
        """The next packet in order; never raises on what a packet holds."""

    def lost(self, lost: Lost) -> Output:
        """The next packets in order are lost."""

    def flush(self) -> Output:
        """Nothing follows: what is begun is whole or spoiled."""


class AudioDepacketizer:
    """Opus, G.711, G.722: each packet is a frame (RFC 7587 §4.2, RFC 3551 §4.5)."""

    def __init__(self) -> None:
        self.malformed = 0

    def push(self, packet: Packet) -> Output:
        _, rtp_time, _, payload, arrival_ns, _ = packet
        # As AccessUnit(...) does it, without the Python function in between.
        return [tuple.__new__(AccessUnit, (rtp_time, arrival_ns, arrival_ns, False, payload, 0, False))]

    def lost(self, lost: Lost) -> Output:
        return [Spoiled(lost.first, lost.last, -1, cause_of(lost), lost.tries)]

    def flush(self) -> Output:
        return []
