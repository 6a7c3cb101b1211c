"""The gate: an exported file against the detector that it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdcompress.errors import BundleError
from kdcompress.evaluation.metrics import auroc
from kdcompress.evaluation.scoring import outputs, score
from kdcompress.exporting.exported import Array, Exported
from kdcompress.exporting.graph import PREPARED
from kdcompress.exporting.inputs import Inputs
from kdcompress.types import SCORE, Detector

TOLERANCE = 1e-4
"""How far a score may be off, as a share of the median of all, unless the user says another share."""

_BATCH, _LOOKED_AT = 64, 16


@dataclass(frozen=True)
class Parity:
    """How far a file's scores are from those of torch in float32.

    Attributes:
        passed: no difference, and no flipped decision's margin, is above the tolerance.
        inputs: compared.
        source: where they are from.
        largest: difference of two scores.
        mean: difference of two scores.
        tolerance: the share that is allowed, by the median of the scores' absolute values.
        spearman: rank correlation of the two; None where all scores are the same.
        auroc: of torch on inputs that have labels; None where there are none, or of one kind only.
        auroc_exported: the same of the file.
        flipped: decisions that differ at the threshold; None where the bundle has no threshold.
        flipped_beyond: those whose score is further than the tolerance from the threshold.
        first_difference: the first output on the way to the score that differs, where the gate has failed.
    """

    passed: bool
    inputs: int
    source: str
    largest: float
    mean: float
    tolerance: float
    spearman: float | None
    auroc: float | None
    auroc_exported: float | None
    flipped: int | None
    flipped_beyond: int | None
    first_difference: str | None = None


def compare(
    detector: Detector, threshold: float | None, exported: Exported, given: Inputs, share: float = TOLERANCE
) -> Parity:
    """Compare a file with its detector; both see the same raw inputs, the file in batches of one and of many.

    Two ways to round in float32 differ more where scores are far above their median, or where a small one is the
    difference of large numbers, as a distance to a neighbour nearly the same is: a larger ``share`` allows for it.

    Raises:
        ScoreError: where torch's own scores are not finite.
    """
    wanted = score(detector, given.raw)
    found = scores(exported, given.raw.numpy())
    away = np.abs(found - wanted)
    # A score that is not finite is as far off as can be.
    away = np.where(np.isfinite(away), away, np.inf)
    tolerance = tolerance_of(wanted, share)
    flipped = beyond = None
    if threshold is not None:
        other = (found > threshold) != (wanted > threshold)
        flipped, beyond = int(other.sum()), int((other & (np.abs(wanted - threshold) > tolerance)).sum())
    passed = bool((away <= tolerance).all()) and not beyond
    labelled = len(given.labels)
    labels = given.labels.numpy()
    return Parity(
        passed=passed,
        inputs=len(wanted),
        source=given.source,
        largest=float(away.max()),
        mean=float(away.mean()),
        tolerance=tolerance,
        spearman=_rank_correlation(wanted, found),
        auroc=_auroc(labels, wanted[:labelled]),
        auroc_exported=_auroc(labels, found[:labelled]),
        flipped=flipped,
        flipped_beyond=beyond,
        first_difference=None if passed else _first_difference(detector, exported, given.raw[_worst(away)], share),
    )


def tolerance_of(scores: Array, share: float) -> float:
    """Return how far a score may be off: a share of the median, or of the mean where half of the scores are 0."""
    sizes = np.abs(scores)
    return share * float(np.median(sizes) or sizes.mean())


def scores(exported: Exported, raw: Array) -> Array:
    """Return a file's scores [N] in float64: of the first input alone, then in batches.

    Raises:
        BundleError: where the file does not give one score for each input.
    """
    found = []
    for start, end in _batches(len(raw)):
        values = exported.run(np.ascontiguousarray(raw[start:end]))[SCORE]
        if values.shape != (end - start,) or values.dtype != np.float32:
            raise BundleError(
                f"the exported file gives scores {values.dtype} {list(values.shape)} for {end - start} inputs; "
                f"expected float32 [{end - start}]"
            )
        found.append(values.astype(np.float64))
    return np.concatenate(found)


def _batches(count: int) -> list[tuple[int, int]]:
    starts = [0, *range(1, count, _BATCH), count]
    return list(zip(starts[:-1], starts[1:], strict=True))


def _worst(away: Array) -> Tensor:
    return torch.from_numpy(np.argsort(-away, kind="stable")[:_LOOKED_AT].copy())


def _first_difference(detector: Detector, exported: Exported, raw: Tensor, share: float) -> str:
    """Return the name of the first output that differs by more than the tolerance; the score where none else does."""
    with torch.no_grad():
        wanted = {PREPARED: detector.prepare(raw), **outputs(detector, raw)}
    found = exported.look(np.ascontiguousarray(raw.numpy()))
    for name, value in wanted.items():
        if name in found and _differ(value.float().numpy(), np.asarray(found[name], np.float32), share):
            return name
    return SCORE


def _differ(wanted: Array, found: Array, share: float) -> bool:
    if wanted.shape != found.shape:
        return True
    return not bool((np.abs(wanted - found) <= tolerance_of(wanted, share)).all())


def _rank_correlation(one: Array, other: Array) -> float | None:
    from scipy.stats import spearmanr

    if not np.isfinite(other).all() or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def _auroc(labels: Array, scores: Array) -> float | None:
    both = bool(labels.any()) and not bool(labels.all())
    return auroc(labels, scores) if both and np.isfinite(scores).all() else None
