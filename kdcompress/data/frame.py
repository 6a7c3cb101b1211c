"""Tables with named columns, CSV or Parquet: every problem is said with its file, column and row."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdcompress.data.labels import is_named
from kdcompress.errors import DataError, near

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".parquet")
_SHOWN = 12
_COMMAS = re.compile(r"[+-]?[\d.]*,[\d.,]*%?")
"""A number with commas in it, decimal or between thousands."""
_POINT = "a number has a point, and no comma"


def read_frame(path: Path, endings: tuple[str, ...] = ENDINGS) -> pd.DataFrame:
    """Return the rows of a CSV file (UTF-8, commas, a header) or a Parquet file.

    Raises:
        DataError: The file is missing, is no such file, or has no rows.
    """
    if path.suffix.lower() not in endings:
        raise DataError(f"{path}: unknown kind of file (allowed endings: {', '.join(endings)})")
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a file")
    if not path.is_file():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file{near(path.name, beside)}")
    header = _header(path) if path.suffix.lower() == ".csv" else None
    frame = _parsed(path)
    if not len(frame):
        raise DataError(f"{path}: no rows in it")
    frame.columns = header or [str(name) for name in frame.columns]
    return frame


def _header(path: Path) -> list[str]:
    """Return the names of a CSV file's columns as they stand there: pandas renames what is named twice.

    Raises:
        DataError: The first row is no header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next((row for row in csv.reader(file) if row), [])
    except (OSError, ValueError, csv.Error) as error:
        raise _damaged(path, error) from error
    if not names:
        raise DataError(f"{path}: empty; a header and rows are expected")
    parted(names, f"{path}")
    steps = np.diff([float(name) for name in names if _number(name) and not name.strip().isdigit()])
    # Beside words, numbers in order are a header too: wavelengths, quantiles.
    if all(_number(name) for name in names) or not (np.all(steps > 0) or np.all(steps < 0)):
        raise DataError(f"{path}: the first row has numbers; a header with the columns' names is expected")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path}: two columns are named '{twice[0]}' (allowed: a header with a name for each)")
    return names


def parted(first: Sequence[str], where: str) -> None:
    """Refuse a first row that anything but commas parts.

    Raises:
        DataError: with what writes it with commas.
    """
    if len(first) == 1 and (mark := next((one for one in ";\t|" if one in first[0]), None)):
        how = f"sep={mark!r}" + (", decimal=','" if mark == ";" else "")
        raise DataError(
            f"{where}: its columns are parted by {mark!r} (allowed: commas, and points in numbers); pandas writes "
            f"them: pandas.read_csv(FILE, {how}).to_csv(OTHER, index=False)"
        )


def _parsed(path: Path) -> Any:  # noqa: ANN401
    try:
        import pandas as pd
    except ImportError as error:
        raise DataError(f"{path}: reading it needs pandas ({error}); run: pip install 'kdcompress[tables]'") from error
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path, engine="pyarrow")
            # What pandas wrote as an index with a name is a column to everybody else.
            kept = [name for name in frame.index.names if name is not None]
            return frame.reset_index(kept) if kept else frame
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, index_col=False, encoding="utf-8-sig", low_memory=False)
    except ImportError as error:
        raise DataError(f"{path}: reading it needs pyarrow; run: pip install 'kdcompress[tables]'") from error
    except pd.errors.ParserWarning:
        raise DataError(f"{path}: its rows have more fields than its header ({_POINT})") from None
    except (ValueError, OSError, TypeError) as error:  # pandas' and pyarrow's own are among these
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    if isinstance(error, UnicodeError):
        return DataError(
            f"{path}: not in UTF-8: {error}; pandas writes it so: pandas.read_csv(FILE, encoding='latin-1')"
            ".to_csv(OTHER, index=False), or whatever its encoding is"
        )
    hint = f" ({_POINT})" if "Expected" in str(error) and "fields" in str(error) else ""
    return DataError(f"{path}: not a {path.suffix[1:].upper()} file, or a damaged one: {str(error).strip()}{hint}")


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def cells(frame: pd.DataFrame, path: Path, name: str, option: str) -> Any:  # noqa: ANN401
    """Return a column by the name that an option gives it.

    Raises:
        DataError: There is none.
    """
    if name not in frame.columns:
        listed = ", ".join(frame.columns[:_SHOWN]) + (", ..." if len(frame.columns) > _SHOWN else "")
        raise DataError(f"{path}: {option}: no column '{name}'{near(name, frame.columns)} (the columns: {listed})")
    return frame[name]


def words(frame: pd.DataFrame, path: Path, name: str, option: str) -> list[Any]:
    """Return a column of words as they stand there: of a CSV file pandas takes some for gaps, such as None or null.

    Raises:
        DataError: There is no such column.
    """
    import pandas as pd

    column = cells(frame, path, name, option)
    gaps = column.isna()
    if path.suffix.lower() == ".csv" and gaps.any():
        place = list(frame.columns).index(name)
        text = pd.read_csv(path, usecols=[place], dtype=str, keep_default_na=False, encoding="utf-8-sig").iloc[:, 0]
        column = column.astype(object).where(~gaps, text)
    return list(column)


def unlabelled(frame: pd.DataFrame, path: Path, besides: Collection[str | None]) -> None:
    """Refuse to take for a value what is a label by its name: a detector would learn from anomalies, and from that.

    Raises:
        DataError: with the column and what to say of it.
    """
    for name in frame.columns:
        if is_named(name) and name not in besides:
            raise DataError(
                f"{path}: column '{name}' looks like a label: name it in data.label, or name the values in data.columns"
            )


def named(frame: pd.DataFrame, path: Path, besides: Collection[str | None], advice: str) -> None:
    """Refuse to take for a value the running number that pandas writes before each row.

    Raises:
        DataError: with the column and the advice what to do.
    """
    for name in frame.columns:
        if (not name.strip() or name.startswith("Unnamed: ")) and name not in besides:
            raise DataError(
                f"{path}: column '{name}' has no name of its own, as pandas' running number of rows (write without, "
                f"to_csv(..., index=False)), or {advice}"
            )


def numbers(frame: pd.DataFrame, path: Path, name: str) -> np.ndarray | None:
    """Return a column as float64 [N], NaN where a value is missing; None where it has no number at all.

    Raises:
        DataError: Some of it are numbers, and some are not.
    """
    import pandas as pd

    column = frame[name]
    if column.dtype.kind in "mM":
        return None
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype.kind == "O":
        column = column.convert_dtypes()  # truth values with gaps are objects to pandas
    if column.dtype.kind == "O" or isinstance(column.dtype, pd.StringDtype):
        filled = column.notna() & (column.astype(str).str.strip() != "")
        found = pd.to_numeric(column.where(filled).astype(str).where(filled), errors="coerce")
        text = np.flatnonzero((filled & found.isna()).to_numpy())
        if len(text) == int(filled.sum()) and len(text):
            if all(_COMMAS.fullmatch(str(column.iloc[row]).strip()) for row in text):
                raise DataError(
                    f"{path}: column '{name}', row {text[0] + 1}: '{column.iloc[text[0]]}' ({_POINT}; rows count from "
                    "1): pandas.read_csv(FILE, decimal=',') or thousands=',' reads it, .to_csv(OTHER, index=False) "
                    "writes it"
                )
            return None
        if len(text):
            raise DataError(
                f"{path}: column '{name}', row {text[0] + 1}: '{column.iloc[text[0]]}' is no number, as are "
                f"{len(text) - 1} more of {len(column)} (allowed: numbers such as 1.5, empty cells; rows count from 1)"
            )
        column = found
    values: np.ndarray = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def varying(values: np.ndarray, names: list[str], path: Path, advice: str) -> None:
    """Refuse columns [N, D] without any value, and such that never vary.

    Raises:
        DataError: with the first of them, and the advice what to do.
    """
    present = ~np.isnan(values)
    low = np.where(present, values, np.inf).min(0)
    high = np.where(present, values, -np.inf).max(0)
    still = [name for name, one, other in zip(names, low, high, strict=True) if one >= other]
    if still:
        listed = ", ".join(f"'{name}'" for name in still[:_SHOWN]) + (", ..." if len(still) > _SHOWN else "")
        raise DataError(
            f"{path}: column{'s' if len(still) > 1 else ''} {listed}: the same in all rows, or empty, so of no use; "
            f"{advice}"
        )
