"""Windows of a series, parted by time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import validation_size
from kdcompress.errors import DataError


@dataclass(frozen=True)
class Points:
    """Points of a series in order: values [N, C], labels [N], and the piece that each is in [N]."""

    values: np.ndarray
    labels: np.ndarray
    pieces: np.ndarray


def one_class(
    name: str,
    part: str | None,
    path: Path,
    points: Points,
    *,
    window: int,
    stride: int,
    train: float,
    validation: float,
) -> OneClassData:
    """Cut windows and part them: first those to learn from, then, a window's length later, those to test.

    Raises:
        DataError: A part is left without windows.
    """
    starts = _starts(points.pieces, window, stride)
    ends = starts + window
    seen = np.concatenate([[0], np.cumsum(points.labels)])
    anomalous = seen[ends] > seen[starts]
    cut = round(train * len(points.labels))
    early, late = ends <= cut, starts >= cut + window
    normals = starts[early & ~anomalous]
    if len(normals) < 2 or not late.any():
        raise DataError(
            f"{path}: of {len(points.labels)} points there are {len(normals)} windows of {window} without an anomaly "
            f"among the first {cut}, and {int(late.sum())} to test from point {cut + window} on (2 and 1 are needed): "
            "change data.window, data.stride, data.train or data.gaps"
        )
    held = normals[len(normals) - validation_size(name, len(normals), validation) :]
    kept = normals[normals + window <= held[0]]
    if not len(kept):
        raise DataError(
            f"{path}: no training window ends before validation begins: lower data.validation or data.window"
        )
    return OneClassData(
        name,
        part,
        _cut(points.values, kept, window),
        _cut(points.values, held, window),
        _cut(points.values, starts[late], window),
        torch.from_numpy(anomalous[late].astype(np.int64)),
        _notes(path, int((early & anomalous).sum()), int(points.pieces[-1])),
    )


def _starts(pieces: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Return where windows start: every so many points, from the start of each piece."""
    first = np.flatnonzero(np.diff(pieces, prepend=-1))
    ends = np.append(first[1:], len(pieces))
    return np.concatenate([np.arange(a, b - window + 1, stride) for a, b in zip(first, ends, strict=True)])


def _cut(values: np.ndarray, starts: np.ndarray, window: int) -> Tensor:
    """Return windows [N, C, L]."""
    views = np.lib.stride_tricks.sliding_window_view(values, window, 0)
    return torch.from_numpy(np.ascontiguousarray(views[starts]))


def _notes(path: Path, left_out: int, breaks: int) -> tuple[str, ...]:
    said = []
    if left_out:
        said.append(f"{path}: {left_out} windows that overlap an anomaly are early enough for training, and left out")
    if breaks:
        said.append(f"{path}: time makes {breaks} steps that no window reaches across")
    return tuple(said)
