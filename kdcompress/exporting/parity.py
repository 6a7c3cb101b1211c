"""The gate: an exported file against the detector that it was made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kdcompress.errors import BundleError, InputError
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
class Limits:
    """What an int8 file may change of the detector.

    Attributes:
        spearman: rank correlation of the scores, at least.
        flipped: share of decisions that differ, each at its own threshold, at most.
        auroc_lost: AUROC of the detector less that of the file, at most; where there are labels of both kinds.
    """

    spearman: float = 0.99
    flipped: float = 0.03
    auroc_lost: float = 0.003

    def __post_init__(self) -> None:
        """Check that each is a number in its range: nothing is below NaN, so that a limit of it would allow all.

        Raises:
            InputError: where one is not.
        """
        for name, lowest in (("spearman", -1), ("flipped", 0), ("auroc_lost", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not lowest <= value <= 1:
                raise InputError(f"limits: {name}: expected a number from {lowest} to 1, not {value!r:.80}")


LIMITS = Limits()


@dataclass(frozen=True)
class Parity:
    """How far a file's scores are from those of torch in float32.

    Attributes:
        passed: a file in float: no difference of scores or thresholds, and no flipped decision's margin, is above the
            tolerance; an int8 file: no limit is passed; both: none has a threshold that the other has not.
        inputs: compared.
        source: where they are from.
        largest: difference of two scores.
        mean: difference of two scores.
        tolerance: the share that is allowed, by the median of the scores' absolute values.
        spearman: rank correlation of the two; None where all scores are the same.
        auroc: of torch on inputs that have labels; None where there are none, or of one kind only.
        auroc_exported: the same of the file.
        flipped: decisions that differ, each at its own threshold; None where one of the two has none.
        flipped_beyond: those whose score is further than the tolerance from the threshold.
        first_difference: the first output on the way to the score that differs, where a file in float has failed by its
            scores.
        limits: of an int8 file; None for one in float.
        broken: in words, what of them the file does not keep, and how its threshold is another than it should be.
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
    limits: Limits | None = None
    broken: tuple[str, ...] = ()


def compare(
    detector: Detector,
    threshold: float | None,
    exported: Exported,
    given: Inputs,
    share: float = TOLERANCE,
    limits: Limits = LIMITS,
) -> Parity:
    """Compare a file with its detector; both see the same raw inputs, the file in batches of one and of many.

    Two ways to round in float32 differ more where scores are far above their median, or where a small one is the
    difference of large numbers, as a distance to a neighbour nearly the same is: a larger ``share`` allows for it. An
    int8 file is measured by ``limits`` alone: its scores are others, what they say has to be the same.

    Raises:
        ScoreError: where torch's own scores are not finite.
    """
    wanted = score(detector, given.raw)
    found = scores(exported, given.raw.numpy())
    away = np.abs(found - wanted)
    # A score that is not finite is as far off as can be.
    away = np.where(np.isfinite(away), away, np.inf)
    tolerance = tolerance_of(wanted, share)
    rounded = exported.metadata.quantisation is not None
    own = exported.metadata.threshold
    flipped = beyond = None
    if threshold is not None and own is not None:
        other = (found > own) != (wanted > threshold)
        flipped, beyond = int(other.sum()), int((other & (np.abs(wanted - threshold) > tolerance)).sum())
    same = bool((away <= tolerance).all())
    unlike = _unlike(threshold, own, None if rounded else tolerance)
    labelled = len(given.labels)
    labels = given.labels.numpy()
    measured = Parity(
        passed=same and not beyond and not unlike,
        inputs=len(wanted),
        source=given.source,
        largest=float(away.max()),
        mean=float(away.mean()),
        tolerance=tolerance,
        spearman=rank_correlation(wanted, found),
        auroc=_auroc(labels, wanted[:labelled]),
        auroc_exported=_auroc(labels, found[:labelled]),
        flipped=flipped,
        flipped_beyond=beyond,
        broken=unlike,
    )
    if rounded:
        broken = (*unlike, *_broken(measured, limits))
        return replace(measured, passed=not broken, limits=limits, broken=broken)
    if same:
        return measured
    return replace(measured, first_difference=_first_difference(detector, exported, given.raw[_worst(away)], share))


def _unlike(threshold: float | None, own: float | None, tolerance: float | None) -> tuple[str, ...]:
    """Say how a file's threshold is another than its detector's; of an int8 file, with no tolerance, it has to be."""
    if threshold is None or own is None:
        differ = threshold != own
    else:
        differ = tolerance is not None and abs(own - threshold) > tolerance
    said = ["none" if one is None else f"{one:.9g}" for one in (own, threshold)]
    return (f"the file's threshold is {said[0]}, the bundle's is {said[1]}",) if differ else ()


def _broken(found: Parity, limits: Limits) -> tuple[str, ...]:
    """Say which limits an int8 file does not keep; scores that are all the same, or not finite, keep no order."""
    said = []
    if found.spearman is None or found.spearman < limits.spearman:
        kept = "none" if found.spearman is None else f"{found.spearman:.4f}"
        said.append(f"rank correlation {kept}, at least {limits.spearman:g} is wanted (--min-spearman)")
    if found.flipped is not None and found.flipped > limits.flipped * found.inputs:
        share = found.flipped / found.inputs
        said.append(f"{share:.1%} of decisions flipped, {limits.flipped:.1%} are allowed (--max-flipped)")
    if found.auroc is not None:
        lost = np.inf if found.auroc_exported is None else found.auroc - found.auroc_exported
        # A sum of rounded areas.
        if lost > limits.auroc_lost + 1e-9:
            said.append(
                f"{100 * lost:.2f} points of AUROC lost, {100 * limits.auroc_lost:.2f} are allowed (--max-auroc-lost)"
            )
    return tuple(said)


def tolerance_of(scores: Array, share: float) -> float:
    """Return how far a score may be off: a share of the median, or of the mean where half of the scores are 0.

    Raises:
        InputError: where the share is not a finite number, or below 0.
    """
    if not 0 <= share < np.inf:
        raise InputError(f"share: expected a finite number, at least 0, not {share!r:.80}")
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


def rank_correlation(one: Array, other: Array) -> float | None:
    """Return Spearman's; None where scores are all the same or not finite."""
    from scipy.stats import spearmanr

    if not np.isfinite(other).all() or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def _auroc(labels: Array, scores: Array) -> float | None:
    both = bool(labels.any()) and not bool(labels.all())
    return auroc(labels, scores) if both and np.isfinite(scores).all() else None
