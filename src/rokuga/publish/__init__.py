"""A room user made of a file or a generated picture: for demos and tests."""
