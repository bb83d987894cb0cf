"""Candidates that Janus names after its offer."""

from rokuga.room.subscription import with_candidates

HEAD = "v=0\r\ns=-\r\na=group:BUNDLE 0 1\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"
ONE, TWO = "candidate:1 1 udp 1 192.0.2.1 1000 typ host", "candidate:2 1 udp 1 192.0.2.2 1001 typ host"


def test_they_go_to_the_first_section() -> None:
    completed = with_candidates(HEAD + AUDIO + VIDEO, [ONE, TWO, ONE])
    assert completed == HEAD + AUDIO + f"a={ONE}\r\na={TWO}\r\na=end-of-candidates\r\n" + VIDEO


def test_an_offer_with_one_section() -> None:
    assert with_candidates(HEAD + AUDIO, [ONE]) == HEAD + AUDIO + f"a={ONE}\r\na=end-of-candidates\r\n"
