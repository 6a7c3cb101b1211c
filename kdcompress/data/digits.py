"""The digits that come with scikit-learn: nothing to download, done in seconds."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from kdcompress.data import DATASETS
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share, TenClasses, hold_out, one_vs_rest

_TRAIN_SHARE = 0.6


@DATASETS.register("digits")
def digits(*, normal_class: TenClasses = 0, validation: Share = 0.25) -> OneClassData:
    """8x8 handwritten digits, embedded: one class against the rest.

    1797 images, uint8 [N, 1, 8, 8]; the source's values 0..16 become 0..255 (v * 255 / 16, rounded). The
    source has no test set: of each class, 60 % (rounded) are for training and the others for testing, the
    same ones always. That makes 104 to 110 training normals, of which a quarter is held out by default so
    that a threshold rests on some 27 samples, and 719 test images, 70 to 73 of them normal. The split is not
    by writer.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (CC BY 4.0).

    Args:
        normal_class: the class that counts as normal.
        validation: share of the training normals that is held out.
    """
    values, classes = load_digits(return_X_y=True)
    images = (torch.from_numpy(values) * 255 / 16).round().to(torch.uint8).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(classes).long()
    train, test = _train_and_test(labels)
    return one_vs_rest(
        "digits",
        images[train],
        labels[train],
        images[test],
        labels[test],
        normal_class=normal_class,
        validation=validation,
    )


def _train_and_test(labels: Tensor) -> tuple[list[int], list[int]]:
    """Return the indices of both parts, each with the same share of every class."""
    train: list[int] = []
    test: list[int] = []
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten().tolist()
        kept, held = hold_out(members, len(members) - round(len(members) * _TRAIN_SHARE), "data", "digits", "test")
        train += kept
        test += held
    return sorted(train), sorted(test)
