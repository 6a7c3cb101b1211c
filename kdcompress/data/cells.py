"""Rows of cells, of CSV and Parquet tables, as samples to score."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, TypeAlias

import numpy as np

from kdcompress.data.frame import parted
from kdcompress.data.streamed import Sample, checked
from kdcompress.errors import DataError, InputError, near

Told: TypeAlias = Callable[[str], None]
"""Hears what a user should know of a table that is read all the same."""

_BATCH = 4096
_PEEKED = 20
"""Rows from which the numeric columns of a table are told."""
_QUOTES = {
    "unexpected end of data": "a quote that was opened in a line before is never closed",
    "',' expected after '\"'": "a quote is closed within a cell",
}
"""What Python's reader says of quotes, in words."""
_GAPS = ("", "?", "-", "na", "n/a", "nan", "null", "none")
"""Words for a missing number."""


def csv_table(text: TextIO, name: str, shape: tuple[int, ...], columns: Sequence[str], told: Told) -> Iterator[Sample]:
    """Return the rows of a CSV table.

    Raises:
        DataError: where it is no such table, or does not fit as a whole.
    """
    # Strict: else an open quote takes all that comes after it for a single cell.
    lines = csv.reader(text, strict=True)
    try:
        yield from _table((line for line in lines if line), name, shape, columns, told)
    except csv.Error as error:
        raise DataError(f"{name}: not a CSV table: line {lines.line_num}: {_QUOTES.get(str(error), error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not a CSV table in UTF-8: {error}") from error


def parquet_table(path: Path, shape: tuple[int, ...], columns: Sequence[str], told: Told) -> Iterator[Sample]:
    """Return the rows of a Parquet file.

    Raises:
        DataError: where it is no such file, or does not fit as a whole.
        InputError: where pyarrow is missing.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(f"{path}: reading it needs pyarrow; run: pip install 'kdcompress[tables]'") from error

    def lines(file: ParquetFile) -> Iterator[list[str]]:
        yield file.schema_arrow.names
        for batch in file.iter_batches(_BATCH):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield ["" if cell is None else str(cell) for cell in cells]

    try:
        with ParquetFile(path) as file:
            yield from _table(lines(file), str(path), shape, columns, told, headed=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one: {error}") from error


def _table(
    lines: Iterator[list[str]],
    name: str,
    shape: tuple[int, ...],
    wanted: Sequence[str],
    told: Told,
    *,
    headed: bool = False,
) -> Iterator[Sample]:
    first = next(lines, None)
    if first is None:
        raise DataError(f"{name}: no rows")
    if not headed:
        parted(first, name)
    headed = headed or _titles(first)
    if not headed and len(first) > 1 and first == list(map(str, range(len(first)))):
        headed = True
        told(f"{name}: its first row is 0 to {len(first) - 1}, taken for the header that pandas writes")
    peeked = list(itertools.islice(lines, _PEEKED)) if headed else [first, *itertools.islice(lines, _PEEKED - 1)]
    if not peeked:
        raise DataError(f"{name}: no rows, only a header")
    titles = first if headed else list(map(str, range(len(first))))
    size = math.prod(shape)
    columns = _places(wanted, titles, name, headed=headed) if wanted else _numeric(peeked, titles, size, name)
    if len(columns) != size:
        named = [titles[place] for place in columns]
        listed = f": {', '.join(named[:8])}{', ...' if len(named) > 8 else ''}" if named else ""
        raise DataError(
            f"{name}: {len(columns)} {'' if wanted else 'numeric '}columns{listed}; the detector takes {size} numbers "
            "a row (--columns names them)"
        )
    for row, cells in enumerate(itertools.chain(peeked, lines)):
        if problem := _problem(cells, columns, titles):
            yield Sample(name, row, None, f"{name}: row {row}{problem}")
        else:
            found = [float(cells[place]) for place in columns]
            yield checked(name, row, np.array(found, np.float64).reshape(shape), "float32")


def _problem(cells: Sequence[str], columns: Sequence[int], titles: Sequence[str]) -> str:
    """Say why a row is none; a field too many may be part of a number that moves all that come after it."""
    if len(cells) != len(titles):
        why = " (a number has a point, no comma)" if len(cells) > len(titles) else ""
        return f": expected {len(titles)} fields as in the first row, found {len(cells)}{why}"
    for place in columns:
        if _number(cells[place]) is None:
            return f", column {titles[place]}: expected a number, found {cells[place][:40]!r}"
    return ""


def _titles(cells: Sequence[str]) -> bool:
    """Say whether a first row is a header: a single number makes it a row, a bad one where the others are words."""
    return any(cell.strip() for cell in cells) and all(_number(cell) is None for cell in cells)


def _places(wanted: Sequence[str], titles: Sequence[str], name: str, *, headed: bool) -> list[int]:
    for one in wanted:
        if titles.count(one) != 1:
            said = "two columns are called" if one in titles else "no column" if headed else "no header, so no"
            listed = f"{', '.join(titles[:8])}{', ...' if len(titles) > 8 else ''}"
            raise DataError(f"{name}: --columns: {said} '{one}'{near(one, titles)} (the columns: {listed})")
    return [titles.index(one) for one in wanted]


def _number(cell: str) -> float | None:
    try:
        # Python reads 1_0 as 10; no other program writes that for it.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _numeric(rows: Sequence[Sequence[str]], titles: Sequence[str], size: int, name: str) -> list[int]:
    """Return the places of the columns with numbers, as told by the first rows.

    Raises:
        DataError: where one has nothing in them: were it of numbers, another would take its place.
    """
    if len(titles) == size:
        # All are needed: what is no number makes a bad row.
        return list(range(size))
    whole = [cells for cells in rows if len(cells) == len(titles)]
    if not whole:
        raise DataError(f"{name}: row 0{_problem(rows[0], (), titles)}")
    columns = []
    for place, title in enumerate(titles):
        filled = [cells[place] for cells in whole if cells[place].strip().lower() not in _GAPS]
        if not filled:
            raise DataError(
                f"{name}: column '{title}' is empty in the first {len(whole)} rows: --columns names those meant"
            )
        if any(_number(cell) is not None for cell in filled):
            columns.append(place)
    return columns
