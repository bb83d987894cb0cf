import pytest

from rokuga.api.limits import RateLimit
from rokuga.errors import ApiError


def admitted(limit: RateLimit, now: float, times: int, action: str = "A", secret_id: str = "S") -> int:
    refused = []
    for _ in range(times):
        try:
            limit.admit(action, secret_id, now)
        except ApiError as error:
            refused.append(error.code)
    assert set(refused) <= {"RequestLimitExceeded"}
    return times - len(refused)


def test_twenty_a_second() -> None:
    limit = RateLimit()
    assert admitted(limit, 100.0, 25) == 20
    assert admitted(limit, 100.5, 25) == 10
    assert admitted(limit, 100.5 + 1e-9, 5) == 0
    assert admitted(limit, 1000.0, 100) == 20


def test_each_action_and_secret_id_has_its_own() -> None:
    limit = RateLimit(1)
    assert [admitted(limit, 0.0, 3, action, secret_id) for action, secret_id in ("AS", "BS", "AT")] == [1, 1, 1]


def test_a_steady_caller_at_the_limit_is_never_refused() -> None:
    limit = RateLimit()
    assert sum(admitted(limit, 5 + n * 0.05, 1) for n in range(200)) == pytest.approx(200)
