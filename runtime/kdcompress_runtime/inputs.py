"""What is to be scored: checked, so that a wrong array is told and not scored."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdcompress_runtime.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_KNOWN = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}
_ORIENTATION = 0x0112
"""The number of EXIF's tag."""

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's names for grey images of more than 8 bits; that of 16-bit PNG files depends on its version."""

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, KeyError, struct.error)
"""What Pillow raises on damaged files."""


def checked(batch: Any, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """Return a batch as the detector takes it.

    Args:
        batch: an array [N, ...], or the path of an image, or several.
        shape: of one sample; None where any size goes.
        dtype: that the detector takes. Numbers of other types become floats, but images have to be uint8.

    Raises:
        InputError: where it does not fit, is empty, or has a value that is not finite.
    """
    if paths := _paths(batch):
        return images(paths, shape)
    try:
        array = np.asarray(batch)
    except ValueError as error:
        raise InputError(f"expected one array, the samples differ in shape: {error}") from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"expected numbers, found an array of {array.dtype}")
    if dtype.kind != "f" and array.dtype != dtype:
        hint = "; images are whole numbers from 0 to 255: scale and round them first" if dtype == np.uint8 else ""
        raise InputError(f"expected {dtype}, found {array.dtype}{hint}")
    fits = array.ndim == 1 + len(shape)
    if not fits or any(want not in (None, have) for want, have in zip(shape, array.shape[1:], strict=True)):
        raise InputError(f"expected an array {spelled(shape)}, found {list(array.shape)}{_hint(array.shape, shape)}")
    if not len(array):
        raise InputError("expected at least one sample, found an empty batch")
    with np.errstate(over="ignore"):
        plain = np.ascontiguousarray(array, dtype)
    if dtype.kind == "f" and not np.isfinite(plain).all():
        place = np.argwhere(~np.isfinite(plain))[0].tolist()
        raise InputError(f"sample {place[0]} is not finite at {place[1:]}: {array[tuple(place)]}")
    return plain


def images(paths: Sequence[str | Path], shape: tuple[int | None, ...]) -> np.ndarray[Any, Any]:
    """Read image files as uint8 [N, C, H, W], converted to the detector's channels and resized to its size.

    Raises:
        InputError: where Pillow is not installed, or a file is no image that it can read.
    """
    if len(shape) != 3 or None in shape or shape[0] not in _MODES:
        raise InputError(f"the detector takes {spelled(shape)}, not image files")
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("image files need Pillow: pip install 'kdcompress-runtime[images]'; or give arrays") from error
    channels, height, width = (int(one or 0) for one in shape)
    found = []
    for path in paths:
        plain = _image(path, _MODES[channels])
        if plain.size != (width, height):
            plain = plain.resize((width, height), Image.Resampling.BILINEAR)
        found.append(np.asarray(plain, np.uint8).reshape(height, width, channels).transpose(2, 0, 1))
    return np.stack(found)


def _image(path: str | Path, mode: str) -> Image.Image:
    """Return an image as the package itself reads it: turned as its EXIF data say, 16 bits by the range of the type."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = _shallow(opened, path) if opened.mode in _DEEP else opened
            if image.mode not in _KNOWN:
                allowed = "8-bit grey, colour, transparency; 16-bit grey"
                raise InputError(f"{path}: pixels of mode {image.mode} (allowed: {allowed})")
            return ImageOps.exif_transpose(image).convert(mode)
    except _UNREADABLE as error:
        raise InputError(f"{path}: not an image, or a damaged one: {error}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: refused, it is larger than an image should be: {error}") from error


def _shallow(image: Image.Image, path: str | Path) -> Image.Image:
    """Return an image of 16 bits as one of 8, turned alike."""
    from PIL import Image

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65_535:
        raise InputError(f"{path}: pixels from {values.min()} to {values.max()} (allowed: 0 to 65535, 16 bits)")
    plain = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if orientation := image.getexif().get(_ORIENTATION):
        plain.getexif()[_ORIENTATION] = orientation
    return plain


def spelled(shape: tuple[int | None, ...]) -> str:
    """Return a batch's shape in words."""
    return f"[{', '.join(['N', *('any' if one is None else str(one) for one in shape)])}]"


def _paths(batch: object) -> list[str | Path]:
    if isinstance(batch, (str, Path)):
        return [batch]
    if isinstance(batch, (list, tuple)) and batch and all(isinstance(one, (str, Path)) for one in batch):
        return list(batch)
    return []


def _hint(found: tuple[int, ...], shape: tuple[int | None, ...]) -> str:
    if found == shape:
        return "; one sample is a batch of one: array[None]"
    if len(shape) == 3 and len(found) == 4 and (found[3], *found[1:3]) == shape:
        return "; channels come first: array.transpose(0, 3, 1, 2)"
    return ""
