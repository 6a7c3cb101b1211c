"""Labels of a user's own: two values, one of which means normal."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from kdcompress.errors import DataError

Label: TypeAlias = bool | int | str
"""What a file may call normal or anomalous: a number, a word, or a truth value (false is 0, true is 1)."""

_SHOWN = 5
_NAMES = ("label", "labels", "anomaly", "is_anomaly", "outlier", "is_outlier")


def is_named(column: object) -> bool:
    """Return whether a column is one of labels by its name."""
    return str(column).strip().lower() in _NAMES


def marked(cells: Sequence[object], normal: Label, anomaly: Label, where: str) -> np.ndarray:
    """Return 0 for each cell that is the normal value and 1 for each that is the anomalous one, int64 [N].

    Raises:
        DataError: where the two are one, or a cell is neither.
    """
    values = {_spelled(normal): 0, _spelled(anomaly): 1}
    if len(values) == 1:
        raise DataError(f"{where}: data.normal and data.anomaly are both {normal}; two values are needed")
    spelled = [_spelled(cell) for cell in cells]
    wrong = next((row for row, text in enumerate(spelled) if text not in values), None)
    if wrong is not None:
        counts = Counter(spelled).most_common(_SHOWN)
        listed = ", ".join(f"{text or 'empty'} ({count})" for text, count in counts)
        more = f" and {len(set(spelled)) - _SHOWN} more" if len(set(spelled)) > _SHOWN else ""
        raise DataError(
            f"{where}: row {wrong + 1} has {spelled[wrong] or 'no value'}, neither data.normal ({normal}) nor "
            f"data.anomaly ({anomaly}); the values there: {listed}{more}"
        )
    return np.array([values[text] for text in spelled], dtype=np.int64)


def _spelled(value: object) -> str:
    """Spell alike what means the same: 1, 1.0, true and '1'."""
    if isinstance(value, bool | np.bool_ | numbers.Integral):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # A missing value is no equal of itself.
    return str(value).strip() if value is not None and value == value else ""
