"""What a program has in its hands, as an array of samples and one of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from kdcompress.data.images import pixels
from kdcompress.data.labels import is_named
from kdcompress.errors import InputError

_SIDES = {2: "rows [N, D]", 3: "windows [N, C, L]", 4: "uint8 images [N, C, H, W]"}

Given: TypeAlias = Any
"""An array, a tensor, a pandas table, or an iterable (a torch data set) of samples or of (sample, label) pairs."""


def read(given: Given, labels: Given, where: str, of_labels: str) -> tuple[Tensor, np.ndarray]:
    """Return samples [N, ...], checked, and labels [N], all 0 where there are none.

    Args:
        given: an array, a tensor, a table, or an iterable of samples or of pairs.
        labels: 0 or 1 for each; None where they are in pairs, or all are normal.
        where: what messages call the samples.
        of_labels: what messages call the labels.

    Raises:
        InputError: for whatever cannot be samples, with what to do instead.
    """
    if isinstance(given, DataLoader):
        raise InputError(
            f"samples: {where}: a DataLoader gives batches, some of the samples maybe, in some order (allowed: its "
            "data set, LOADER.dataset)"
        )
    listable = hasattr(given, "__len__") or isinstance(given, Iterable)
    if isinstance(given, str | bytes | dict | PathLike | Image.Image) or not listable:
        raise InputError(
            f"samples: {where}: expected an array, a table, or a list or data set of samples, not {given!r:.80} (files "
            "are data by themselves: data={'name': 'table', 'path': FILE}, data={'name': 'folder', 'root': FOLDER})"
        )
    if isinstance(given, tuple) and len(given) == 2:
        raise InputError(f"samples: {where}: a tuple of two (allowed: kd.samples(..., {of_labels}=...) for labels)")
    pairs = None
    if hasattr(given, "columns"):
        if labels is not None and (name := getattr(labels, "name", None)) in given.columns:
            raise InputError(
                f"samples: {where}: column '{name}' is a value, and the labels too: give TABLE.drop(columns='{name}')"
            )
        given = _numbers(given, where, labelled=labels is not None)
    elif not isinstance(given, np.ndarray | Tensor) and not hasattr(given, "toarray"):
        listed = list(_items(given))
        if listed and all(isinstance(one, tuple) and len(one) == 2 for one in listed):
            if labels is not None:
                raise InputError(f"samples: {of_labels}: the items of {where} have labels already")
            pairs = [one[1] for one in listed]
            listed = [one[0] for one in listed]
        given = _stacked(listed, where)
    values = _array(given, where)
    if values.ndim not in _SIDES or 0 in values.shape or values.dtype.kind not in "biuf":
        raise InputError(
            f"samples: {where}: {values.dtype} {list(values.shape)} (allowed: {', '.join(_SIDES.values())})"
        )
    image = values.ndim == 4
    if image and values.shape[-1] <= 4 < min(values.shape[1:3]):
        raise InputError(
            f"samples: {where}: {values.dtype} {list(values.shape)} looks like [N, H, W, C], channels last (allowed: "
            "uint8 [N, C, H, W]; an array's x.transpose(0, 3, 1, 2), a tensor's x.permute(0, 3, 1, 2))"
        )
    if image != (values.dtype == np.uint8):
        advice = (
            "images are uint8, 0 to 255, as read from a file: detectors scale them (what is 0 to 1 becomes so by "
            "255 * x, rounded)"
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


def _stacked(listed: list[Any], where: str) -> np.ndarray:
    """Return samples of one shape as one array."""
    if not listed:
        return np.empty((0, 0))
    # A TensorDataset without labels has tuples of one.
    plain = [one[0] if isinstance(one, tuple) and len(one) == 1 else one for one in listed]
    arrays = []
    for index, one in enumerate(plain):
        name = f"{where}: item {index}"
        try:
            arrays.append(pixels(one, f"samples: {name}") if isinstance(one, Image.Image) else _array(one, name))
        except ValueError:
            arrays.append(np.empty(0, object))
        if arrays[-1].dtype.kind not in "biuf":
            raise InputError(
                f"samples: {name}: {type(one).__name__}{f' of {len(one)}' if isinstance(one, tuple | list) else ''} "
                "(allowed: an array or a tensor of numbers, an image of Pillow, or a pair of one and its label)"
            )
        if arrays[-1].shape != arrays[0].shape:
            raise InputError(
                f"samples: {name} is {list(arrays[-1].shape)}, and item 0 is {list(arrays[0].shape)} (allowed: one "
                "shape)"
            )
    return np.stack(arrays)


def _array(given: Given, where: str) -> np.ndarray:
    if hasattr(given, "toarray") or (isinstance(given, Tensor) and given.layout != torch.strided):
        raise InputError(f"samples: {where}: sparse (allowed: dense, such as x.toarray() or x.to_dense())")
    if np.ma.is_masked(given):
        raise InputError(f"samples: {where}: some values are masked; fill them in or leave their samples out")
    if isinstance(given, Tensor):
        # numpy has no bfloat16.
        return (given.float() if given.dtype == torch.bfloat16 else given).detach().cpu().numpy()
    return np.asarray(given)


def _numbers(table: Given, where: str, *, labelled: bool) -> np.ndarray:
    if not labelled and (names := [name for name in table.columns if is_named(name)]):
        raise InputError(
            f"samples: {where}: column '{names[0]}' looks like a label: give it as labels, and TABLE.drop(columns="
            f"'{names[0]}') as samples, or give TABLE.to_numpy() where it is a value"
        )
    for name, kind in zip(table.columns, table.dtypes, strict=True):
        if getattr(kind, "kind", "O") not in "biuf":
            raise InputError(
                f"samples: {where}: column '{name}' holds no numbers ({kind}); leave it out or make numbers of it"
            )
    values = np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))
    if (gaps := np.isnan(values).sum(0)).any():
        column = int(gaps.argmax())
        raise InputError(
            f"samples: {where}: column '{table.columns[column]}': {gaps[column]} of {len(values)} values are missing; "
            "fill them in, or leave them out"
        )
    return values


def _marks(labels: Given, count: int, where: str) -> np.ndarray:
    if labels is None:
        return np.zeros(count, np.int64)
    marks = _array(labels, where)
    if marks.shape != (count,) or marks.dtype.kind not in "biuf" or not np.isin(marks, (0, 1)).all():
        shown = ", ".join(map(str, np.unique(marks.astype(str))[:3]))
        raise InputError(
            f"samples: {where}: expected 0 (normal) or 1 (anomaly) for each of {count} samples, found "
            f"{list(marks.shape)} with {shown}"
        )
    return marks.astype(np.int64)
