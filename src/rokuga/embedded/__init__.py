"""Real servers as child processes, for one machine with nothing to configure: Janus and Temporal's dev server."""

from rokuga.embedded.janus import EmbeddedJanus
from rokuga.embedded.temporal import EmbeddedTemporal

__all__ = ["EmbeddedJanus", "EmbeddedTemporal"]
