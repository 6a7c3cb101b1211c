"""Where a score becomes an alarm, learned from held-out normals alone."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import beta

from kdcompress.errors import DataError, InputError
from kdcompress.evaluation.checks import check_finite
from kdcompress.results import FalseAlarms


def threshold(validation_scores: np.ndarray, false_positive_rate: float) -> float:
    """Return the score above which (``score > threshold``) a sample is called an anomaly.

    ``validation_scores`` [n] are of normals that took no part in training, ``false_positive_rate`` is in
    (0, 1). The threshold is the smallest validation score that a new normal exceeds with at most that
    probability: the k-th smallest, k = ceil((n + 1) (1 - rate)), as in split conformal prediction. At most
    that share of the validation normals lies above it, ties included.

    The smallest rate that n normals support is 1 / (n + 1): 19 for 5 %, 99 for 1 %. With fewer the threshold
    is their highest score, and the rate to expect is 1 / (n + 1), more than was asked for.

    Raises:
        InputError: the rate is not in (0, 1).
        DataError: there are no validation normals.
        ScoreError: a score is not finite.
    """
    scores = _sorted(validation_scores, "false_positive_rate", false_positive_rate)
    # The small number undoes the rounding of products that are whole, e.g. 100 * 0.29 = 28.999999999999996.
    above = math.floor((scores.size + 1) * false_positive_rate + 1e-9) - 1
    return float(scores[scores.size - 1 - min(max(above, 0), scores.size - 1)])


def at_quantile(validation_scores: np.ndarray, quantile: float) -> float:
    """Return the smallest validation score [n] that at least this share of them, in (0, 1), does not exceed.

    Raises:
        InputError: the quantile is not in (0, 1).
        DataError: there are no validation normals.
        ScoreError: a score is not finite.
    """
    scores = _sorted(validation_scores, "quantile", quantile)
    return float(scores[max(math.ceil(scores.size * quantile - 1e-9), 1) - 1])


def chosen(validation_scores: np.ndarray, false_positive_rate: float | None, quantile: float | None) -> float:
    """Return the threshold for the one that is given, as `threshold` or `at_quantile`.

    Raises:
        InputError: not one of the two is given, or as they do.
        DataError: as they do.
        ScoreError: as they do.
    """
    if false_positive_rate is not None and quantile is None:
        return threshold(validation_scores, false_positive_rate)
    if quantile is not None and false_positive_rate is None:
        return at_quantile(validation_scores, quantile)
    raise InputError("give one of false_positive_rate, quantile")


def _sorted(validation_scores: np.ndarray, key: str, share: float) -> np.ndarray:
    if not 0 < share < 1:
        raise InputError(f"{key}: {share} must lie between 0 and 1, both excluded")
    scores = np.asarray(validation_scores, dtype=np.float64)
    if not scores.size:
        raise DataError("no validation normals to take a threshold from; hold some out of the training set")
    check_finite(scores, "validation normals")
    return np.sort(scores)


def false_alarms(validation_scores: np.ndarray, limit: float) -> FalseAlarms:
    """Return what validation scores [n] say of the false positive rate at a threshold.

    A threshold that is one of these scores, but for rounding, was chosen among them: where it is the k-th smallest, the
    rate of new normals follows Beta(n - k + 1, k) (Vovk, ACML 2012, on split conformal prediction). Another was there
    before them, and has the interval of Clopper and Pearson (1934).
    """
    scores = np.asarray(validation_scores, dtype=np.float64)
    count, above = len(scores), int((scores > limit).sum())
    below = count - above
    chosen = bool(np.isclose(scores, limit, rtol=1e-6, atol=0).any())
    more, rate = (1, (above + 1) / (count + 1)) if chosen else (0, above / count)
    low = float(beta.ppf(0.025, above + more, below + 1 - more)) if above + more else 0.0
    high = float(beta.ppf(0.975, above + 1, below)) if below else 1.0
    return FalseAlarms(count, above, rate, (low, high), 1 / (count + 1))


def thinned(normals: np.ndarray, most: int = 999) -> np.ndarray:
    """Return at most so many scores of held-out normals [n], ascending, whose p-values are no smaller than by all."""
    known = np.sort(np.asarray(normals, dtype=np.float64))
    if len(known) <= most:
        return known
    ranks = np.ceil(np.arange(1, most + 1) * (len(known) + 1) / (most + 1)).astype(int)
    found: np.ndarray = known[ranks - 1]
    return found


def p_values(normals: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return for each score [N] the p-value that it is a normal's, from the scores [n] of held-out normals.

    It is the share of normals that score as high or higher, the sample among them, (1 + #{s >= score}) / (n + 1): of
    new normals at most the share p has a p-value of p or less (Bates et al., Annals of Statistics 2023, eq. 2).
    """
    known = np.sort(np.asarray(normals, dtype=np.float64))
    lower = np.searchsorted(known, np.asarray(scores, dtype=np.float64), side="left")
    found: np.ndarray = (1 + len(known) - lower) / (len(known) + 1)
    return found
