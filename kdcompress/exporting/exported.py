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


def is_own(path: Path) -> bool:
    """Say whether this package wrote an exported file, damaged since or not.

    Raises:
        BundleError: where it is missing, or no such file.
    """
    module, data = _opener(path)
    found: bool = module.is_own(data, path)
    return found


def load(path: Path, *, threads: int | None = None) -> Exported:
    """Read an exported file; nothing in it is run that could do more than compute.

    Args:
        path: the file; its ending says which format it has.
        threads: that ONNX Runtime may use; None for its own choice.

    Raises:
        InputError: where the file is missing, or has another ending.
        BundleError: where it is damaged, altered, or has what only an unsafe file has.
    """
    if not is_exported(str(path)):
        raise InputError(
            f"{path}: not an exported detector by its name{near(path.suffix, ENDINGS)} "
            f"(allowed endings: {', '.join(ENDINGS)})"
        )
    module, data = _opener(path)
    opened: Exported = module.opened(data, path, threads=threads)
    return opened


def _opener(path: Path) -> tuple[Any, bytes]:
    """Return the module that knows a file's format, and the file's content."""
    from kdcompress.exporting import onnx, pt2

    try:
        if not path.is_file():
            raise BundleError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
        return onnx if path.suffix.lower() == FORMATS["onnx"] else pt2, path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot read: {error.strerror or error}") from error
