"""Samples that a program has in its hands, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdcompress.data import DATASETS
from kdcompress.data.given import Given, read
from kdcompress.data.one_class import OneClassData
from kdcompress.data.parts import by_share
from kdcompress.data.split import hold_out, validation_size
from kdcompress.errors import InputError

_NAME = "samples"


@dataclass(frozen=True)
class Samples:
    """Samples of a program's own: what ``kd.distill(data=...)`` takes.

    Attributes:
        name: of the data set that they are registered as in this process; it follows from what they are.
        data: the samples in their parts.
    """

    name: str
    data: OneClassData


def samples(
    train: Given,
    labels: Given = None,
    *,
    test: float | Given = 0.5,
    test_labels: Given = None,
    validation: float = 0.1,
) -> Samples:
    """Return samples of your own as data: uint8 images [N, C, H, W], rows [N, D], or windows of series [N, C, L].

    Rows and windows become float32, unscaled: detectors scale by the training normals. The parts depend on nothing but
    the number of samples. A run of them can be read by everybody, and repeated where the same samples are given.

    Args:
        train: numpy array, tensor, pandas table of numbers, or an iterable such as a torch data set, of samples
            (arrays, tensors, images of Pillow) or of (sample, label) pairs. Anomalies are never learned from.
        labels: 0 for a normal and 1 for an anomaly, [N]; None, all are normal.
        test: what is tested: samples like ``train``, or a share of its normals, which is tested with all its anomalies.
        test_labels: of ``test``, where that is samples; None, all count as normal, and there is no AUROC.
        validation: share of the training normals that is held out for the threshold.

    Raises:
        InputError: for other shapes and types, values that are no finite numbers, labels other than 0 and 1, or too few
            normals.
    """
    if not isinstance(validation, int | float) or not 0 < validation < 1:
        raise InputError(f"samples: validation: expected a share between 0 and 1, not {validation!r:.80}")
    whole, marks = read(train, labels, "train", "labels")
    usable = np.ones(len(whole), bool)
    notes: tuple[str, ...] = ()
    if isinstance(test, int | float):
        if not 0 <= test < 1 or test_labels is not None:
            raise InputError(
                f"samples: test: expected samples or a share from 0 up to 1, not {test!r:.80}"
                if test_labels is None
                else "samples: test_labels: for a test of its own; those of train are `labels`"
            )
        parts = by_share(_NAME, "labels", marks, usable, test=test, validation=validation, samples=_NAME)
        learned, held, tested, answers = parts.train, parts.validation, whole[parts.test], marks[parts.test]
    else:
        tested, answers = read(test, test_labels, "test", "test_labels")
        if tested.shape[1:] != whole.shape[1:] or tested.dtype != whole.dtype:
            raise InputError(f"samples: test: {_shown(tested)} beside train's {_shown(whole)}: give both the same form")
        normals = np.flatnonzero(marks == 0).tolist()
        if len(normals) < 2:
            raise InputError(f"samples: labels: {len(normals)} normal samples, at least 2 are needed")
        learned, held = hold_out(normals, validation_size(_NAME, len(normals), validation), "data", _NAME, "validation")
        if left_out := len(marks) - len(normals):
            notes = (f"samples: {left_out} anomalies for training are left out",)
    data = OneClassData(_NAME, None, whole[learned], whole[held], tested, torch.from_numpy(answers), notes)
    name = f"{_NAME}-{data.digest()[:12]}"
    if name not in DATASETS:
        DATASETS.register(name, f"{len(data.train):,} training normals given from Python")(_builder(data))
    return Samples(name, data)


def _builder(data: OneClassData) -> Callable[..., OneClassData]:
    def build() -> OneClassData:
        """Return samples that a program has in its hands."""
        return data

    return build


def _shown(part: Tensor) -> str:
    return f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
