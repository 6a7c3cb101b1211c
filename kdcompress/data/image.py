"""One image file as raw data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from kdcompress.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}

_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}


def read(file: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> np.ndarray:
    """Read an image as uint8 [C, H, W].

    Args:
        file: an 8-bit image.
        size: (H, W) that it is resized to (bilinear, antialiased); None leaves it as it is.
        channels: 1 grey, 3 colour, 4 with transparency; None for as many as the file has.

    Raises:
        DataError: where it is no image of 8 bits, is damaged, or is larger than an image should be; only a warning of
            Pillow's where its size is suspicious.
    """
    try:
        with Image.open(file) as image:
            mode = _MODES.get(image.mode)
            if mode is None:
                raise DataError(f"{file}: pixels of mode {image.mode} (allowed: 8-bit grey, colour, transparency)")
            if channels is not None:
                mode = next((name for name, count in CHANNELS.items() if count == channels), None)
            if mode is None:
                raise DataError(f"{file}: an image has no {channels} channels (allowed: 1, 3, 4)")
            plain = image.convert(mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{file}: refused, it is larger than an image should be: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: not an image, whatever its name says") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises on damaged files
        raise DataError(f"{file}: damaged: {error}") from error
    if size is not None and plain.size != size[::-1]:
        plain = plain.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(plain).reshape(plain.height, plain.width, CHANNELS[mode]).transpose(2, 0, 1)
