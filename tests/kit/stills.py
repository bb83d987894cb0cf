"""Image files to test with."""

import io
import struct
import zlib

from PIL import Image

Colour = tuple[int, int, int]


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, {"png": "PNG", "jpg": "JPEG"}[kind], **options)
    return out.getvalue()


def png(size: tuple[int, int] = (8, 4), colour: Colour = (255, 0, 0)) -> bytes:
    return file_of(Image.new("RGB", size, colour), "png")


def jpg(size: tuple[int, int] = (8, 4), colour: Colour = (255, 0, 0)) -> bytes:
    return file_of(Image.new("RGB", size, colour), "jpg")


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is that large, with nothing in it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
