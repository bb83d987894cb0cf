import pytest

from rokuga.api import signature_v1
from rokuga.api.signature_v1 import OldRequest
from rokuga.errors import ApiError

NOW = 1700000000
HOST = "127.0.0.1:8080"
COMMON = {
    "Action": "DescribeCloudRecording",
    "Language": "zh-CN",
    "Nonce": "12345",
    "Region": "ap-singapore",
    "RequestClient": "SDK_PYTHON_X",
    "SdkAppId": "1400000001",
    "SecretId": "AKIDEXAMPLE",
    "TaskId": "T1",
    "Timestamp": str(NOW),
    "Version": "2019-07-22",
}
# Computed with the official library.
KNOWN = {
    ("POST", "HmacSHA256"): "+9YJGBetVZsS/vwfHUH1BH8BwOFCCJVWPcV4QWkPCPk=",
    ("GET", "HmacSHA1"): "pODUhqx6MjsJacl0eBB5GNpUUto=",
}


def secret_of(secret_id: str) -> str | None:
    return {"AKIDEXAMPLE": "EXAMPLEKEY"}.get(secret_id)


def known(method: str, digest: str, host: str = HOST, **changes: str) -> OldRequest:
    pairs = COMMON | {"SignatureMethod": digest, "Signature": KNOWN[method, digest]} | changes
    return OldRequest(method, host, list(pairs.items()))


@pytest.mark.parametrize(("method", "digest"), KNOWN)
def test_known_answers(method: str, digest: str) -> None:
    for off in (-300, 0, 300):
        assert signature_v1.verify(known(method, digest), secret_of, NOW + off) == "AKIDEXAMPLE"


@pytest.mark.parametrize(("method", "digest"), KNOWN)
@pytest.mark.parametrize(
    ("changes", "off", "code"),
    [
        ({"TaskId": "T2"}, 0, "AuthFailure.SignatureFailure"),
        ({"host": "127.0.0.1"}, 0, "AuthFailure.SignatureFailure"),
        ({"Signature": ""}, 0, "AuthFailure.SignatureFailure"),
        ({"Signature": "é"}, 0, "AuthFailure.SignatureFailure"),
        ({"More": "x"}, 0, "AuthFailure.SignatureFailure"),
        ({}, 301, "AuthFailure.SignatureExpire"),
        ({}, -301, "AuthFailure.SignatureExpire"),
        ({"SecretId": "AKIDNOBODY"}, 0, "AuthFailure.SecretIdNotFound"),
    ],
)
def test_wrong_requests(method: str, digest: str, changes: dict[str, str], off: int, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        signature_v1.verify(known(method, digest, **changes), secret_of, NOW + off)
    assert caught.value.code == code
    assert "EXAMPLEKEY" not in caught.value.message


def test_names_with_underscores_are_signed_with_dots_or_as_they_are() -> None:
    for named in ("a_b", "a.b"):
        pairs = [*COMMON.items(), ("SignatureMethod", "HmacSHA1"), ("a_b", "1")]
        text = signature_v1.text_to_sign("GET", HOST, [(named if name == "a_b" else name, value) for name, value in pairs])
        proof = signature_v1.sign("EXAMPLEKEY", text, "sha1")
        assert signature_v1.verify(OldRequest("GET", HOST, [*pairs, ("Signature", proof)]), secret_of, NOW) == "AKIDEXAMPLE"


def test_the_action_sees_its_own_parameters_alone() -> None:
    assert known("GET", "HmacSHA1").others() == [("SdkAppId", "1400000001"), ("TaskId", "T1")]
