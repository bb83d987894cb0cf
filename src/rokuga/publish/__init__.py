"""A room user made of a file or a generated picture: for demos and tests."""

from rokuga.publish.clip import Clip, PublishError, Unit
from rokuga.publish.file import load_file
from rokuga.publish.media import Look, generate, look_of
from rokuga.publish.publisher import Publisher, Source
from rokuga.publish.run import run

__all__ = ["Clip", "Look", "PublishError", "Publisher", "Source", "Unit", "generate", "load_file", "look_of", "run"]
