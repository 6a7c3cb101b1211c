"""One class against the rest, split in a way that depends on nothing but the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import Field
from torch import Tensor

from kdcompress.data.one_class import OneClassData
from kdcompress.errors import DataError
from kdcompress.seeding import derive

TenClasses: TypeAlias = Annotated[int, Field(ge=0, le=9)]
"""The normal class of a set with ten classes."""

Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
"""A share of the training normals, in (0, 1)."""


def hold_out(indices: Sequence[int], count: int, *purpose: str) -> tuple[list[int], list[int]]:
    """Part indices into those kept and ``count`` held out, both in ascending order.

    Each sample has a rank of its own, a hash of ``purpose`` and its index, and the lowest ranks are held out:
    the same ones whatever the run's seed and whatever the versions of torch and numpy, and a larger share
    holds out all that a smaller one does.
    """
    ranked = sorted(indices, key=lambda index: derive(0, *purpose, index))
    return sorted(ranked[count:]), sorted(ranked[:count])


def validation_size(name: str, normals: int, validation: float) -> int:
    """Return how many of the training normals make up the share, rounded to the nearest number.

    Raises:
        DataError: The share is no share, or leaves no sample on one of the two sides.
    """
    if 0 < validation < 1 and 1 <= (count := round(normals * validation)) < normals:
        return count
    allowed = f"from {1 / normals:g} to {1 - 1 / normals:g}" if normals > 1 else "no share, two are needed"
    raise DataError(
        f"{name}: data.validation = {validation:g} of {normals} training normals does not leave at least "
        f"one for validation and one for training (allowed here: {allowed})"
    )


def one_vs_rest(
    name: str,
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    *,
    normal_class: int,
    validation: float,
) -> OneClassData:
    """Make one class the normal one and every other class an anomaly.

    The images [N, C, H, W] go with class labels [N]. The whole test set is tested on; training images of
    other classes are used nowhere. ``validation`` is the share of the training normals that ``hold_out``
    takes away.

    Raises:
        DataError: Images and labels differ in number, the class has no training image or no test image, or
            there are too few training normals for the share.
    """
    for part, images, labels in (
        ("training", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        if len(images) != len(labels):
            raise DataError(f"{name}: {len(images)} {part} images but {len(labels)} {part} labels")
        if not (labels == normal_class).any():
            classes = ", ".join(str(label) for label in labels.unique().tolist()) or "none"
            raise DataError(
                f"{name}: data.normal_class = {normal_class} has no {part} images (classes that have some: {classes})"
            )
    normals = (train_labels == normal_class).nonzero().flatten().tolist()
    count = validation_size(name, len(normals), validation)
    kept, held = hold_out(normals, count, "data", name, "validation")
    return OneClassData(
        name=name,
        normal_class=normal_class,
        train=train_images[kept],
        validation=train_images[held],
        test=test_images,
        labels=(test_labels != normal_class).long(),
    )
