"""The append-only log between capture and render: raw facts, in the order in which they became known."""
