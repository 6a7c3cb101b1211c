"""The times of a series: where it has gaps, and what a label's time means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kdcompress.data.frame import cells, numbers, read_frame
from kdcompress.errors import DataError, near

if TYPE_CHECKING:
    import pandas as pd

Gaps: TypeAlias = Literal["fail", "split", "bridge"]
Interval: TypeAlias = tuple[float, float]

_USUAL = 0.5
"""A step is as usual within this share of the median of those that go forward."""


def times(frame: pd.DataFrame, path: Path, name: str) -> np.ndarray:
    """Return the times of a column as int64 nanoseconds [N], or as they are where they are numbers.

    Raises:
        DataError: One is missing or no time; times are as ISO 8601 has them, without a zone in UTC.
    """
    import pandas as pd

    column = cells(frame, path, name, "data.timestamp")
    found = numbers(frame, path, name) if column.dtype.kind not in "mM" else None
    if found is None:
        parsed = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
        missing = parsed.isna().to_numpy()
        plain: np.ndarray = parsed.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    else:
        missing, plain = ~np.isfinite(found), found
    if missing.any():
        row = int(missing.argmax())
        raise DataError(
            f"{path}: column '{name}', row {row + 1}: '{column.iloc[row]}' is no time "
            "(allowed: such as 2014-07-01 00:30:00, or numbers; rows count from 1)"
        )
    return plain


def pieces(when: np.ndarray, path: Path, gaps: Gaps) -> np.ndarray:
    """Return the number of the piece that each point is in, [N]: no window reaches from one into another.

    Time that goes back or stands still always begins a new piece, and with ``split`` every unusual step does.

    Raises:
        DataError: with ``fail``, where a step is unusual.
    """
    steps = np.diff(when)
    back = steps <= 0
    usual = float(np.median(steps[~back])) if not back.all() else 1.0
    odd = back | (np.abs(steps - usual) > _USUAL * usual)
    if gaps == "fail" and odd.any():
        row = int(odd.argmax())
        how, advice = f"steps {steps[row] / usual:g} times as far as usual", ""
        if back[row]:
            how = "goes back" if steps[row] < 0 else "stands still"
            advice = "sort the rows by time; " if steps[row] < 0 else "keep one row of each time; "
        raise DataError(
            f"{path}: from row {row + 1} to row {row + 2} time {how}, as in {int(odd.sum()) - 1} more places; {advice}"
            "data.gaps says what to do: split (no window reaches across), bridge (windows take one point after "
            "another, unless time goes back or stands still)"
        )
    return np.concatenate([[0], np.cumsum(odd if gaps == "split" else back)])


def within(when: np.ndarray, intervals: Sequence[Interval], path: Path) -> np.ndarray:
    """Return 1 for each point that is in an interval, both ends included, else 0.

    Raises:
        DataError: An interval has no point in it, so that it belongs to another series.
    """
    found = np.zeros(len(when), np.int64)
    for number, (start, end) in enumerate(intervals, 1):
        inside = (when >= start) & (when <= end)
        if not inside.any():
            raise DataError(f"{path}: interval {number} has no point of the series in it, or ends before it starts")
        found[inside] = 1
    return found


def read_intervals(path: Path, series: Path, *, dated: bool) -> list[Interval]:
    """Return the intervals in a file.

    JSON: a list of [start, end], or such a list for each of several series by the end of its path, as in NAB. CSV: with
    the columns start and end.

    Args:
        path: the file.
        series: the series' file, which tells its intervals from those of others.
        dated: whether times are dates, or numbers.

    Raises:
        DataError: The file is missing or no such file, or has nothing for the series.
    """
    if path.suffix.lower() != ".json":
        frame = read_frame(path, (".csv", ".json"))
        ends = (frame[cells(frame, path, name, "data.intervals").name].tolist() for name in ("start", "end"))
        return _intervals([list(one) for one in zip(*ends, strict=True)], path, dated)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the intervals: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from error
    if isinstance(plain, dict):
        whole = series.resolve().as_posix()
        keys = [key for key in plain if whole.endswith(f"/{key}")]
        if not keys:
            raise DataError(f"{path}: no key that {series} ends with{near(series.name, plain)}")
        plain = plain[max(keys, key=len)]
    return _intervals(plain, path, dated)


def _intervals(plain: Any, path: Path, dated: bool) -> list[Interval]:  # noqa: ANN401
    if not isinstance(plain, list) or not all(isinstance(one, list) and len(one) == 2 for one in plain):
        raise DataError(f"{path}: expected a list of [start, end]")
    return [(_time(start, path, dated), _time(end, path, dated)) for start, end in plain]


def _time(value: object, path: Path, dated: bool) -> float:
    import pandas as pd

    if dated and isinstance(value, str):
        parsed = pd.to_datetime(value, errors="coerce", utc=True, format="ISO8601")
        if not pd.isna(parsed):
            return int(parsed.as_unit("ns").value)
    elif not dated and isinstance(value, int | float):
        return value
    raise DataError(f"{path}: {value!r:.40} is no {'time such as 2014-07-01 00:30:00' if dated else 'number'}")
