"""Samples that a program has in its hands, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from kdcompress.data import DATASETS
from kdcompress.data.one_class import OneClassData
from kdcompress.data.parts import by_share
from kdcompress.data.split import hold_out, validation_size
from kdcompress.errors import InputError

_NAME = "samples"
_SIDES = {2: "rows [N, D]", 3: "windows [N, C, L]", 4: "uint8 images [N, C, H, W]"}

Given: TypeAlias = Any
"""An array, a tensor, a pandas table, or an iterable (a torch data set) of samples or of (sample, label) pairs."""


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
        train: numpy array, tensor, pandas table of numbers, or an iterable such as a torch data set, of samples or of
            (sample, label) pairs. Anomalies are never learned from.
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
    whole, marks = _read(train, labels, "train", "labels")
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
        tested, answers = _read(test, test_labels, "test", "test_labels")
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


def _read(given: Given, labels: Given, where: str, of_labels: str) -> tuple[Tensor, np.ndarray]:
    """Return samples [N, ...] and labels [N]."""
    if isinstance(given, str | bytes | dict) or not (hasattr(given, "__len__") or isinstance(given, Iterable)):
        raise InputError(f"samples: {where}: expected an array, a table or a data set, not {given!r:.80}")
    pairs = None
    if hasattr(given, "columns"):
        given = _numbers(given, where)
    elif not isinstance(given, np.ndarray | Tensor):
        listed = list(_items(given))
        if listed and all(isinstance(one, tuple) and len(one) == 2 for one in listed):
            if labels is not None:
                raise InputError(f"samples: {of_labels}: the items of {where} have labels already")
            pairs = [one[1] for one in listed]
            listed = [one[0] for one in listed]
        try:
            given = np.stack([_array(one) for one in listed]) if listed else np.empty((0, 0))
        except ValueError as error:
            raise InputError(f"samples: {where}: its items do not go together: {error}") from error
    values = _array(given)
    if values.ndim not in _SIDES or 0 in values.shape or values.dtype.kind not in "biuf":
        raise InputError(
            f"samples: {where}: {values.dtype} {list(values.shape)} (allowed: {', '.join(_SIDES.values())})"
        )
    image = values.ndim == 4
    if image != (values.dtype == np.uint8):
        advice = (
            "images are uint8, 0 to 255, as read from a file: detectors scale them"
            if image
            else "rows and windows are no uint8: for grey images add an axis, x[:, None], else x.astype('float32')"
        )
        raise InputError(f"samples: {where}: {values.dtype} {list(values.shape)}: {advice}")
    with np.errstate(over="ignore"):
        plain = np.ascontiguousarray(values if image else values.astype(np.float32))
    if len(bad := np.argwhere(~np.isfinite(plain))) and not image:
        place = tuple(int(one) for one in bad[0])
        raise InputError(
            f"samples: {where}: {len(bad)} values are not finite in float32, the first at {list(place)}: "
            f"{values[place]}; fill them in or leave their samples out"
        )
    # A copy: what the caller changes afterwards would no longer be what the name says.
    return torch.from_numpy(plain.copy()), _marks(pairs if labels is None else labels, len(plain), of_labels)


def _items(given: Given) -> Iterator[Any]:
    """Yield what an iterable or a map-style data set has: the latter need not stop by itself.

    torch's iterable data sets have `__getitem__` too, from the class above, and no length.
    """
    counted = hasattr(given, "__getitem__") and hasattr(given, "__len__")
    return (given[index] for index in range(len(given))) if counted else iter(given)


def _array(given: Given) -> np.ndarray:
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)


def _numbers(table: Given, where: str) -> np.ndarray:
    for name, kind in zip(table.columns, table.dtypes, strict=True):
        if getattr(kind, "kind", "O") not in "biuf":
            raise InputError(
                f"samples: {where}: column '{name}' holds no numbers ({kind}); leave it out or make numbers of it"
            )
    return np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))


def _marks(labels: Given, count: int, where: str) -> np.ndarray:
    if labels is None:
        return np.zeros(count, np.int64)
    marks = _array(labels)
    if marks.shape != (count,) or marks.dtype.kind not in "biuf" or not np.isin(marks, (0, 1)).all():
        shown = ", ".join(map(str, np.unique(marks.astype(str))[:3]))
        raise InputError(
            f"samples: {where}: expected 0 (normal) or 1 (anomaly) for each of {count} samples, found "
            f"{list(marks.shape)} with {shown}"
        )
    return marks.astype(np.int64)


def _shown(part: Tensor) -> str:
    return f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
