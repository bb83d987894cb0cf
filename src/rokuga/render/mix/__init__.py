"""Mixed recording: all users of a room in one picture and one sound."""
