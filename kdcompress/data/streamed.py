"""One sample of a stream, to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


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


def checked(file: str, row: int, values: Array, dtype: str) -> Sample:
    """Return a row of a table as a sample; a bad one where a value is not finite in that type."""
    with np.errstate(over="ignore"):
        plain = values.astype(dtype)
    if plain.dtype.kind == "f" and not np.isfinite(plain).all():
        bad = int(np.flatnonzero(~np.isfinite(plain))[0])
        found = values.reshape(-1)[bad]
        return Sample(file, row, None, f"{file}: row {row}, column {bad}: expected a finite number, found {found}")
    return Sample(file, row, plain)
