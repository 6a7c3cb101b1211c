"""Rows of numbers, wherever they come from: gaps are filled in, and parts are made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from kdcompress.data.npz import read_npz
from kdcompress.data.one_class import OneClassData
from kdcompress.data.parts import by_names, by_share
from kdcompress.errors import DataError

Missing: TypeAlias = Literal["fail", "drop", "median", "mean"]
"""What is done about a missing value."""


@dataclass(frozen=True)
class Rows:
    """Values [N, D], NaN where one is missing, and labels [N], with what messages need.

    Attributes:
        where: the place of the labels.
        prefix: what goes before problems with values.
        place: names a value by row and column.
        split: train, validation or test for each row.
    """

    values: np.ndarray
    labels: np.ndarray
    where: str
    prefix: str
    place: Callable[[int, int], str]
    split: list[str] | None = None
    notes: tuple[str, ...] = ()


def arrays(path: Path) -> Rows:
    """Return the rows of an NPZ file."""
    values, labels = read_npz(path)
    return Rows(values, labels, f"{path}: y", f"{path}: X", lambda row, column: f"row {row}, column {column}")


def one_class(
    name: str,
    part: str | None,
    path: Path,
    rows: Rows,
    test: float,
    validation: float,
    most: int | None,
    missing: Missing,
) -> OneClassData:
    """Part rows into a data set, its values as float32.

    Raises:
        DataError: A value is no finite number, or a part is empty.
    """
    plain = _finite(rows, missing)
    empty = np.isnan(plain)
    usable = ~empty.any(1) if missing == "drop" else np.ones(len(plain), bool)
    if rows.split is not None:
        parts = by_names(name, rows.where, rows.labels, usable, rows.split, validation=validation)
    else:
        samples = "rows (y = 0)" if rows.prefix.endswith("X") else "rows"
        parts = by_share(
            name, rows.where, rows.labels, usable, test=test, validation=validation, most=most, samples=samples
        )
    notes = [*rows.notes]
    if missing in ("median", "mean") and empty.any():
        plain = _filled(rows, plain, parts.train, missing)
        notes.append(f"{path}: {int(empty.sum())} missing values are the {missing} of their column's training rows")
    if not usable.all():
        notes.append(f"{path}: {int((~usable).sum())} of {len(plain)} rows are left out, for a value is missing")
    if parts.left_out:
        notes.append(f"{path}: {parts.left_out} anomalies for training or validation are left out")
    whole, labels = torch.from_numpy(plain), torch.from_numpy(rows.labels[parts.test].astype(np.int64))
    train, validated, tested = (whole[of] for of in (parts.train, parts.validation, parts.test))
    return OneClassData(name, part, train, validated, tested, labels, tuple(notes))


def _finite(rows: Rows, missing: Missing) -> np.ndarray[Any, Any]:
    """Return the values as float32, NaN where one is missing and may be.

    Raises:
        DataError: Others are not finite.
    """
    with np.errstate(over="ignore"):
        plain = rows.values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(plain) if missing == "fail" else np.isinf(plain))
    if len(bad):
        row, column = bad[0]
        value = rows.values[row, column]
        more = ", or set data.missing (drop, median, mean)" if np.isnan(value) else ""
        raise DataError(
            f"{rows.prefix}: {len(bad)} values are not finite in float32, the first in {rows.place(row, column)}: "
            f"{value}; fill them in or leave their rows out{more}"
        )
    return plain


def _filled(rows: Rows, plain: np.ndarray, train: list[int], missing: Missing) -> np.ndarray[Any, Any]:
    """Return values without gaps: what is missing anywhere is a column's statistic over the training rows."""
    known = rows.values[train].astype(np.float64)
    bare = np.flatnonzero(np.isnan(known).all(0))
    if len(bare):
        column = rows.place(0, int(bare[0])).partition(", ")[2]
        raise DataError(f"{rows.prefix}: {column} has no value in any training row, so no {missing}; leave it out")
    statistic = np.nanmedian(known, 0) if missing == "median" else np.nanmean(known, 0)
    return np.where(np.isnan(plain), statistic.astype(np.float32), plain)
