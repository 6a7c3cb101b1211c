"""Image files as uint8 [N, C, H, W]: read safely, and only where all are alike."""

from __future__ import annotations

import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field
from torch import Tensor

from kdcompress.data.blank import blank
from kdcompress.errors import DataError

Side: TypeAlias = Annotated[int, Field(ge=8, le=256)]
OnBadImage: TypeAlias = Literal["fail", "skip"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_SHOWN = 3
_ORIENTATION = 0x0112
"""The number of EXIF's tag."""

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's names for grey images of more than 8 bits; that of 16-bit PNG files depends on its version."""


def listed(folder: Path) -> list[Path]:
    """Return the image files in a folder and in those below it, in the order of their names.

    A link to nowhere is among them, to be told as bad; what macOS writes beside each file (``._NAME``) is not.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS and not path.name.startswith("._") and (path.is_file() or not path.exists())
    )


def unread(*folders: Path) -> tuple[str, ...]:
    """Return what to tell the user of things in folders that are taken for no images."""
    notes = []
    for folder in folders:
        seen = [path for path in folder.rglob("*") if not path.name.startswith(".")]
        others = Counter(p.suffix.lower() or "none" for p in seen if p.suffix.lower() not in ENDINGS and p.is_file())
        links = sorted(path for path in seen if path.is_symlink() and path.is_dir())
        said = [f"{others.total()} files with the ending {', '.join(sorted(others))}"] if others else []
        said += [f"{len(links)} links to folders, e.g. {links[0].name}"] if links else []
        notes += [f"{folder}: not read: {'; '.join(said)}"] if said else []
    return tuple(notes)


def readable(files: Sequence[Path], on_bad_image: OnBadImage) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return which files to use, as a mask [N], and what to tell the user of the others.

    Without ``skip`` all are to be used: what is bad fails when it is read for good.

    Raises:
        DataError: None of them can be read.
    """
    if on_bad_image == "fail":
        return np.ones(len(files), bool), ()
    with _strict(), ThreadPoolExecutor() as pool:
        found = list(pool.map(_problem, files))
    bad = [text for text in found if text]
    if bad and len(bad) == len(files):
        raise DataError(f"none of {len(files)} images can be read: {bad[0]}")
    notes = (f"{len(bad)} of {len(files)} images are left out, for they cannot be read: {bad[0]}",) if bad else ()
    return np.array([not text for text in found]), notes


def stacked(files: Sequence[Path], size: int | None) -> Tensor:
    """Read images of one shape as uint8 [N, C, H, W].

    16-bit grey becomes 8-bit by the range of the type, 0..65535 to 0..255, rounded, so that one image is read alike in
    any company; what has 12 of the 16 bits has to be stretched before. Images are turned as their EXIF data say.

    Args:
        files: one or more.
        size: side of the square that every image is resized to (bilinear, antialiased); None for none.

    Raises:
        DataError: A file is no image that can be read, or the images differ in size or channels.
    """
    with _strict(), ThreadPoolExecutor() as pool:
        images = blank((len(files), *read(files[0], _square(size)).shape))

        def place(index: int) -> tuple[int, ...]:
            # Put by its thread: images that wait for a disk slower than decoding would pile up in memory.
            image = read(files[index], _square(size))
            if image.shape == images.shape[1:]:
                images[index] = torch.from_numpy(image.copy())
            return image.shape

        found = list(pool.map(place, range(len(files))))
    shapes = Counter(found)
    if len(shapes) > 1:
        raise _unlike(shapes, lambda shape: files[found.index(shape)])
    return images


@contextmanager
def _strict() -> Iterator[None]:
    """Take Pillow's warnings of too many pixels for errors; from twice as many on it refuses by itself."""
    with warnings.catch_warnings():
        # Not set in each thread: what is done with warnings is the whole process's.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _problem(file: Path) -> str:
    try:
        read(file)
    except DataError as error:
        return str(error)
    return ""


def _unlike(shapes: Counter[tuple[int, ...]], example: Callable[[tuple[int, ...]], Path]) -> DataError:
    listed = "; ".join(f"{n} of {_spelled(shape)}, e.g. {example(shape)}" for shape, n in shapes.most_common(_SHOWN))
    more = f"; and {len(shapes) - _SHOWN} shapes more" if len(shapes) > _SHOWN else ""
    sizes, channels = {shape[1:] for shape in shapes}, {shape[0] for shape in shapes}
    advice = ["set data.size (8 to 256), and all are resized to it"] if len(sizes) > 1 else []
    advice += ["save all with the same channels"] if len(channels) > 1 else []
    return DataError(f"the images differ in shape: {listed}{more}: {' and '.join(advice)}")


def _spelled(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]} pixels with {shape[0]} channel{'s' if shape[0] > 1 else ''}"


def read(file: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> np.ndarray:
    """Read one image as uint8 [C, H, W]; of several frames or pages the first.

    Args:
        file: the image.
        size: (H, W) that it is resized to (bilinear, antialiased); None leaves it as it is.
        channels: 1 grey, 2 grey with transparency, 3 colour, 4 with transparency; None for as many as the file has.

    Raises:
        DataError: where it is no image that can be read, or is larger than an image should be; only a warning of
            Pillow's where its size is suspicious.
    """
    try:
        with Image.open(file) as opened:
            return pixels(opened, str(file), size, channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{file}: refused, it is larger than an image should be: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{file}: not an image, whatever its name says") from error
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, struct.error) as error:  # Pillow's, on damaged files
        said = (
            f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.errno else f"damaged: {error}"
        )
        raise DataError(f"{file}: {said}") from error


def pixels(
    opened: Image.Image, name: str, size: tuple[int, int] | None = None, channels: int | None = None
) -> np.ndarray:
    """Return an image of Pillow's as uint8 [C, H, W].

    Args:
        opened: the image.
        name: what messages call it.
        size: as of `read`.
        channels: as of `read`.

    Raises:
        DataError: where its pixels are of another kind.
    """
    image = _shallow(opened, name) if opened.mode in _DEEP else opened
    mode = _MODES.get(image.mode)
    if mode is None:
        allowed = "8-bit grey, colour, transparency; 16-bit grey"
        raise DataError(f"{name}: pixels of mode {image.mode} (allowed: {allowed})")
    if channels is not None:
        mode = next((one for one, count in _CHANNELS.items() if count == channels), None)
    if mode is None:
        raise DataError(f"{name}: an image has no {channels} channels (allowed: 1, 2, 3, 4)")
    plain = ImageOps.exif_transpose(image).convert(mode)
    if size is not None and plain.size != size[::-1]:
        plain = plain.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(plain).reshape(plain.height, plain.width, _CHANNELS[mode]).transpose(2, 0, 1)


def _square(size: int | None) -> tuple[int, int] | None:
    return None if size is None else (size, size)


def _shallow(image: Image.Image, name: str) -> Image.Image:
    """Return an image of 16 bits as one of 8, turned alike."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65_535:
        raise DataError(f"{name}: pixels from {values.min()} to {values.max()} (allowed: 0 to 65535, 16 bits)")
    plain = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if orientation := image.getexif().get(_ORIENTATION):
        plain.getexif()[_ORIENTATION] = orientation
    return plain
