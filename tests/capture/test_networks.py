"""Recording through a bad network: a relay between two network namespaces, the real Janus, a capture process of its own.

What is published, less what the journal names as lost, is what is recorded, unit by unit; and only that is lost which could not
come: Janus keeps a packet for a second.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rokuga.config import Janus
from rokuga.embedded import EmbeddedJanus
from rokuga.journal.records import KeyframeAsked
from rokuga.publish import Clip, Publisher, Unit, generate, look_of
from tests.capture.accounting import Account, account
from tests.capture.kit import CaptureProcess, Journal
from tests.kit.impair import BLACKOUT, BURST, DUPLICATE, LOSS, PASSED, Conditions
from tests.kit.network import Line, Namespace, Network, available

pytestmark = [pytest.mark.live, pytest.mark.skipif(not available(), reason="needs root and /dev/net/tun")]

KEEPS = 1.0
"""seconds for which Janus can repeat a packet"""
SETTLE = 2.0
"""seconds after which no hole is waited for any more"""


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Longer than any test here. The audio is noise, since a tone's packets would be the same each second; nothing decodes them."""
    made = generate(look_of("alice", width=320, height=180, gop=2, seconds=75), tmp_path_factory.mktemp("cache"))
    dice = random.Random(1)
    return replace(made, audio=tuple(Unit(unit.pts, unit.data[:1] + dice.randbytes(100)) for unit in made.audio))


@dataclass
class Scene:
    """A publisher and a capture, one of them behind the bad network."""

    network: Network
    publisher: Publisher
    capture: CaptureProcess
    line: Line
    """on which the media come"""
    relayed: bool

    async def accounts(self) -> tuple[Journal, Account, Account]:
        """Wait until nothing is missing any more, end the recording, and compare: (journal, audio, video)."""
        self.network.down.calm()
        self.network.up.calm()
        await asyncio.sleep(SETTLE)
        stopped = asyncio.get_running_loop().time()
        await self.capture.stop()
        journal = self.capture.journal()
        assert not journal.damage
        audio, video = (
            account(journal, journal.track("alice", kind), self.publisher.sent[kind], self.line.sent, self.relayed)
            for kind in ("audio", "video")
        )
        for each in (audio, video):
            each.check()
            assert each.last > stopped - 0.5
        return journal, audio, video


@asynccontextmanager
async def scene(
    folder: Path, clip: Clip, seed: int, publisher_is_far: bool = False, begin: Conditions | None = None
) -> AsyncIterator[Scene]:
    """Everything is up, media flow and are recorded; ``begin``: what the network is like until then, both ways."""
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(Network(seed))
        places: tuple[Namespace, Namespace] = (network.near, network.far)
        at_publisher, at_capture = reversed(places) if publisher_is_far else places
        address = network.near.address
        with network.near.entered():
            janus = EmbeddedJanus(folder / "janus", Janus(host=address, media_address=address))
            await stack.enter_async_context(janus)
        config = janus.config.model_copy(update={"admin_url": ""})  # listens on loopback, which the other namespace has not
        if begin is not None:
            network.down.conditions = network.up.conditions = begin
        with at_capture.entered():
            capture = await stack.enter_async_context(CaptureProcess(folder / "g0"))
        with at_publisher.entered():
            alice = await stack.enter_async_context(Publisher(config, "room", "alice", clip, keep=True))
        assert (await capture.start(config))["ok"]
        line = network.up if publisher_is_far else network.down
        made = Scene(network, alice, capture, line, publisher_is_far)
        await capture.until_journal(lambda j: len(j.payloads) > 50)
        yield made


# What each is, and what shows that it happened.
ALONE: dict[str, tuple[Conditions, str]] = {
    "loss": (Conditions(loss=0.05), LOSS),
    "bursts": (Conditions(burst=20, burst_every=2), BURST),
    "jitter": (Conditions(jitter=0.3, reorder=False), PASSED),
    "reordering": (Conditions(jitter=0.3), PASSED),
    "duplicates": (Conditions(duplicate=0.3), DUPLICATE),
    "delay": (Conditions(delay=0.3), PASSED),
}


@pytest.mark.parametrize("name", ALONE)
async def test_what_can_be_repaired_is_complete(name: str, clip: Clip, tmp_path: Path) -> None:
    conditions, happened = ALONE[name]
    async with scene(tmp_path, clip, seed=1) as s:
        before = s.network.down.impairment.counts[happened]
        s.network.down.conditions = conditions
        s.network.up.conditions = replace(conditions, burst_every=0)  # 20 packets in a row are all that we send in a second
        await asyncio.sleep(9)
        assert s.network.down.impairment.counts[happened] - before > 20
        journal, audio, video = await s.accounts()
    assert journal.losses() == []
    assert (audio.recorded, video.recorded) == (audio.published, video.published)
    for each in (audio, video):
        assert each.first - each.wire[0].time < 0.1
    assert len(audio.recorded) > 450
    assert len(video.recorded) > 135


def asked_for_a_keyframe(journal: Journal) -> list[float]:
    """When, because of a loss."""
    records = [(entry.record, entry.monotonic_ns / 1e9) for entry in journal.entries]
    return [time for record, time in records if isinstance(record, KeyframeAsked) and record.reason == "loss"]


def during(account: Account, start: float, end: float) -> bool:
    """Whether all that is lost was sent between these."""
    return all(start <= packet.time <= end for packet in account.lost)


async def test_a_blackout_costs_what_janus_does_not_keep_and_a_keyframe_is_asked_for(clip: Clip, tmp_path: Path) -> None:
    async with scene(tmp_path, clip, seed=1) as s:
        start = asyncio.get_running_loop().time() + 3
        s.network.down.conditions = s.network.up.conditions = Conditions(blackouts=((start, start + 3),))
        await asyncio.sleep(8)
        journal, audio, video = await s.accounts()
    for each in (audio, video):
        assert each.losses
        assert during(each, start, start + 3)
        # The last second of it was repaired.
        assert max(packet.time for packet in each.lost) < start + 3 - 0.5 * KEEPS
    # Long before the loss is final.
    assert start + 3 < asked_for_a_keyframe(journal)[0] < start + 4


@pytest.mark.alone
async def test_a_minute_of_everything_at_once(clip: Clip, tmp_path: Path) -> None:
    """5 % loss, bursts of 20, 300 ms of jitter, and a blackout of 3 s: nothing is lost but by the blackout."""
    bad = Conditions(loss=0.05, burst=20, burst_every=3, jitter=0.3, duplicate=0.02)
    async with scene(tmp_path, clip, seed=7) as s:
        start = asyncio.get_running_loop().time() + 25
        s.network.down.conditions = replace(bad, blackouts=((start, start + 3),))
        s.network.up.conditions = Conditions(blackouts=((start, start + 3),))
        await asyncio.sleep(60)
        counts = s.network.down.impairment.counts
        journal, audio, video = await s.accounts()
    assert counts[LOSS] > 300
    assert counts[BURST] > 300
    assert counts[BLACKOUT] > 200
    for each in (audio, video):
        # A packet that was lost just before could not be repeated any more.
        assert during(each, start - KEEPS, start + 3)
        assert 2 * len(each.recorded) > len(each.published) > len(each.recorded)
    assert any(start + 3 < time < start + 4 for time in asked_for_a_keyframe(journal))


@pytest.mark.alone
async def test_a_network_that_is_bad_from_the_start(clip: Clip, tmp_path: Path) -> None:
    """ICE, DTLS and the first packets, too. Before Janus has heard of us it keeps nothing, so something may be lost; it is named."""
    bad = Conditions(loss=0.1, jitter=0.2, delay=0.05)
    async with scene(tmp_path, clip, seed=3, begin=bad) as s:
        await asyncio.sleep(8)
        _, audio, video = await s.accounts()
    for each in (audio, video):
        assert each.first - each.wire[0].time < 1
        assert during(each, each.wire[0].time, each.wire[0].time + 1)
        assert len(each.recorded) > 0.9 * len(each.published)


@pytest.mark.parametrize("name", ["loss", "everything"])
async def test_a_publishers_own_bad_network(name: str, clip: Clip, tmp_path: Path) -> None:
    """Janus asks the publisher again for video; what it got is recorded, and what it never got is named."""
    bad = {
        "loss": Conditions(loss=0.05),
        "everything": Conditions(loss=0.05, burst=20, burst_every=3, jitter=0.1, duplicate=0.05, delay=0.05),
    }[name]
    async with scene(tmp_path, clip, seed=5, publisher_is_far=True) as s:
        start = asyncio.get_running_loop().time() + 8
        blackouts = ((start, start + 2),) if name == "everything" else ()
        s.network.up.conditions = replace(bad, blackouts=blackouts)
        s.network.down.conditions = Conditions(loss=0.05, blackouts=blackouts)
        await asyncio.sleep(12)
        journal, audio, video = await s.accounts()
    assert audio.losses  # nobody repeats audio
    assert len(audio.recorded) > 0.5 * len(audio.published)
    assert len(video.recorded) > 0.5 * len(video.published)
    if video.losses:
        assert asked_for_a_keyframe(journal)
