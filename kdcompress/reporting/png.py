"""Small images as PNG data addresses, in the standard library: a report must not wait for an image library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

GREY, COLOUR = 0, 2


def data_uri(image: np.ndarray) -> str:
    """Return a uint8 image [C, H, W], grey (C = 1) or red, green, blue (C = 3), as a ``data:`` address."""
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"


def png(image: np.ndarray) -> bytes:
    """Return a uint8 image [C, H, W], grey (C = 1) or red, green, blue (C = 3), as a PNG file."""
    channels, height, width = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, {1: GREY, 3: COLOUR}[channels], 0, 0, 0)
    rows = np.ascontiguousarray(image.transpose(1, 2, 0), np.uint8).reshape(height, width * channels)
    # Each row begins with the number of its filter; 0 is none.
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
