"""Tables: rows of numbers, from a file of the user's or from ADBench."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from kdcompress.data import DATASETS
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share, hold_out, validation_size
from kdcompress.data.vision import data_root
from kdcompress.errors import DataError, MissingDataError, near

_UNREADABLE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
_SHOWN = 3

AdbenchSet = Literal[
    "annthyroid",
    "breastw",
    "cardio",
    "fault",
    "Ionosphere",
    "letter",
    "mammography",
    "musk",
    "pendigits",
    "satellite",
    "satimage-2",
    "smtp",
    "WBC",
]
_NUMBERS: dict[str, int] = {
    "annthyroid": 2,
    "breastw": 4,
    "cardio": 6,
    "fault": 12,
    "Ionosphere": 18,
    "letter": 20,
    "mammography": 23,
    "musk": 25,
    "pendigits": 28,
    "satellite": 30,
    "satimage-2": 31,
    "smtp": 34,
    "WBC": 42,
}


@DATASETS.register("table")
def table(
    *,
    path: str,
    test: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    validation: Share = 0.1,
    most: Annotated[int, Field(ge=2)] | None = None,
) -> OneClassData:
    """Rows of numbers in an NPZ file: ``X`` [N, D] and, if anomalies are known, ``y`` [N].

    float32 [N, D], unscaled: detectors scale by the training normals. The share ``test`` of the normals (y = 0) is
    tested together with all anomalies (y = 1); the others are for training, less the share ``validation`` of them.
    Without ``y`` all rows count as normal. The parts depend on nothing but the number of rows; copies of a row may fall
    into several of them.

    Args:
        path: the file, from the current folder.
        test: share of the normals that is tested.
        validation: share of the training normals that is held out.
        most: training normals at most, those held out among them; the others are not used. Unset, all are.

    Raises:
        DataError: The file is missing or no such file, a value is no finite number, or a label is not 0 or 1.
    """
    return _one_class("table", None, Path(path).expanduser(), test, validation, most)


@DATASETS.register("adbench")
def adbench(
    *,
    set: AdbenchSet = "cardio",  # noqa: A002 - the word that its users use
    test: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    validation: Share = 0.1,
    most: Annotated[int, Field(ge=2)] | None = None,
    root: str | None = None,
) -> OneClassData:
    """A classical table of ADBench: half of the normals to learn from, all else for the test.

    float32 [N, D], as `table` reads them. The files are those of ADBench (``6_cardio.npz``, ...), in adbench below
    ``root``, else below $KDCOMPRESS_DATA, else below ~/.cache/kdcompress/data; nothing is fetched.

    Source: S. Han et al., ADBench, NeurIPS 2022 (BSD-2-Clause; the sets have terms of their own).

    Args:
        set: which table.
        test: share of the normals that is tested.
        validation: share of the training normals that is held out.
        most: training normals at most, those held out among them; the others are not used. Unset, all are.
        root: folder of the sets; unset, $KDCOMPRESS_DATA or the user's cache.
    """
    path = data_root(root) / "adbench" / f"{_NUMBERS[set]}_{set}.npz"
    if not path.is_file():
        raise MissingDataError(
            f"ADBench's {set} is not at {path}: put that file of ADBench's repository there, or say where "
            "the folder adbench is with the option data.root=FOLDER or with the environment variable KDCOMPRESS_DATA"
        )
    return _one_class("adbench", set, path, test, validation, most)


def _one_class(
    name: str, part: str | None, path: Path, test: float, validation: float, most: int | None
) -> OneClassData:
    rows, labels = _read(path)
    normals = np.flatnonzero(labels == 0).tolist()
    if len(normals) < 2:
        raise DataError(f"{path}: y: {len(normals)} normal rows (y = 0), at least 2 are needed")
    kept, tested = hold_out(normals, min(round(len(normals) * test), len(normals) - 2), "data", name, "test")
    if most is not None and len(kept) > most:
        _, kept = hold_out(kept, most, "data", name, "most")
    train, validated = hold_out(kept, validation_size(name, len(kept), validation), "data", name, "validation")
    tested = sorted([*tested, *np.flatnonzero(labels == 1).tolist()])
    if not tested:
        raise DataError(f"{path}: no row is left to test (test = {test:g}, and no y says that a row is an anomaly)")
    whole = torch.from_numpy(rows)
    return OneClassData(
        name, part, whole[train], whole[validated], whole[tested], torch.from_numpy(labels[tested].astype(np.int64))
    )


def _read(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read rows as float32 [N, D] and labels [N]."""
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
        raise DataError(f"{path}: not an NPZ file of plain arrays, or a damaged one: {error}") from error
    if "X" not in found:
        raise DataError(f"{path}: X: missing{near('X', names)} (the arrays in it: {', '.join(names) or 'none'})")
    rows, labels = found["X"], found.get("y", np.zeros(len(found["X"]), np.int64))
    if rows.ndim != 2 or rows.dtype.kind not in "biuf" or 0 in rows.shape:
        raise DataError(f"{path}: X: expected numbers [N, D], found {rows.dtype} {list(rows.shape)}")
    if labels.shape != (len(rows),) or not np.isin(labels, (0, 1)).all():
        shown = ", ".join(map(str, np.unique(labels)[:_SHOWN]))
        raise DataError(
            f"{path}: y: expected 0 (normal) or 1 (anomaly) for each of {len(rows)} rows, found "
            f"{list(labels.shape)} with {shown}"
        )
    with np.errstate(over="ignore"):
        plain = rows.astype(np.float32)
    bad = np.argwhere(~np.isfinite(plain))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{path}: X: {len(bad)} values are not finite in float32, the first in row {row}, column {column}: "
            f"{rows[row, column]}; fill them in or leave their rows out"
        )
    return plain, labels
