"""A user whose camera sends two sizes of its picture (simulcast), pre-encoded, as one m-line with two sources."""

import re
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription

from bench.sender import PacedPublisher, Pacer
from rokuga.config import Janus
from rokuga.publish import Clip
from rokuga.publish.publisher import Source


class LayeredPublisher(PacedPublisher):
    """``low`` is the smaller picture. aiortc knows no simulcast: it sends two video lines, and the room is told they are one."""

    def __init__(self, pacer: Pacer, janus: Janus, room_id: str, user_id: str, clip: Clip, low: Clip, keep: bool = False) -> None:
        super().__init__(pacer, janus, room_id, user_id, clip, aux=low, keep=keep)

    async def publish(self, *sources: Source) -> None:
        await super().publish("audio", "video", "aux")

    async def _exchange(self, peer: RTCPeerConnection, body: dict[str, Any]) -> None:
        body.pop("descriptions", None)
        whole = peer.localDescription.sdp
        answer = await self._ask(body, as_layers(whole))
        await peer.setRemoteDescription(RTCSessionDescription(as_lines(answer), "answer"))


def _sections(sdp: str) -> list[str]:
    head, *media = sdp.split("\r\nm=")
    return [head, *(f"m={section.removesuffix(chr(13) + chr(10))}" for section in media)]


def as_layers(offer: str) -> str:
    """Of an offer with a line of sound and two of video: the second one's sources become the first one's lower layer (ssrc-group SIM)."""
    head, sound, high, low = _sections(offer)
    sources = re.findall(r"^a=ssrc-group:FID (\d+) (\d+)\r?$", high + "\r\n" + low, re.MULTILINE)
    groups = f"a=ssrc-group:SIM {sources[1][0]} {sources[0][0]}"
    more = [line for line in low.split("\r\n") if line.startswith("a=ssrc")]
    mid = re.search(r"^a=mid:(\S+)", low, re.MULTILINE)
    assert mid is not None
    head = re.sub(rf"(a=group:BUNDLE .*?) {mid.group(1)}(?=\r\n|$)", r"\1", head)
    return "\r\n".join([head, sound, high, groups, *more]) + "\r\n"


def as_lines(answer: str) -> str:
    """Of the answer: the line of video, twice."""
    head, sound, high = _sections(answer)
    mid = re.search(r"^a=mid:(\S+)", high, re.MULTILINE)
    assert mid is not None
    other = str(int(mid.group(1)) + 1)
    low = high.replace(f"a=mid:{mid.group(1)}", f"a=mid:{other}")
    low = "\r\n".join(line for line in low.split("\r\n") if not line.startswith("a=extmap"))
    head = re.sub(r"(a=group:BUNDLE [^\r\n]*)", rf"\1 {other}", head)
    return "\r\n".join([head, sound, high, low]) + "\r\n"
