"""Where a score becomes an alarm, learned from held-out normals alone."""

from __future__ import annotations

import math

import numpy as np

from kdcompress.errors import DataError, InputError
from kdcompress.evaluation.checks import check_finite


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
    if not 0 < false_positive_rate < 1:
        raise InputError(f"false_positive_rate: {false_positive_rate} must lie between 0 and 1, both excluded")
    scores = np.asarray(validation_scores, dtype=np.float64)
    if not scores.size:
        raise DataError("no validation normals to take a threshold from; hold some out of the training set")
    check_finite(scores, "validation normals")
    # The small number undoes the rounding of products that are whole, e.g. 100 * 0.29 = 28.999999999999996.
    above = math.floor((scores.size + 1) * false_positive_rate + 1e-9) - 1
    return float(np.sort(scores)[scores.size - 1 - min(max(above, 0), scores.size - 1)])
