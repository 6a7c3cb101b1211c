"""Images in folders: MVTec AD's layout, with a user's own files."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from kdcompress.data import DATASETS, image
from kdcompress.data.blank import blank
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share, hold_out, validation_size
from kdcompress.errors import DataError, near

Side: TypeAlias = Annotated[int, Field(ge=8, le=256)]

_SHOWN = 3


@DATASETS.register("folder")
def folder(*, root: str, size: Side | None = None, validation: Share = 0.1) -> OneClassData:
    """Images in folders: train/good, test/good and test/<kind of defect>, as in MVTec AD.

    uint8 [N, C, H, W] of 8-bit image files, C as they have it: 1 grey, 3 colour, 4 with transparency. What lies in
    train/good is normal, less the share ``validation``; what lies in test/good is tested as normal, what lies in any
    other folder below test as an anomaly. Without ``size`` all images have to be of one size.

    Args:
        root: the folder that train and test lie in, from the current folder.
        size: side of the square that every image is resized to (bilinear, antialiased); unset, none is resized.
        validation: share of the training normals that is held out.

    Raises:
        DataError: A folder is missing or has no images, a file is no image that can be read, or the images differ
            in size or channels.
    """
    top = _existing(Path(root).expanduser(), "data.root")
    normal = _images(_existing(top / "train" / "good", "the training normals' folder"))
    tested = _existing(top / "test", "the test folder")
    kinds = sorted(path for path in tested.iterdir() if path.is_dir())
    if tested / "good" not in kinds:
        raise DataError(
            f"{tested}: no folder 'good' with the normal test images{near('good', [k.name for k in kinds])}"
        )
    files = {kind: _images(kind) for kind in kinds}
    count = validation_size("folder", len(normal), validation)
    kept, held = hold_out(range(len(normal)), count, "data", "folder", "validation")
    # In the order of the three parts, so that each is a slice: to pick from an array in a file would copy it.
    ordered = [*(normal[one] for one in (*kept, *held)), *(file for kind in kinds for file in files[kind])]
    images = _stacked(ordered, size)
    train, validated, test = images.split([len(kept), len(held), len(ordered) - len(normal)])
    labels = [int(kind.name != "good") for kind in kinds for _ in files[kind]]
    return OneClassData("folder", None, train, validated, test, torch.tensor(labels, dtype=torch.int64))


def _existing(path: Path, what: str) -> Path:
    if not path.is_dir():
        beside = sorted(one.name for one in path.parent.iterdir() if one.is_dir()) if path.parent.is_dir() else []
        raise DataError(
            f"{path}: {what} is not there{near(path.name, beside)} (wanted below data.root: train/good, test/good and "
            "test/<kind of defect>)"
        )
    return path


def _images(place: Path) -> list[Path]:
    """Return the image files of a folder and of those below it, in the order of their names."""
    found = sorted(path for path in place.rglob("*") if path.suffix.lower() in image.ENDINGS and path.is_file())
    if not found:
        raise DataError(f"{place}: no images in it (allowed endings: {', '.join(image.ENDINGS)})")
    return found


def _stacked(files: Sequence[Path], size: int | None) -> Tensor:
    """Read images of one shape as uint8 [N, C, H, W]."""
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        # Pillow only warns of an image of suspiciously many pixels, and refuses one of twice as many. Set here and not
        # in each thread: what is done with warnings is the whole process's.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        images = blank((len(files), *_read(files[0], size).shape))

        def place(index: int) -> tuple[int, ...]:
            # Put by its thread: images that wait for a disk slower than decoding would pile up in memory.
            one = _read(files[index], size)
            if one.shape == images.shape[1:]:
                images[index] = torch.from_numpy(one.copy())
            return one.shape

        found = list(pool.map(place, range(len(files))))
    shapes = Counter(found)
    if len(shapes) > 1:
        listed = "; ".join(
            f"{n} of {_spelled(shape)}, e.g. {files[found.index(shape)]}" for shape, n in shapes.most_common(_SHOWN)
        )
        more = f"; and {len(shapes) - _SHOWN} shapes more" if len(shapes) > _SHOWN else ""
        sizes, channels = {shape[1:] for shape in shapes}, {shape[0] for shape in shapes}
        advice = ["set data.size, and all are resized to it"] if len(sizes) > 1 else []
        advice += ["save all with the same channels"] if len(channels) > 1 else []
        raise DataError(f"the images differ in shape: {listed}{more}: {' and '.join(advice)}")
    return images


def _spelled(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]} pixels with {shape[0]} channel{'s' if shape[0] > 1 else ''}"


def _read(file: Path, size: int | None) -> np.ndarray:
    """Read one image as uint8 [C, H, W]."""
    return image.read(file, None if size is None else (size, size))
