"""Windows of a time series of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np
from pydantic import Field

from kdcompress.data import DATASETS
from kdcompress.data.clock import Gaps, pieces, read_intervals, times, within
from kdcompress.data.frame import cells, named, numbers, read_frame, unlabelled, varying, words
from kdcompress.data.labels import marked
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share
from kdcompress.data.windows import Points, one_class
from kdcompress.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Window: TypeAlias = Annotated[int, Field(ge=8, le=65_536)]
Stride: TypeAlias = Annotated[int, Field(ge=1, le=65_536)]


@DATASETS.register("series")
def series(
    *,
    path: str,
    timestamp: str = "timestamp",
    columns: tuple[str, ...] | None = None,
    label: str | None = None,
    intervals: str | None = None,
    window: Window = 64,
    stride: Stride = 16,
    train: Share = 0.5,
    validation: Share = 0.2,
    gaps: Gaps = "fail",
) -> OneClassData:
    """Windows of a time series in a CSV file: [N, C, L], the earlier ones to learn from.

    float32, unscaled: detectors scale by the training normals. What overlaps an anomaly is one. Of the first share
    ``train`` of the points, the windows without an anomaly are for training, less the last share ``validation`` of
    them; those with one are left out. The test begins a window's length later, so no point is in both, and training
    ends before validation begins. Without labels all windows are normal. Times are as ISO 8601 has them (without a
    zone: UTC), or numbers; rows are counted from 1 in messages. Windows that overlap are no independent samples:
    intervals of what is measured on them are too narrow.

    Args:
        path: the file, UTF-8, with commas and a header; from the current folder.
        timestamp: column of times.
        columns: those of values, C of them; unset, all but the timestamp and the label.
        label: column with 0 for a normal point and 1 for an anomaly; unset, there is none.
        intervals: file with the times of anomalies: JSON with [start, end] of each, or with a mapping of file names to
            such lists, as NAB's combined_windows.json; or CSV with the columns start and end.
        window: points in a window, L.
        stride: points from one window's start to the next one's.
        train: share of the points to learn from.
        validation: share of the training windows that is held out: the last ones.
        gaps: what is done where time makes an unusual step: fail, split (no window reaches across) or bridge (windows
            take one point after another, unless time goes back).

    Raises:
        DataError: The file is missing or no such file, a value is missing or no number, time makes an unusual step, or
            a part is left without windows.
    """
    file, labelled = Path(path).expanduser(), Path(intervals).expanduser() if intervals is not None else None
    points = read_points(file, timestamp, columns, label, labelled, gaps)
    return one_class("series", None, file, points, window=window, stride=stride, train=train, validation=validation)


def read_points(
    path: Path,
    timestamp: str,
    columns: tuple[str, ...] | None,
    label: str | None,
    intervals: Path | None,
    gaps: Gaps,
) -> Points:
    """Return the points of a series with their labels.

    Raises:
        DataError: as `series`.
    """
    frame = read_frame(path, (".csv",))
    when = times(frame, path, timestamp)
    if label is not None and intervals is not None:
        raise DataError(f"{path}: data.label and data.intervals both say what is an anomaly; give one of them")
    if columns is None:
        named(frame, path, (timestamp, label), "name the values in data.columns")
    if columns is None and label is None:
        unlabelled(frame, path, (timestamp,))
    names = list(columns) if columns else [name for name in frame.columns if name not in (timestamp, label)]
    if not names:
        raise DataError(f"{path}: no column of values beside '{timestamp}'")
    values = np.stack([_values(frame, path, name) for name in names], 1)
    varying(values, names, path, "name the others in data.columns")
    labels = np.zeros(len(when), np.int64)
    if label is not None:
        labels = marked(words(frame, path, label, "data.label"), 0, 1, f"{path}: column '{label}'")
    elif intervals is not None:
        found = read_intervals(intervals, path, dated=when.dtype.kind == "i")
        labels = within(when, found, intervals)
    with np.errstate(over="ignore"):
        return Points(values.astype(np.float32), labels, pieces(when, path, gaps))


def _values(frame: pd.DataFrame, path: Path, name: str) -> np.ndarray:
    cells(frame, path, name, "data.columns")
    values = numbers(frame, path, name)
    if values is None:
        raise DataError(f"{path}: column '{name}' holds no numbers (data.columns says which columns are values)")
    if np.isnan(values).all():
        raise DataError(f"{path}: column '{name}': empty, so of no use; name the others in data.columns")
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
    if len(bad):
        raise DataError(
            f"{path}: column '{name}', row {bad[0] + 1}: {values[bad[0]]}, as in {len(bad) - 1} more rows (allowed: "
            "finite numbers in float32); fill them in, or leave their rows out and set data.gaps"
        )
    return values
