import hashlib
from dataclasses import replace

import pytest

from rokuga.api import signature
from rokuga.api.signature import SignedRequest, verify
from rokuga.errors import ApiError

NOW = 1700000000
BODY = b'{"SdkAppId": 1400000001, "TaskId": "T1"}'
HOST = "127.0.0.1:8080"
PLAIN = "f4570cd6c7fb3825a7b1c8fccd96e9ff5bb88d7510e262aaf94932fc0c8ef61f"


def secret_of(secret_id: str) -> str | None:
    return {"AKIDEXAMPLE": "EXAMPLEKEY"}.get(secret_id)


def authorization(
    proof: str, service: str = "trtc", headers: str = "content-type;host", secret_id: str = "AKIDEXAMPLE", date: str = "2023-11-14"
) -> str:
    return f"TC3-HMAC-SHA256 Credential={secret_id}/{date}/{service}/tc3_request, SignedHeaders={headers}, Signature={proof}"


def request(proof: str = PLAIN, service: str = "trtc", **headers: str) -> SignedRequest:
    """A POST with the signature ``proof``; further headers have _ for -."""
    sent = {"host": HOST, "content-type": "application/json", "x-tc-timestamp": str(NOW), "authorization": authorization(proof, service)}
    return SignedRequest("POST", "", sent | {name.replace("_", "-"): value for name, value in headers.items()}, BODY)


def signed(sent: dict[str, str], values: dict[str, str], service: str = "trtc") -> SignedRequest:
    """A POST with the headers ``sent`` whose client signed ``values``."""
    bare = SignedRequest("POST", "", {"x-tc-timestamp": str(NOW), **sent}, BODY)
    canonical = signature.canonical_request("POST", "", values, signature.payload_hash(bare))
    key = signature.signing_key("EXAMPLEKEY", "2023-11-14", service)
    proof = signature.sign(key, NOW, f"2023-11-14/{service}/tc3_request", canonical)
    return replace(bare, headers={**bare.headers, "authorization": authorization(proof, service, ";".join(sorted(values)))})


def refused(wrong: SignedRequest, now: float = NOW) -> str:
    with pytest.raises(ApiError) as caught:
        verify(wrong, secret_of, now)
    assert "EXAMPLEKEY" not in caught.value.message
    return caught.value.code


def test_the_published_example_of_signature_v3() -> None:
    body = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
    values = {"content-type": "application/json; charset=utf-8", "host": "cvm.tencentcloudapi.com", "x-tc-action": "describeinstances"}
    payload = signature.payload_hash(SignedRequest("POST", "", {}, body))
    assert payload == "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
    canonical = signature.canonical_request("POST", "", values, payload)
    assert hashlib.sha256(canonical.encode()).hexdigest() == "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84"
    # The example's secret is masked; its derived key is published.
    key = bytes.fromhex("b596b923aad85185e2d1f6659d2a062e0a86731226e021e61bfe06f7ed05f5af")
    expected = "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f"
    assert signature.sign(key, 1551113065, "2019-02-25/cvm/tc3_request", canonical) == expected


# Computed with the official libraries.
@pytest.mark.parametrize(
    "known",
    [
        request(),
        request("ee72709f2bb7148b772758ab561cb229c1a0631e67164c992935db7611b75619", x_tc_content_sha256="UNSIGNED-PAYLOAD"),
        request("0c65bd68d5d34e60a5e30704d00f3d2beb8f87b02595978ad83f287f3f130e20", "127"),
        replace(
            request("a5ba66e9d07721b239f49f0cb1a987baa2a2470e753651cb5aa19a4f3391fa38", content_type="application/x-www-form-urlencoded"),
            method="GET",
            query="SdkAppId=1400000001&TaskId=T1",
            body=b"",
        ),
    ],
    ids=["post", "unsigned payload", "node", "get"],
)
def test_known_answers(known: SignedRequest) -> None:
    assert verify(known, secret_of, NOW) == "AKIDEXAMPLE"
    assert verify(known, secret_of, NOW + 300) == "AKIDEXAMPLE"
    assert verify(known, secret_of, NOW - 300) == "AKIDEXAMPLE"


def test_known_steps() -> None:
    """What the signatures above are made of."""
    assert signature.payload_hash(request()) == "b70267e1231fd190359f3dbd09017e1ee25ef5656f12543b763ca387ea0298ad"
    unsigned = signature.payload_hash(request(x_tc_content_sha256="UNSIGNED-PAYLOAD"))
    assert unsigned == "438d4109ef0d676b8c2c7ed13cdfcb418e494d53b843d4634ce3b1085f07bb96"
    values = {"content-type": "application/json", "host": HOST}
    canonical = signature.canonical_request("POST", "", values, signature.payload_hash(request()))
    assert hashlib.sha256(canonical.encode()).hexdigest() == "ddbd0d59a19d8827723a405eda229c84bee1bc7c5fa8fe5caff7b5039790afc8"


def test_the_published_steps_of_the_key() -> None:
    """Of the example whose secret is masked: from the day's key on."""
    day = bytes.fromhex("da98fb70dcf6b112dc21038d1eeeb3a95c74b4dcb12c1131f864f6066bd02be0")
    service = "8d70cbefb03939f929db64d32dc2ba89b1095620119fe3e050e2b18c5bd2752f"
    assert signature.derive(day, "cvm").hex() == service
    assert (
        signature.derive(bytes.fromhex(service), "tc3_request").hex() == "b596b923aad85185e2d1f6659d2a062e0a86731226e021e61bfe06f7ed05f5af"
    )


JSON, UTF8 = "application/json", "application/json; charset=utf-8"


# What each SDK sends and signs when its endpoint is overridden.
@pytest.mark.parametrize(
    ("sent", "values", "service"),
    [
        ({"host": HOST, "content-type": JSON}, {"host": HOST, "content-type": JSON}, "trtc"),  # Python, Go
        ({"host": HOST, "content-type": JSON}, {"host": "127.0.0.1", "content-type": JSON}, "127"),  # Node, an address
        ({"host": "localhost:18098", "content-type": JSON}, {"host": "localhost", "content-type": JSON}, "localhost:18098"),  # Node, a name
        ({"host": HOST, "content-type": UTF8}, {"host": HOST, "content-type": UTF8}, "127"),  # Java
        ({"host": HOST, "content-type": JSON}, {"host": HOST, "content-type": JSON}, "127"),  # PHP
        ({"host": HOST, "content-type": JSON}, {"host": HOST, "content-type": UTF8}, "127"),  # .NET
        ({"host": HOST, "content-type": UTF8}, {"host": HOST, "content-type": JSON}, "trtc"),
        ({"host": "Rec.Example:80", "content-type": JSON}, {"host": "rec.example", "content-type": JSON}, "rec"),
        ({"host": "h:80/api", "content-type": JSON}, {"host": "h:80/api", "content-type": JSON}, "h:80/api"),  # a path in the endpoint
        (
            {"host": HOST, "content-type": JSON, "x-tc-action": "DescribeCloudRecording"},
            {"host": HOST, "content-type": JSON, "x-tc-action": "describecloudrecording"},
            "trtc",
        ),  # the manual's example
        (
            {"host": HOST, "content-type": JSON, "x-tc-action": "DescribeCloudRecording"},
            {"host": HOST, "content-type": JSON, "x-tc-action": "DescribeCloudRecording"},
            "trtc",
        ),
    ],
)
def test_what_clients_sign(sent: dict[str, str], values: dict[str, str], service: str) -> None:
    right = signed(sent, values, service)
    assert verify(right, secret_of, NOW) == "AKIDEXAMPLE"
    assert refused(replace(right, body=BODY + b" ")) == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"authorization": ""}, "AuthFailure.InvalidAuthorization"),
        ({"authorization": "Bearer x"}, "AuthFailure.InvalidAuthorization"),
        ({"authorization": authorization(PLAIN)[:-1]}, "AuthFailure.InvalidAuthorization"),
        ({"authorization": authorization(PLAIN).replace("/tc3_request", "")}, "AuthFailure.InvalidAuthorization"),
        ({"authorization": authorization(PLAIN, headers="host")}, "AuthFailure.InvalidAuthorization"),
        ({"authorization": authorization(PLAIN, headers="content-type;host;x-absent")}, "AuthFailure.InvalidAuthorization"),
        ({"authorization": authorization(PLAIN, headers="content-type;host;host")}, "AuthFailure.InvalidAuthorization"),
        ({"authorization": authorization(PLAIN, secret_id="AKIDNOBODY")}, "AuthFailure.SecretIdNotFound"),
        ({"authorization": authorization(PLAIN, date="2023-11-15")}, "AuthFailure.SignatureFailure"),
        ({"authorization": authorization("0" * 64)}, "AuthFailure.SignatureFailure"),
        ({"authorization": authorization(PLAIN, service="cvm")}, "AuthFailure.SignatureFailure"),
        ({"host": "127.0.0.2:8080"}, "AuthFailure.SignatureFailure"),
        ({"content-type": "text/plain"}, "AuthFailure.SignatureFailure"),
        ({"x-tc-timestamp": ""}, "MissingParameter"),
        ({"x-tc-timestamp": "yesterday"}, "InvalidParameter"),
        ({"x-tc-timestamp": "²"}, "InvalidParameter"),
        ({"x-tc-timestamp": "9" * 30}, "InvalidParameter"),
        ({"x-tc-timestamp": str(NOW + 1)}, "AuthFailure.SignatureFailure"),
        ({"x-tc-token": "t"}, "AuthFailure.TokenFailure"),
    ],
)
def test_wrong_requests(changes: dict[str, str], code: str) -> None:
    right = request()
    assert refused(replace(right, headers={**right.headers, **changes})) == code


@pytest.mark.parametrize("off", [-301, 301, 10**9])
def test_a_clock_that_differs_too_much(off: int) -> None:
    assert refused(request(), NOW + off) == "AuthFailure.SignatureExpire"


def test_an_extra_signed_header_is_covered() -> None:
    values = {"host": HOST, "content-type": JSON, "x-tc-action": "DescribeCloudRecording"}
    right = signed(values, values)
    wrong = replace(right, headers={**right.headers, "x-tc-action": "DeleteCloudRecording"})
    assert refused(wrong) == "AuthFailure.SignatureFailure"


def test_repeated_headers_are_joined() -> None:
    assert signature.headers_of([(b"Host", b"a"), (b"X", b"1"), (b"x", b"2")]) == {"host": "a", "x": "1,2"}
