"""Samples to score, one after the other, in little memory: image files, and rows of NPZ, CSV and Parquet tables."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
from PIL import Image

from kdcompress.data import images
from kdcompress.data.cells import Told, csv_table, parquet_table
from kdcompress.data.streamed import Sample, checked
from kdcompress.errors import DataError, InputError, near

NAMED = (".csv", ".parquet")
TABLES = (".npz", *NAMED)
STDIN = "-"

_CHUNK = 64
_UNREADABLE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _silent(text: str) -> None:
    pass


def samples(
    inputs: Sequence[str],
    shape: tuple[int, ...],
    dtype: str,
    columns: Sequence[str] = (),
    *,
    skip: bool = False,
    told: Told = _silent,
) -> Iterator[Sample]:
    """Return the samples of files and folders, in their order, as raw data of a detector's input.

    Images are converted to its channels and resized to its size, as `folder` resizes; folders are searched for images
    at any depth. An NPZ table has ``X`` [N, ...]; of CSV and Parquet tables the numeric columns are taken as they
    stand, or those that ``columns`` names, in that order; ``-`` is a CSV table on stdin.

    A single bad image or row is a sample with a problem; with ``skip``, so is what is wrong with a file as a whole.

    Raises:
        DataError: where a file is missing, damaged, or as a whole does not fit.
        InputError: where ``columns`` names one twice, or an input has no names.
    """
    if twice := [one for place, one in enumerate(columns) if one in columns[:place]]:
        raise InputError(f"--columns: '{twice[0]}' is named twice (allowed: each column once)")
    for one in inputs if columns else ():
        if one != STDIN and Path(one).suffix.lower() not in NAMED:
            raise InputError(
                f"--columns: {one} has no named columns (allowed: {', '.join(NAMED)}, or '{STDIN}' for CSV on stdin)"
            )
    for one in inputs:
        try:
            yield from _samples(one, shape, dtype, columns, told)
        except DataError as error:
            if not skip:
                raise
            yield Sample(one, None, None, str(error))


def _samples(one: str, shape: tuple[int, ...], dtype: str, columns: Sequence[str], told: Told) -> Iterator[Sample]:
    path = Path(one)
    if one == STDIN:
        with _stdin() as text:
            yield from csv_table(text, "stdin", shape, columns, told)
    elif path.suffix.lower() == ".csv":
        with _opened(path) as text:
            yield from csv_table(text, one, shape, columns, told)
    elif path.suffix.lower() == ".parquet":
        yield from parquet_table(path, shape, columns, told)
    elif path.suffix.lower() == ".npz":
        yield from _npz(path, shape, dtype)
    elif path.suffix.lower() == ".npy":
        raise DataError(
            f"{one}: a bare array (allowed: images, folders of them, {', '.join(TABLES)}: an NPZ has it as X)"
        )
    else:
        yield from _images(path, shape)


def read_from(inputs: Sequence[str]) -> Iterator[os.stat_result]:
    """Return what the system says of each file that samples of these inputs are read from, but of missing ones."""
    for one in inputs:
        with contextlib.suppress(OSError):
            if one == STDIN and sys.stdin is not None:
                yield os.fstat(sys.stdin.fileno())
            else:
                yield from (file.stat() for file in (images.listed(Path(one)) if Path(one).is_dir() else [Path(one)]))


@contextlib.contextmanager
def _stdin() -> Iterator[TextIO]:
    """Read stdin as a file is read, whatever the locale, with or without a mark at its head."""
    if sys.stdin is None:
        raise DataError("stdin: closed")
    text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        text.detach()


def _opened(path: Path) -> TextIO:
    try:
        return path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def _images(path: Path, shape: tuple[int, ...]) -> Iterator[Sample]:
    try:
        there = path.exists()
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    if not there:
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file or folder{near(path.name, beside)}")
    if len(shape) != 3:
        raise DataError(
            f"{path}: the detector takes samples of shape {shape}, not images (allowed: {', '.join(TABLES)}, or "
            f"'{STDIN}' for CSV on stdin)"
        )
    files = [path]
    if path.is_dir():
        files = images.listed(path)
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
        # numpy's own words propose to load it unsafely.
        said = "" if "pickle" in str(error) else f": {error}"
        raise DataError(f"{path}: not an NPZ file of plain arrays, or a damaged one{said}") from error


def _rows(member: BinaryIO, path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[Sample]:
    """Read an array chunk by chunk: a table may be larger than memory."""
    version = np.lib.format.read_magic(member)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    whole, fortran, kind = read_header(member)
    if kind.hasobject or kind.kind not in "biuf" or fortran:
        raise DataError(f"{path}: X: expected numbers in C order, found {kind}{' in Fortran order' if fortran else ''}")
    if tuple(whole[1:]) != shape or (dtype == "uint8" and kind != np.uint8):
        raise DataError(f"{path}: X: the detector takes {dtype} [N, {_spelled(shape)}], found {kind} {list(whole)}")
    if not whole[0]:
        raise DataError(f"{path}: X: no rows")
    size = kind.itemsize * math.prod(shape)
    for start in range(0, whole[0], _CHUNK):
        count = min(_CHUNK, whole[0] - start)
        data = member.read(size * count)
        if len(data) < size * count:
            raise DataError(f"{path}: X: cut off after row {start + len(data) // size}")
        for row, values in enumerate(np.frombuffer(data, kind).reshape(count, *shape), start):
            yield checked(str(path), row, values, dtype)


def _spelled(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
