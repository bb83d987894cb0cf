"""``rokuga demo``: a real room, recorded with the official SDK, and every file decoded."""
