"""NPZ files with rows of numbers ``X`` [N, D] and labels ``y`` [N]; nothing in a file is executed."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from kdcompress.errors import DataError, near

_UNREADABLE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
_SHOWN = 3


def read_npz(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return rows [N, D] of any numbers, and labels [N], 0 where there are none.

    Raises:
        DataError: The file is missing or no such file, or a label is not 0 or 1.
    """
    if not path.is_file():
        beside = sorted(one.name for one in path.parent.glob("*.npz")) if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file{near(path.name, beside)}")
    try:
        file = np.load(path, allow_pickle=False)
        if not hasattr(file, "files"):
            raise DataError(f"{path}: a single array; an NPZ file with X and, if known, y is expected")
        with file:
            found = {key: np.asarray(file[key]) for key in ("X", "y") if key in file.files}
            names = list(file.files)
    except _UNREADABLE as error:
        # numpy's own words propose to load it unsafely.
        said = "" if "pickle" in str(error) else f": {error}"
        raise DataError(f"{path}: not an NPZ file of plain arrays, or a damaged one{said}") from error
    if "X" not in found:
        raise DataError(f"{path}: X: missing{near('X', names)} (the arrays in it: {', '.join(names) or 'none'})")
    rows = found["X"]
    if rows.ndim != 2 or rows.dtype.kind not in "biuf" or 0 in rows.shape:
        raise DataError(f"{path}: X: expected numbers [N, D], found {rows.dtype} {list(rows.shape)}")
    labels = found.get("y", np.zeros(len(rows), np.int64))
    if labels.shape != (len(rows),) or not np.isin(labels, (0, 1)).all():
        shown = ", ".join(map(str, np.unique(labels)[:_SHOWN]))
        raise DataError(
            f"{path}: y: expected 0 (normal) or 1 (anomaly) for each of {len(rows)} rows, found "
            f"{list(labels.shape)} with {shown}"
        )
    return rows, labels
