"""An exported file that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from kdcompress.errors import BundleError, InputError, near
from kdcompress.exporting import ENDINGS, FORMATS
from kdcompress.exporting.metadata import Metadata

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Exported:
    """An exported detector.

    Attributes:
        metadata: what the file says of itself.
        run: raw data [N, ...] to the outputs by name.
        look: raw data [N, ...] to those inner values by name that the file still has.
    """

    metadata: Metadata
    run: Callable[[Array], Mapping[str, Array]]
    look: Callable[[Array], Mapping[str, Array]]


def is_exported(target: str) -> bool:
    """Say whether a name is that of an exported file."""
    return Path(target).suffix.lower() in ENDINGS


def load(path: Path, *, threads: int | None = None) -> Exported:
    """Read an exported file; nothing in it is run that could do more than compute.

    Args:
        path: the file; its ending says which format it has.
        threads: that ONNX Runtime may use; None for its own choice.

    Raises:
        InputError: where the file is missing, or has another ending.
        BundleError: where it is damaged, altered, or has what only an unsafe file has.
    """
    from kdcompress.exporting import onnx, pt2

    if not is_exported(str(path)):
        raise InputError(
            f"{path}: not an exported detector by its name{near(path.suffix, ENDINGS)} "
            f"(allowed endings: {', '.join(ENDINGS)})"
        )
    try:
        if not path.is_file():
            raise BundleError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot read: {error.strerror or error}") from error
    if path.suffix.lower() == FORMATS["onnx"]:
        return onnx.opened(data, path, threads=threads)
    return pt2.opened(data, path)
