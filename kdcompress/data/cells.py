"""Rows of cells, of CSV and Parquet tables, as samples to score."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from kdcompress.data.streamed import Sample, checked
from kdcompress.errors import DataError, near

_BATCH = 4096
_PEEKED = 20
"""Rows from which the numeric columns of a table are told."""


def csv_table(text: TextIO, name: str, shape: tuple[int, ...], columns: Sequence[str]) -> Iterator[Sample]:
    """Return the rows of a CSV table.

    Raises:
        DataError: where it is no such table, or does not fit as a whole.
    """
    try:
        yield from _table((line for line in csv.reader(text) if line), name, shape, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: not a CSV table in UTF-8: {error}") from error


def parquet_table(path: Path, shape: tuple[int, ...], columns: Sequence[str]) -> Iterator[Sample]:
    """Return the rows of a Parquet file.

    Raises:
        DataError: where it is no such file, or does not fit as a whole.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(f"{path}: reading it needs pyarrow; run: pip install 'kdcompress[tables]'") from error

    def lines(file: ParquetFile) -> Iterator[list[str]]:
        yield file.schema_arrow.names
        for batch in file.iter_batches(_BATCH):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield ["" if cell is None else str(cell) for cell in cells]

    try:
        with ParquetFile(path) as file:
            yield from _table(lines(file), str(path), shape, columns, headed=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one: {error}") from error


def _table(
    lines: Iterator[list[str]], name: str, shape: tuple[int, ...], wanted: Sequence[str], *, headed: bool = False
) -> Iterator[Sample]:
    first = next(lines, None)
    if first is None:
        raise DataError(f"{name}: no rows")
    headed = headed or any(_number(cell) is None for cell in first if cell.strip())
    peeked = list(itertools.islice(lines, _PEEKED)) if headed else [first, *itertools.islice(lines, _PEEKED - 1)]
    if wanted:
        columns = _places(wanted, first if headed else [], name)
    else:
        columns = [place for place in range(len(first)) if _numeric(peeked, place)]
    if len(columns) != math.prod(shape):
        titles = [first[place] if headed else str(place) for place in columns]
        listed = f": {', '.join(titles[:8])}{', ...' if len(titles) > 8 else ''}" if titles else ""
        raise DataError(
            f"{name}: {len(columns)} {'' if wanted else 'numeric '}columns{listed}; the detector takes "
            f"{math.prod(shape)} numbers a row (--columns names them)"
        )
    titles = first if headed else list(map(str, range(len(first))))
    for row, cells in enumerate(itertools.chain(peeked, lines)):
        if problem := _problem(cells, columns, titles):
            yield Sample(name, row, None, f"{name}: row {row}{problem}")
        else:
            found = [float(cells[place]) for place in columns]
            yield checked(name, row, np.array(found, np.float64).reshape(shape), "float32")


def _problem(cells: Sequence[str], columns: Sequence[int], titles: Sequence[str]) -> str:
    """Say why a row is none; a field too many may be part of a number that moves all that come after it."""
    if len(cells) != len(titles):
        return (
            f": expected {len(titles)} fields as in the first row, found {len(cells)} (a number has a point, no comma)"
        )
    for place in columns:
        if _number(cells[place]) is None:
            return f", column {titles[place]}: expected a number, found {cells[place][:40]!r}"
    return ""


def _places(wanted: Sequence[str], titles: Sequence[str], name: str) -> list[int]:
    for one in wanted:
        if titles.count(one) != 1:
            said = "no header, so no" if not titles else "two columns are called" if one in titles else "no column"
            listed = f" (the columns: {', '.join(titles[:8])}{', ...' if len(titles) > 8 else ''})" if titles else ""
            raise DataError(f"{name}: --columns: {said} '{one}'{near(one, titles)}{listed}")
    return [titles.index(one) for one in wanted]


def _number(cell: str) -> float | None:
    try:
        # Python reads 1_0 as 10; no other program writes that for it.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _numeric(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Say whether a column holds numbers, and nothing else but gaps."""
    cells = [row[place] for row in rows if place < len(row) and row[place].strip()]
    return bool(cells) and all(_number(cell) is not None for cell in cells)
