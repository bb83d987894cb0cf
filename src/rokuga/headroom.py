"""The last of a disk's room is for small files: what was confirmed, resume points, reports, an embedded Temporal's database.

Media stops before: a disk that is full of media then empties itself as soon as the store answers, since what the uploader has to note still
has room.
"""

import errno
import os
from pathlib import Path

RESERVED_BYTES = 64 * 1024 * 1024


def free_bytes(folder: Path) -> int:
    """Raises OSError."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


def check_headroom(folder: Path) -> None:
    """To be called before media is written. Raises OSError (ENOSPC) where it shall not be."""
    if free_bytes(folder) < RESERVED_BYTES:
        raise OSError(errno.ENOSPC, "no room for media: the rest of the disk is for small files")
