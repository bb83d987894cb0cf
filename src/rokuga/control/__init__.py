"""What a task is and what happens to it when things fail: Temporal workflows and their client."""
