"""Segments, playlists, file names."""
