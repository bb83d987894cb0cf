"""How often a caller may call."""

from dataclasses import dataclass

from rokuga.errors import ApiError
from rokuga.words import Words

RATE = 20.0
"""requests a second per API and SecretId (TRTC's documented limit)"""


@dataclass
class Bucket:
    """A token bucket that holds one second's worth of ``rate`` (requests a second)."""

    rate: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        """Take a token at ``now`` (seconds, any monotonic clock); False if there is none."""
        self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class RateLimit:
    """One bucket per API and SecretId; only authenticated SecretIds may be passed, so their number is bounded."""

    def __init__(self, rate: float = RATE) -> None:
        self.rate = rate
        self.buckets: dict[tuple[str, str], Bucket] = {}

    def admit(self, action: str, secret_id: str, now: float) -> None:
        """Raises ApiError RequestLimitExceeded."""
        bucket = self.buckets.setdefault((action, secret_id), Bucket(self.rate, self.rate, now))
        if not bucket.take(now):
            raise ApiError(
                "RequestLimitExceeded",
                Words(
                    "Your current requests exceed the frequency limit `{rate}` for a second of {action}. "
                    "Please reduce the frequency of calls.",
                    rate=f"{self.rate:g}",
                    action=action,
                ),
            )
