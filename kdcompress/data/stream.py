"""Samples to score, one after the other, in little memory: image files, and rows of NPZ, CSV and Parquet tables."""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import os
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias

import numpy as np
from PIL import Image

from kdcompress.data import images
from kdcompress.errors import DataError, near

Array: TypeAlias = np.ndarray[Any, Any]

TABLES = (".npz", ".csv", ".parquet")
STDIN = "-"

_CHUNK, _BATCH = 64, 4096
_PEEKED = 20
"""Rows from which the numeric columns of a table are told."""
_UNREADABLE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Sample:
    """One input.

    Attributes:
        file: where it is from.
        row: in a table, the first being 0; None for an image.
        values: raw data; None where they cannot be used.
        problem: why they cannot.
    """

    file: str
    row: int | None
    values: Array | None
    problem: str = ""


def samples(inputs: Sequence[str], shape: tuple[int, ...], dtype: str, columns: Sequence[str] = ()) -> Iterator[Sample]:
    """Return the samples of files and folders, in their order, as raw data of a detector's input.

    Images are converted to its channels and resized to its size, as `folder` resizes; folders are searched for images
    at any depth. An NPZ table has ``X`` [N, ...]; of CSV and Parquet tables the numeric columns are taken as they
    stand, or those that ``columns`` names, in that order; ``-`` is a CSV table on stdin.

    Raises:
        DataError: where a file is missing, or a table as a whole does not fit; a single bad image or row is a sample
            with a problem.
    """
    for one in inputs:
        path = Path(one)
        if one == STDIN:
            yield from _csv(sys.stdin, "stdin", shape, columns)
        elif path.suffix.lower() == ".csv":
            with _opened(path) as text:
                yield from _csv(text, one, shape, columns)
        elif path.suffix.lower() == ".parquet":
            yield from _parquet(path, shape, columns)
        elif path.suffix.lower() == ".npz":
            yield from _npz(path, shape, dtype)
        else:
            yield from _images(path, shape)


def read_from(inputs: Sequence[str]) -> Iterator[os.stat_result]:
    """Return what the system says of each file that samples of these inputs are read from, but of missing ones."""
    for one in inputs:
        with contextlib.suppress(OSError):
            if one == STDIN:
                yield os.fstat(sys.stdin.fileno())
            else:
                yield from (file.stat() for file in (_listed(Path(one)) if Path(one).is_dir() else [Path(one)]))


def _opened(path: Path) -> TextIO:
    try:
        return path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def _images(path: Path, shape: tuple[int, ...]) -> Iterator[Sample]:
    if not path.exists():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file or folder{near(path.name, beside)}")
    if len(shape) != 3:
        raise DataError(
            f"{path}: the detector takes samples of shape {shape}, not images (allowed: {', '.join(TABLES)}, or "
            f"'{STDIN}' for CSV on stdin)"
        )
    files = [path]
    if path.is_dir():
        files = _listed(path)
        if not files:
            raise DataError(f"{path}: no images in it (allowed endings: {', '.join(images.ENDINGS)})")
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                values = images.read(file, (shape[1], shape[2]), shape[0])
        except DataError as error:
            yield Sample(str(file), None, None, str(error))
        else:
            yield Sample(str(file), None, values)


def _listed(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.suffix.lower() in images.ENDINGS and one.is_file())


def _npz(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[Sample]:
    try:
        with zipfile.ZipFile(path) as archive:
            if "X.npy" not in archive.namelist():
                names = ", ".join(one.removesuffix(".npy") for one in archive.namelist())
                raise DataError(f"{path}: X: missing (the arrays in it: {names or 'none'})")
            with archive.open("X.npy") as member:
                yield from _rows(member, path, shape, dtype)  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: not an NPZ file of plain arrays, or a damaged one: {error}") from error


def _rows(member: BinaryIO, path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[Sample]:
    """Read an array chunk by chunk: a table may be larger than memory."""
    version = np.lib.format.read_magic(member)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    whole, fortran, kind = read_header(member)
    if kind.hasobject or kind.kind not in "biuf" or fortran:
        raise DataError(f"{path}: X: expected numbers in C order, found {kind}{' in Fortran order' if fortran else ''}")
    if tuple(whole[1:]) != shape or (dtype == "uint8" and kind != np.uint8):
        raise DataError(f"{path}: X: the detector takes {dtype} [N, {_spelled(shape)}], found {kind} {list(whole)}")
    size = kind.itemsize * math.prod(shape)
    for start in range(0, whole[0], _CHUNK):
        count = min(_CHUNK, whole[0] - start)
        data = member.read(size * count)
        if len(data) < size * count:
            raise DataError(f"{path}: X: cut off after row {start + len(data) // size}")
        for row, values in enumerate(np.frombuffer(data, kind).reshape(count, *shape), start):
            yield _checked(str(path), row, values, dtype)


def _csv(text: TextIO, name: str, shape: tuple[int, ...], columns: Sequence[str]) -> Iterator[Sample]:
    try:
        yield from _table((line for line in csv.reader(text) if line), name, shape, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: not a CSV table in UTF-8: {error}") from error


def _parquet(path: Path, shape: tuple[int, ...], columns: Sequence[str]) -> Iterator[Sample]:
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
    for row, cells in enumerate(itertools.chain(peeked, lines)):
        found = [_number(cells[place]) if place < len(cells) else None for place in columns]
        if None in found:
            bad = columns[found.index(None)]
            said = repr(cells[bad][:40]) if bad < len(cells) else "missing"
            title = first[bad] if headed else bad
            yield Sample(name, row, None, f"{name}: row {row}, column {title}: expected a number, found {said}")
        else:
            yield _checked(name, row, np.array(found, np.float64).reshape(shape), "float32")


def _places(wanted: Sequence[str], titles: Sequence[str], name: str) -> list[int]:
    for one in wanted:
        if titles.count(one) != 1:
            said = "no header, so no" if not titles else "two columns are called" if one in titles else "no column"
            listed = f" (the columns: {', '.join(titles[:8])}{', ...' if len(titles) > 8 else ''})" if titles else ""
            raise DataError(f"{name}: --columns: {said} '{one}'{near(one, titles)}{listed}")
    return [titles.index(one) for one in wanted]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _numeric(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Say whether a column holds numbers, and nothing else but gaps."""
    cells = [row[place] for row in rows if place < len(row) and row[place].strip()]
    return bool(cells) and all(_number(cell) is not None for cell in cells)


def _checked(file: str, row: int, values: Array, dtype: str) -> Sample:
    with np.errstate(over="ignore"):
        plain = values.astype(dtype)
    if plain.dtype.kind == "f" and not np.isfinite(plain).all():
        bad = int(np.flatnonzero(~np.isfinite(plain))[0])
        found = values.reshape(-1)[bad]
        return Sample(file, row, None, f"{file}: row {row}, column {bad}: expected a finite number, found {found}")
    return Sample(file, row, plain)


def _spelled(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
