import pytest

from rokuga.api.query import FIELDS_MAX, pairs_of, unflatten
from rokuga.errors import ApiError


def test_nested_objects_and_lists() -> None:
    query = "SdkAppId=1&RoomId=room+%C3%A9%201&R.A.0=a+b&R.A.1=&R.B.0.X=1&R.C.1=not+from+0&Empty="
    assert unflatten(pairs_of(query)) == {
        "SdkAppId": "1",
        "RoomId": "room é 1",
        "R": {"A": ["a b", ""], "B": [{"X": "1"}], "C": {"1": "not from 0"}},
        "Empty": "",
    }
    assert unflatten(pairs_of("")) == {}


@pytest.mark.parametrize(
    "query", ["A=1&A=2", "A=1&A.B=2", "A.B=2&A=1", "A=%ff", "&".join(f"A{n}=" for n in range(FIELDS_MAX + 1))], ids=range(5)
)
def test_what_says_nothing(query: str) -> None:
    with pytest.raises(ApiError) as caught:
        unflatten(pairs_of(query))
    assert caught.value.code == "InvalidParameter"


def test_depth_is_bounded() -> None:
    node = unflatten(pairs_of("a." * 5000 + "a=1"))
    depth = 0
    while isinstance(node := next(iter(node.values())), dict):
        depth += 1
    assert depth < 10
