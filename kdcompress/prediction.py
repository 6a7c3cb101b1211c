"""A saved detector, whatever its format, on samples that come one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kdcompress import bundle
from kdcompress.data.stream import Array, Sample
from kdcompress.evaluation.checks import check_finite
from kdcompress.evaluation.scoring import score
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
        score: raw data [N, ...] to scores [N].
    """

    input: Input
    threshold: float | None
    score: Callable[[Array], Array]


@dataclass(frozen=True)
class Predicted:
    """A sample with its score, and with its decision where there is a threshold: 0 normal, 1 anomaly."""

    sample: Sample
    score: float | None
    decision: int | None


def load(target: Path) -> Scoring:
    """Read a bundle or an exported file.

    Raises:
        BundleError: where it cannot be used.
    """
    if exported.is_exported(str(target)):
        found = exported.load(target)

        def scored(raw: Array) -> Array:
            values = scores(found, raw)
            check_finite(values, target.name)
            return values

        return Scoring(found.metadata.input, found.metadata.threshold, scored)
    loaded = bundle.load(target)
    known = input_of(loaded.manifest.input_shape)
    return Scoring(known, loaded.manifest.threshold, lambda raw: score(loaded.detector, torch.from_numpy(raw)))


def predict(scoring: Scoring, samples: Iterable[Sample]) -> Iterator[Predicted]:
    """Score samples in their order, a batch at a time; what has a problem gets no score.

    Raises:
        ScoreError: where a score is not finite.
    """
    left = iter(samples)
    while batch := list(itertools.islice(left, _BATCH)):
        good = [one.values for one in batch if one.values is not None]
        found = iter(scoring.score(np.stack(good)).tolist() if good else [])
        for sample in batch:
            value = next(found) if sample.values is not None else None
            decided = None if value is None or scoring.threshold is None else int(value > scoring.threshold)
            yield Predicted(sample, value, decided)
