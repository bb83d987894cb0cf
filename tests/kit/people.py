"""Room users for end-to-end tests: each with a picture, a colour and a tone of its own, all sent units kept."""

from collections.abc import Iterable
from typing import Any

from rokuga.config import Janus
from rokuga.publish import Clip, Publisher, Source, generate, look_of
from rokuga.publish.run import cache_folder


def clip(name: str, **options: Any) -> Clip:
    """A minute of generated media, kept between runs."""
    return generate(look_of(name, **options), cache_folder())


def screen(name: str, **options: Any) -> Clip:
    """What that user's screen shows: no flashes, five pictures a second."""
    return clip(f"{name} screen", fps=5, flash=False, **options)


def prepare(*names: str, screens: Iterable[str] = (), **options: Any) -> None:
    """Make the media of these users now, so that nothing stands still for it later."""
    for name in names:
        clip(name, **options)
    for name in screens:
        screen(name, **options)


def person(janus: Janus, room: str, name: str, *sources: Source, gop: int = 2, **options: Any) -> Publisher:
    """A user with camera and microphone, or with just these ``sources``; a keyframe every ``gop`` seconds (they make none when
    asked); ``delays`` as of Publisher.
    """
    aux = screen(name, gop=gop) if "aux" in sources else None
    return Publisher(janus, room, name, clip(name, gop=gop), sources=sources or ("audio", "video"), aux=aux, keep=True, **options)
