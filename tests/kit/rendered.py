"""What render makes of a finished journal, as files that a player takes, without node, uploader and store."""

from pathlib import Path

from rokuga.folders import Generation
from rokuga.hls import playlist
from rokuga.render import main as render
from rokuga.storage.spool import Segment, read_manifest

Key = tuple[str, str, str]
"""UserId, MediaId, and audio, video or audio_video"""


async def rendered(generation: Generation) -> dict[Key, Path]:
    """Render a generation to its end; its playlists, which lie beside their segments."""
    await render.run(generation)
    segments: dict[Key, list[Segment]] = {}
    for _, entry in read_manifest(generation.spool):
        if isinstance(entry, Segment):
            segments.setdefault((entry.user_id, entry.media_id, entry.track_type), []).append(entry)
    found = {}
    for key, listed in segments.items():
        found[key] = generation.spool / listed[0].playlist
        found[key].write_text(playlist.render(listed, ended=True))
    return found
