"""Who is in a room and what they publish: a small protocol, and Janus behind it."""
