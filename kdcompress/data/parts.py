"""Which samples are for training, validation and test; no anomaly is in the first two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdcompress.data.split import hold_out, validation_size
from kdcompress.errors import DataError, near

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """Indices of samples, ascending; ``left_out`` anomalies were given to training, and are in no part."""

    train: list[int]
    validation: list[int]
    test: list[int]
    left_out: int = 0


def by_share(
    name: str,
    where: str,
    labels: np.ndarray,
    usable: np.ndarray,
    *,
    test: float,
    validation: float,
    most: int | None = None,
    samples: str = "rows",
) -> Parts:
    """Part the normals by shares that depend on nothing but their indices; all anomalies are tested.

    Args:
        name: of the data set, which the parts depend on too.
        where: the place of the labels, for messages.
        labels: 0 or 1 for each sample, [N].
        usable: which samples may be used, [N].
        test: share of the normals that is tested.
        validation: share of the other normals that is held out.
        most: training normals at most, those held out among them.
        samples: what they are called.

    Raises:
        DataError: There are too few normals, or none is left to test.
    """
    normals = np.flatnonzero((labels == 0) & usable).tolist()
    if len(normals) < 2:
        raise DataError(f"{where}: {len(normals)} normal {samples}, at least 2 are needed")
    kept, tested = hold_out(normals, min(round(len(normals) * test), len(normals) - 2), "data", name, "test")
    if most is not None and len(kept) > most:
        _, kept = hold_out(kept, most, "data", name, "most")
    train, validated = hold_out(kept, validation_size(name, len(kept), validation), "data", name, "validation")
    tested = sorted([*tested, *np.flatnonzero((labels == 1) & usable).tolist()])
    if not tested:
        raise DataError(f"{where}: nothing is left to test (data.test = {test:g}, and no label says anomaly)")
    return Parts(train, validated, tested)


def by_names(
    name: str, where: str, labels: np.ndarray, usable: np.ndarray, split: Sequence[str], *, validation: float
) -> Parts:
    """Part samples as a file says: ``split`` has train, validation or test for each.

    Where it has no validation, the share ``validation`` of the training normals is held out.

    Raises:
        DataError: A name is another one, or a part is empty.
    """
    for row, one in enumerate(split):
        if one not in SPLITS:
            raise DataError(f"{where}: row {row + 1}: '{one}'{near(one, SPLITS)} (allowed: {', '.join(SPLITS)})")
    names = np.array(split)
    of = {part: np.flatnonzero((names == part) & (labels == 0) & usable).tolist() for part in SPLITS}
    tested = np.flatnonzero((names == "test") & usable).tolist()
    left_out = int(((names != "test") & (labels == 1) & usable).sum())
    if not of["train"] or not tested:
        counts = ", ".join(f"{part} {count}" for part, count in Counter(split).items())
        lacking = "test" if of["train"] else "train"
        raise DataError(
            f"{where}: no {'normal ' if lacking == 'train' else ''}sample is for {lacking} (there: {counts})"
        )
    train, validated = of["train"], of["validation"]
    if not validated:
        train, validated = hold_out(train, validation_size(name, len(train), validation), "data", name, "validation")
    return Parts(train, validated, tested, left_out)
