"""Janus' subscriber offers and our answers to them (RFC 8829, RFC 8843, RFC 5763), as much as both sides use. Pure."""

from dataclasses import dataclass, field

from rokuga.errors import RokugaError

VIDEO_FEEDBACK = ("nack", "nack pli")
AUDIO_FEEDBACK = ("nack",)
"""Janus does not offer it for Opus, but stores and resends audio once an answer asks for it."""
ORIENTATION = "urn:3gpp:video-orientation"
"""The header extension in which a sender tells how its picture is to be turned (TS 26.114 §6.2.3, §7.4.5). Janus offers it where the room
has it (``videoorient_ext``, its default) and the publisher does, and passes it on only if the answer has it, too."""
MAX_EXTENSION = 255
"""RFC 8285 §4.3. Higher numbers are of offers that leave the choice to the answerer (§6), which Janus does not make."""


class SdpError(RokugaError):
    """An offer that cannot be understood or answered."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A payload type. ``name`` lower case, ``apt``: the payload type that this one (rtx) repeats, else -1."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 0
    fmtp: str = ""
    apt: int = -1


@dataclass(frozen=True, slots=True)
class Media:
    """One m-line of an offer. ``ssrc`` is the media's, ``rtx_ssrc`` that of its repetitions (FID); 0 where there is none."""

    mid: str
    kind: str
    profile: str
    active: bool
    """whether the server sends on it"""
    codecs: tuple[Codec, ...]
    ssrc: int = 0
    rtx_ssrc: int = 0
    orientation_id: int = 0
    """number of the header extension ORIENTATION, 0 where it is not offered"""


@dataclass(frozen=True, slots=True)
class Offer:
    media: tuple[Media, ...]
    ice_ufrag: str
    ice_pwd: str
    ice_lite: bool
    fingerprint: tuple[str, str]
    """algorithm and value"""
    candidates: tuple[str, ...]
    """as in ``a=candidate:``, without that prefix"""


@dataclass(frozen=True, slots=True)
class Local:
    """Our side of the transport."""

    ice_ufrag: str
    ice_pwd: str = field(repr=False)
    fingerprint: tuple[str, str]
    candidates: tuple[str, ...]


Section = dict[str, list[str]]


def parse_offer(text: str) -> Offer:
    """Read an offer. Raises SdpError."""
    session: Section = {}
    sections: list[tuple[str, Section]] = []
    current = session
    for line in text.splitlines():
        kind, _, value = line.partition("=")
        if kind == "m":
            current = {}
            sections.append((value, current))
        elif kind == "a":
            name, _, rest = value.partition(":")
            current.setdefault(name, []).append(rest)
    if not sections:
        raise SdpError("an offer without m-lines")

    def first(name: str) -> str:
        for section in [session, *(s for _, s in sections)]:
            if section.get(name):
                return section[name][0]
        raise SdpError(f"an offer without a={name}")

    algorithm, _, value = first("fingerprint").partition(" ")
    candidates = list(dict.fromkeys(c for _, s in sections for c in s.get("candidate", [])))
    try:
        media = tuple(_media(line, section) for line, section in sections)
    except (ValueError, IndexError) as error:
        raise SdpError(f"an m-line that cannot be read: {error}") from None
    lite = "ice-lite" in session
    return Offer(media, first("ice-ufrag"), first("ice-pwd"), lite, (algorithm.lower(), value), tuple(candidates))


def _media(line: str, section: Section) -> Media:
    kind, port, profile, *payload_types = line.split()
    fmtp = dict(f.split(" ", 1) for f in section.get("fmtp", []) if " " in f)
    codecs = []
    for entry in section.get("rtpmap", []):
        payload_type, _, encoding = entry.partition(" ")
        if payload_type not in payload_types:
            continue
        name, rate, *channels = encoding.split("/")
        parameters = fmtp.get(payload_type, "")
        apt = -1
        if name.lower() == "rtx":
            apt = int(next((p.split("=")[1] for p in parameters.replace(" ", "").split(";") if p.startswith("apt=")), "-1"))
        channel_count = _number(channels[0], 1, 255) if channels else int(kind == "audio")
        codecs.append(Codec(_number(payload_type, 0, 127), name.lower(), _number(rate, 1, 2**31), channel_count, parameters, apt))
    ssrcs = list(dict.fromkeys(_ssrc(s.split()[0]) for s in section.get("ssrc", [])))
    groups = [g.split()[1:] for g in section.get("ssrc-group", []) if g.startswith("FID")]
    ssrc, rtx_ssrc = (ssrcs[0] if ssrcs else 0), 0
    if groups and len(groups[0]) == 2:
        ssrc, rtx_ssrc = _ssrc(groups[0][0]), _ssrc(groups[0][1])
    active = port != "0" and ("sendonly" in section or "sendrecv" in section)
    mid = section["mid"][0] if section.get("mid") else ""
    if not mid:
        raise ValueError("no mid")
    orientation_id = _extension_id(section, ORIENTATION) if kind == "video" else 0
    return Media(mid, kind, profile, active, tuple(codecs), ssrc, rtx_ssrc, orientation_id)


def _extension_id(section: Section, uri: str) -> int:
    """The number of a header extension that we can be sent (RFC 8285 §8: number[/direction] URI), else 0."""
    for line in section.get("extmap", []):
        name, _, rest = line.partition(" ")
        number, _, direction = name.partition("/")
        if rest.split()[:1] == [uri] and direction in ("", "sendonly", "sendrecv"):
            try:
                return _number(number, 1, MAX_EXTENSION)
            except ValueError:
                continue  # is left out of the answer: the media are worth more than their orientation
    return 0


def _number(text: str, least: int, most: int) -> int:
    """Raises ValueError."""
    number = int(text)
    if not least <= number <= most:
        raise ValueError(f"{number} is not between {least} and {most}")
    return number


def _ssrc(text: str) -> int:
    return _number(text, 0, 0xFFFFFFFF)


def make_answer(offer: Offer, local: Local, accept: dict[str, tuple[int, int]]) -> str:
    """Our answer. ``accept``: mid → (payload type that we take, our own SSRC on that m-line); other m-lines become inactive.

    Janus finds the medium that a report or NACK is about by the sender's SSRC, so each m-line has one of its own.
    """
    mids = " ".join(m.mid for m in offer.media)
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mids}", "a=msid-semantic: WMS *"]
    for index, media in enumerate(offer.media):
        wanted = accept.get(media.mid)
        codecs = _chosen(media, wanted[0]) if wanted else media.codecs
        payload_types = " ".join(str(c.payload_type) for c in codecs) or "0"
        lines += [f"m={media.kind} 9 {media.profile} {payload_types}", "c=IN IP4 0.0.0.0"]
        lines += [f"a=mid:{media.mid}", "a=recvonly" if wanted else "a=inactive", "a=rtcp-mux"]
        for codec in codecs:
            channels = f"/{codec.channels}" if codec.channels > 1 else ""
            lines.append(f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}{channels}")
            if codec.fmtp:
                lines.append(f"a=fmtp:{codec.payload_type} {codec.fmtp}")
            if codec.apt < 0:
                feedback = VIDEO_FEEDBACK if media.kind == "video" else AUDIO_FEEDBACK
                lines += [f"a=rtcp-fb:{codec.payload_type} {f}" for f in feedback]
        if wanted:
            lines.append(f"a=ssrc:{wanted[1]} cname:rokuga")
            if media.orientation_id:
                lines.append(f"a=extmap:{media.orientation_id} {ORIENTATION}")
        lines += [f"a=ice-ufrag:{local.ice_ufrag}", f"a=ice-pwd:{local.ice_pwd}", "a=setup:active"]
        lines.append(f"a=fingerprint:{local.fingerprint[0]} {local.fingerprint[1]}")
        if index == 0:
            lines += [f"a=candidate:{c}" for c in local.candidates] + ["a=end-of-candidates"]
    return "\r\n".join(lines) + "\r\n"


def _chosen(media: Media, payload_type: int) -> tuple[Codec, ...]:
    return tuple(c for c in media.codecs if payload_type in (c.payload_type, c.apt))
