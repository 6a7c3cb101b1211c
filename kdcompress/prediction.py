"""A saved detector, whatever its format, on samples that come one after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from kdcompress import bundle
from kdcompress.data.streamed import Array, Sample
from kdcompress.evaluation.scoring import unchecked
from kdcompress.evaluation.thresholds import p_values
from kdcompress.exporting import exported
from kdcompress.exporting.metadata import Input, input_of
from kdcompress.exporting.parity import scores

_BATCH = 64


@dataclass(frozen=True)
class Scoring:
    """What scores: a bundle's detector or an exported one.

    Attributes:
        input: what goes in.
        threshold: above it a score means anomaly; None where none was chosen.
        score: raw data [N, ...] to scores [N], finite or not.
        normals: scores of held-out normals, for p-values; None where the file keeps none.
    """

    input: Input
    threshold: float | None
    score: Callable[[Array], Array]
    normals: Array | None = None


@dataclass(frozen=True)
class Predicted:
    """A sample with its score, and with its decision where there is a threshold: 0 normal, 1 anomaly.

    ``p_value`` is there where scores of held-out normals are.
    """

    sample: Sample
    score: float | None
    decision: int | None
    p_value: float | None = None


def load(target: Path) -> Scoring:
    """Read a bundle or an exported file.

    Raises:
        BundleError: where it cannot be used.
    """
    if exported.is_exported(str(target)):
        found = exported.load(target)
        normals = None if found.metadata.normals is None else np.asarray(found.metadata.normals)
        return Scoring(found.metadata.input, found.metadata.threshold, lambda raw: scores(found, raw), normals)
    loaded = bundle.load(target)
    known = input_of(loaded.manifest.input_shape)
    return Scoring(known, loaded.manifest.threshold, lambda raw: unchecked(loaded.detector, torch.from_numpy(raw)))


def predict(scoring: Scoring, samples: Iterable[Sample]) -> Iterator[Predicted]:
    """Score samples in their order, a batch at a time; what has a problem, or no finite score, gets none."""
    left = iter(samples)
    while batch := list(itertools.islice(left, _BATCH)):
        good = [one.values for one in batch if one.values is not None]
        values = scoring.score(np.stack(good)) if good else np.zeros(0)
        beside = [None] * len(values) if scoring.normals is None else p_values(scoring.normals, values).tolist()
        found = zip(values.tolist(), beside, strict=True)
        for sample in batch:
            yield Predicted(sample, None, None) if sample.values is None else _decided(scoring, sample, *next(found))


def _decided(scoring: Scoring, sample: Sample, score: float, p_value: float | None) -> Predicted:
    if not math.isfinite(score):
        # No comparison with a threshold says anything of it: NaN would pass for normal.
        place = sample.file if sample.row is None else f"{sample.file}: row {sample.row}"
        problem = f"{place}: its score is {score:g}, expected a finite number (values far from the training's overflow)"
        return Predicted(replace(sample, values=None, problem=problem), None, None)
    return Predicted(sample, score, None if scoring.threshold is None else int(score > scoring.threshold), p_value)
