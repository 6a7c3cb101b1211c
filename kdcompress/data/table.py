"""Tables: rows of numbers, from a file of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from kdcompress.data import DATASETS
from kdcompress.data.frame import ENDINGS, cells, named, numbers, read_frame, unlabelled, varying, words
from kdcompress.data.labels import Label, marked
from kdcompress.data.one_class import OneClassData
from kdcompress.data.rows import Missing, Rows, arrays, one_class
from kdcompress.data.split import Share
from kdcompress.errors import DataError
from kdcompress.signature import Later

_LOOKED_AT = 10_000
"""Rows in which it is looked whether float32 is enough."""


@DATASETS.register("table")
def table(
    *,
    path: str,
    test: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    validation: Share = 0.1,
    most: Annotated[int, Field(ge=2)] | None = None,
    columns: Annotated[tuple[str, ...] | None, Later()] = None,
    without: Annotated[tuple[str, ...], Later()] = (),
    label: Annotated[str | None, Later()] = None,
    normal: Annotated[Label, Later()] = 0,
    anomaly: Annotated[Label, Later()] = 1,
    split: Annotated[str | None, Later()] = None,
    missing: Annotated[Missing, Later()] = "fail",
) -> OneClassData:
    """Rows of numbers: a CSV or Parquet file, or an NPZ file with ``X`` [N, D] and, if known, ``y`` [N].

    float32 [N, D], unscaled: detectors scale by the training normals. The share ``test`` of the normals is tested
    together with all anomalies; the others are for training, less the share ``validation`` of them. Without labels all
    rows count as normal. The parts depend on nothing but the number of rows; copies of a row may fall into several of
    them. The options from ``columns`` to ``split`` are for CSV and Parquet, where rows are counted from 1 in messages;
    in an NPZ file 0 is normal and 1 an anomaly. CSV is UTF-8, with commas and a header.

    Args:
        path: the file, from the current folder.
        test: share of the normals that is tested.
        validation: share of the training normals that is held out.
        most: training normals at most, those held out among them; the others are not used. Unset, all are.
        columns: what a row is made of, in this order; unset, all columns with numbers but those below.
        without: columns to leave out, e.g. a running number.
        label: column that says what a row is; unset, all are normal.
        normal: its value for normal rows.
        anomaly: its value for anomalies.
        split: column with train, validation or test, in place of the shares; unset, there is none. Anomalies for
            training are left out.
        missing: what is done about a missing value: fail, drop its row, or fill in the column's median or mean over the
            training rows.

    Raises:
        DataError: The file is missing or no such file, a value is no finite number, a column never varies, or a label
            is neither of the two.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() in ENDINGS:
        rows = _named(file, columns, without, label, normal, anomaly, split)
        if split is not None and most is not None:
            raise DataError(f"{file}: data.most: not with data.split, which says what is for training")
    elif file.suffix.lower() not in (".npz", ".npy"):
        raise DataError(
            f"{file}: unknown kind of file (allowed endings: {', '.join((*ENDINGS, '.npz'))}); pandas "
            "writes them: pandas.read_csv(FILE, sep='\\t').to_csv(OTHER, index=False) where there are tabs"
        )
    else:
        asked = {"columns": columns, "without": without, "label": label, "split": split}
        if unfit := [name for name, value in asked.items() if value]:
            raise DataError(f"{file}: data.{unfit[0]}: for files that have it ({', '.join(ENDINGS)}), not for arrays")
        rows = arrays(file)
    return one_class("table", None, file, rows, test, validation, most, missing)


def _rounded(values: np.ndarray) -> Iterator[tuple[int, str]]:
    """Return the columns whose numbers are too close to each other for float32, and what becomes of them."""
    for column in range(values.shape[1]):
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused later, with its place
            narrow = values[:, column].astype(np.float32)
        whole, kept = (len(np.unique(one)) for one in (values[:, column], narrow))
        if 2 * kept < whole:
            yield column, f"has {whole} different numbers, {kept} in float32: take an offset from it, or leave it out"


def _named(
    path: Path,
    columns: tuple[str, ...] | None,
    without: tuple[str, ...],
    label: str | None,
    normal: Label,
    anomaly: Label,
    split: str | None,
) -> Rows:
    frame = read_frame(path)
    labels, parts = np.zeros(len(frame), np.int64), None
    where = f"{path}: column '{label}'" if label is not None else f"{path}"
    if label is not None:
        labels = marked(words(frame, path, label, "data.label"), normal, anomaly, where)
    if split is not None:
        parts = [str(one).strip() for one in words(frame, path, split, "data.split")]
        where = f"{path}: column '{split}'"
    taken = {label, split, *without}
    for name in without:
        cells(frame, path, name, "data.without")
    if columns is None:
        named(frame, path, taken, "leave that name out with data.without")
    if columns is None and label is None:
        unlabelled(frame, path, taken)
    wanted = columns or tuple(name for name in frame.columns if name not in taken)
    for name in wanted:
        cells(frame, path, name, "data.columns")
        if name in taken or wanted.count(name) > 1:
            other = "named twice" if name not in taken else "the label, the split or left out"
            raise DataError(f"{path}: data.columns: '{name}' is {other}")
    read = {name: numbers(frame, path, name) for name in wanted}
    found = {name: values for name, values in read.items() if values is not None}
    text = [name for name in read if name not in found]
    if (columns is not None and text) or not found:
        first = f"column '{text[0]}' holds no numbers, but {frame[text[0]].dropna().iloc[0]!s:.40}" if text else ""
        raise DataError(f"{path}: {first or 'no columns'} (allowed: columns of numbers)")
    names, values = list(found), np.stack(list(found.values()), 1)
    varying(values, names, path, f"leave it out {'with data.without' if columns is None else 'of data.columns'}")
    notes: tuple[str, ...] = (f"{path}: left out, for they hold no numbers: {', '.join(text)}",) if text else ()
    notes += tuple(f"{path}: column '{names[column]}' {said}" for column, said in _rounded(values[:_LOOKED_AT]))
    return Rows(
        values, labels, where, f"{path}", lambda row, column: f"row {row + 1}, column '{names[column]}'", parts, notes
    )
