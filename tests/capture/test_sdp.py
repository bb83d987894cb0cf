"""Janus' offers and our answers."""

import pytest
from aiortc.sdp import SessionDescription

from rokuga.capture.sdp import Codec, Local, Media, SdpError, make_answer, parse_offer

OFFER = """v=0
o=- 1795416365174406 1 IN IP4 192.0.2.2
s=VideoRoom room1
t=0 0
a=group:BUNDLE 0 1
a=ice-options:trickle
a=fingerprint:sha-256 85:AB:E8:83:37:EE:0C:C9:09:00:97:9A:24:16:30:AF:D1:19:5E:CE:30:CE:89:00:19:CD:BE:31:5B:A6:90:DA
a=extmap-allow-mixed
a=msid-semantic: WMS *
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 192.0.2.2
a=sendonly
a=mid:0
a=rtcp-mux
a=ice-ufrag:xKC0
a=ice-pwd:E3oWimGPEv4KLhXu5sIMCX
a=ice-options:trickle
a=setup:actpass
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=msid:janus janus0
a=ssrc:4009254872 cname:janus
a=candidate:1 1 udp 2015363327 192.0.2.2 22587 typ host
a=end-of-candidates
m=video 9 UDP/TLS/RTP/SAVPF 107 108
c=IN IP4 192.0.2.2
a=sendonly
a=mid:1
a=rtcp-mux
a=ice-ufrag:xKC0
a=ice-pwd:E3oWimGPEv4KLhXu5sIMCX
a=ice-options:trickle
a=setup:actpass
a=rtpmap:107 H264/90000
a=rtcp-fb:107 ccm fir
a=rtcp-fb:107 nack
a=rtcp-fb:107 nack pli
a=rtcp-fb:107 goog-remb
a=rtcp-fb:107 transport-cc
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=fmtp:107 profile-level-id=42e01f;packetization-mode=1
a=rtpmap:108 rtx/90000
a=fmtp:108 apt=107
a=ssrc-group:FID 3925187808 3423789373
a=msid:janus janus1
a=ssrc:3925187808 cname:janus
a=ssrc:3423789373 cname:janus
a=candidate:1 1 udp 2015363327 192.0.2.2 22587 typ host
a=end-of-candidates
"""
"""as Janus 1.1.2 makes it"""
LOCAL = Local("ufrg", "passwordpasswordpasswo", ("sha-256", "AA:BB"), ("1 1 udp 2130706431 127.0.0.1 40000 typ host",))


def section(answer: str, kind: str) -> list[str]:
    """The lines of the first m-section of that kind."""
    lines = answer.split("\r\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(f"m={kind}"))
    end = next((i for i, line in enumerate(lines[start + 1 :], start + 1) if line.startswith("m=")), len(lines))
    return lines[start:end]


def test_an_offer_is_read() -> None:
    offer = parse_offer(OFFER)
    assert (offer.ice_ufrag, offer.ice_pwd, offer.ice_lite) == ("xKC0", "E3oWimGPEv4KLhXu5sIMCX", False)
    assert offer.fingerprint[0] == "sha-256"
    assert offer.fingerprint[1].endswith("A6:90:DA")
    assert offer.candidates == ("1 1 udp 2015363327 192.0.2.2 22587 typ host",)
    audio, video = offer.media
    assert audio == Media("0", "audio", "UDP/TLS/RTP/SAVPF", True, (Codec(111, "opus", 48000, 2),), 4009254872)
    assert (video.ssrc, video.rtx_ssrc) == (3925187808, 3423789373)
    assert video.codecs == (
        Codec(107, "h264", 90000, 0, "profile-level-id=42e01f;packetization-mode=1"),
        Codec(108, "rtx", 90000, 0, "apt=107", 107),
    )


def test_our_answer_takes_what_is_wanted_and_asks_for_nack_on_audio() -> None:
    answer = make_answer(parse_offer(OFFER), LOCAL, {"0": (111, 5), "1": (107, 6)})
    audio, video = section(answer, "audio"), section(answer, "video")
    assert audio[0] == "m=audio 9 UDP/TLS/RTP/SAVPF 111"
    assert {"a=recvonly", "a=mid:0", "a=rtcp-mux", "a=setup:active", "a=rtcp-fb:111 nack", "a=ssrc:5 cname:rokuga"} <= set(audio)
    assert video[0] == "m=video 9 UDP/TLS/RTP/SAVPF 107 108"
    assert {"a=recvonly", "a=rtcp-fb:107 nack", "a=rtcp-fb:107 nack pli", "a=rtpmap:108 rtx/90000", "a=fmtp:108 apt=107"} <= set(video)
    assert "a=ssrc:6 cname:rokuga" in video
    assert not any(unwanted in answer for unwanted in ("transport-cc", "goog-remb", "extmap", "sendonly"))


def test_our_answer_is_one_for_other_implementations() -> None:
    answer = SessionDescription.parse(make_answer(parse_offer(OFFER), LOCAL, {"0": (111, 5), "1": (107, 6)}))
    assert answer.group[0].items == ["0", "1"]
    assert [(m.kind, m.direction, m.rtp.muxId) for m in answer.media] == [("audio", "recvonly", "0"), ("video", "recvonly", "1")]
    assert answer.media[0].ice_candidates[0].port == 40000
    assert answer.media[0].dtls is not None
    assert answer.media[0].dtls.role == "client"


def test_lines_that_are_not_wanted_or_not_sent_are_inactive() -> None:
    answer = make_answer(parse_offer(OFFER), LOCAL, {"0": (111, 5)})
    assert "a=recvonly" in section(answer, "audio")
    assert "a=inactive" in section(answer, "video")
    assert not any(line.startswith("a=ssrc") for line in section(answer, "video"))
    stopped = parse_offer(OFFER.replace("m=video 9", "m=video 0"))
    assert [m.active for m in stopped.media] == [True, False]
    paused = parse_offer(OFFER.replace("a=sendonly\na=mid:1", "a=inactive\na=mid:1"))
    assert [m.active for m in paused.media] == [True, False]


def turning(offer: str, *lines: str, kind: str = "video") -> str:
    """The offer with more lines in its section of that kind."""
    head, mark, rest = offer.partition(f"m={kind}")
    line, _, rest = rest.partition("\n")
    return head + mark + line + "\n" + "".join(f"a={more}\n" for more in lines) + rest


def test_the_orientation_of_phones_is_taken_where_it_is_offered() -> None:
    offer = parse_offer(turning(OFFER, "extmap:13 urn:3gpp:video-orientation"))
    assert [m.orientation_id for m in offer.media] == [0, 13]
    answer = make_answer(offer, LOCAL, {"0": (111, 5), "1": (107, 6)})
    assert "a=extmap:13 urn:3gpp:video-orientation" in section(answer, "video")
    assert answer.count("a=extmap") == 1
    (found,) = SessionDescription.parse(answer).media[1].rtp.headerExtensions
    assert (found.id, found.uri) == (13, "urn:3gpp:video-orientation")
    assert "extmap" not in make_answer(offer, LOCAL, {"0": (111, 5)}), "not where we take no video"


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("extmap:3/sendonly urn:3gpp:video-orientation", 3),
        ("extmap:3/sendrecv urn:3gpp:video-orientation some attributes", 3),
        ("extmap:3/recvonly urn:3gpp:video-orientation", 0),
        ("extmap:3 urn:3gpp:video-orientation:6", 0),
        ("extmap:0 urn:3gpp:video-orientation", 0),
        ("extmap:4096 urn:3gpp:video-orientation", 0),
        ("extmap:x urn:3gpp:video-orientation", 0),
        ("extmap:", 0),
        ("extmap", 0),
    ],
)
def test_other_extensions_are_left_out_of_the_answer(line: str, number: int) -> None:
    offer = parse_offer(turning(OFFER, line))
    assert offer.media[1].orientation_id == number
    assert make_answer(offer, LOCAL, {"1": (107, 6)}).count("a=extmap") == bool(number)
    assert parse_offer(turning(OFFER, line, kind="audio")).media[0].orientation_id == 0


def test_candidates_of_all_lines_count_once() -> None:
    other = OFFER.replace("192.0.2.2 22587 typ host\na=end-of-candidates\nm=", "192.0.2.3 1 typ host\na=end-of-candidates\nm=")
    assert len(parse_offer(other).candidates) == 2
    assert len(parse_offer(OFFER).candidates) == 1


def test_secrets_are_not_in_a_repr() -> None:
    assert LOCAL.ice_pwd not in repr(LOCAL)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0\n",
        OFFER.replace("a=fingerprint", "a=x"),
        OFFER.replace("a=ice-ufrag", "a=x"),
        OFFER.replace("a=mid:1\n", ""),
        OFFER.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio"),
        OFFER.replace("H264/90000", "H264/x"),
        OFFER.replace("a=ssrc-group:FID 3925187808", "a=ssrc-group:FID x"),
        OFFER.replace("a=ssrc:4009254872", "a=ssrc:4294967296"),
        OFFER.replace("H264/90000", "H264/0"),
    ],
    ids=["empty", "no lines", "no fingerprint", "no ufrag", "no mid", "m-line", "clock rate", "ssrc", "ssrc too large", "clock stands"],
)
def test_what_is_no_offer_is_refused(text: str) -> None:
    with pytest.raises(SdpError):
        parse_offer(text)
