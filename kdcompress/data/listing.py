"""Image files with what is known of them: what `folder` and `manifest` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import torch

from kdcompress.data.images import OnBadImage, readable, stacked
from kdcompress.data.one_class import OneClassData
from kdcompress.data.parts import by_names, by_share


@dataclass(frozen=True)
class Listing:
    """Image files, a label for each (0 or 1), and train, validation or test for each where that is known.

    ``notes`` tell the user of files beside them.
    """

    files: Sequence[Path]
    labels: Sequence[int]
    split: Sequence[str] | None = None
    notes: tuple[str, ...] = ()


def one_class(
    name: str,
    where: str,
    listing: Listing,
    *,
    size: int | None,
    test: float,
    validation: float,
    on_bad_image: OnBadImage,
) -> OneClassData:
    """Read images and part them into a data set.

    Raises:
        DataError: An image cannot be read or is unlike the others, or a part is empty.
    """
    good, notes = readable(listing.files, on_bad_image)
    notes = (*listing.notes, *notes)
    files = list(compress(listing.files, good))
    labels, all_of_them = np.asarray(listing.labels, np.int64)[good], np.ones(len(files), bool)
    if listing.split is None:
        parts = by_share(name, where, labels, all_of_them, test=test, validation=validation, samples="images")
    else:
        split = list(compress(listing.split, good))
        parts = by_names(name, where, labels, all_of_them, split, validation=validation)
    if parts.left_out:
        notes += (f"{where}: {parts.left_out} anomalies for training or validation are left out",)
    # In the order of the three parts, so that each is a slice: to pick from an array in a file would copy it.
    ordered = [files[index] for index in (*parts.train, *parts.validation, *parts.test)]
    sizes = [len(parts.train), len(parts.validation), len(parts.test)]
    train, validated, tested = stacked(ordered, size).split(sizes)
    return OneClassData(name, None, train, validated, tested, torch.from_numpy(labels[parts.test]), notes)
