"""How well scores rank anomalies above normals, and how sure the test set makes us of it.

Scores [N] are raw (any range) and higher is more anomalous; labels [N] are 0 or 1. Every function raises
DataError where one kind of sample is missing or a label is neither, ScoreError where a score is not finite.

Intervals are 95 % and speak of the test samples only, not of training seeds. They use the variance of DeLong,
DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
curves" (Biometrics 44, 1988), computed from midranks in O(N log N) as in Sun and Xu, "Fast implementation of
DeLong's algorithm" (IEEE Signal Processing Letters 21, 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from kdcompress.errors import DataError
from kdcompress.evaluation.checks import anomalies, check_finite
from kdcompress.results import Interval

TAIL = 0.025
QUANTILE = float(norm.ppf(1 - TAIL))


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the share in [0, 1] of (anomaly, normal) pairs that are ranked rightly; a tie counts half."""
    anomalous, scores = _checked(labels, scores)
    return float(roc_auc_score(anomalous, scores))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the precision-recall steps, in (0, 1]; chance level is the share of anomalies."""
    anomalous, scores = _checked(labels, scores)
    return float(average_precision_score(anomalous, scores))


def fpr_at_tpr(labels: np.ndarray, scores: np.ndarray, tpr: float = 0.95) -> float:
    """Return the smallest share of normals flagged where at least ``tpr`` of the anomalies are found.

    Only thresholds that exist count: tied scores are flagged together, and nothing is interpolated.
    """
    anomalous, scores = _checked(labels, scores)
    # Thinning the curve could drop the very threshold that is looked for.
    flagged, found, _ = roc_curve(anomalous, scores, drop_intermediate=False)
    return float(flagged[np.searchsorted(found, tpr)])


def auroc_interval(labels: np.ndarray, scores: np.ndarray) -> Interval:
    """Return the 95 % interval (low, high) of one AUROC, within [0, 1].

    It is DeLong's on the logit scale: near 1, where detectors live, it stays inside [0, 1] and covers better
    than the plain one, whose symmetric arms do not fit there. At exactly 1 or 0 the estimated variance is 0,
    which would claim certainty. The bound is then 0.025 ** (1 / k), k the number of samples of the rarer kind: k
    disjoint pairs are all ranked rightly with probability AUROC ** k, so a smaller AUROC gives such an
    outcome on less than 2.5 % of test sets. It is cautious: one wrong pair in many can give a narrower interval.
    Elsewhere, with only one sample of a kind, its spread is unknown and the interval is (0, 1).
    """
    placements = _placements(*_checked(labels, scores))
    area, smaller = placements.area(), placements.smaller()
    if area in (0.0, 1.0):
        bound = TAIL ** (1 / smaller)
        return (bound, 1.0) if area == 1.0 else (0.0, 1 - bound)
    # The delta method: the derivative of logit(a) is 1 / (a (1 - a)).
    reach = QUANTILE * np.sqrt(placements.variance()) / (area * (1 - area))
    return float(expit(logit(area) - reach)), float(expit(logit(area) + reach))


def paired_difference(labels: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray) -> tuple[float, Interval]:
    """Return AUROC of a minus AUROC of b on the same samples, with its 95 % interval within [-1, 1].

    The covariance of the two is part of the variance: where a and b rank alike the interval is much narrower
    than the two single ones suggest, and where they rank the same its width is 0. With only one sample of a
    kind its spread is unknown and the interval is (-1, 1), unless the scores are identical.
    """
    anomalous, scores_a = _checked(labels, scores_a)
    _, scores_b = _checked(labels, scores_b)
    if np.array_equal(scores_a, scores_b):
        return 0.0, (0.0, 0.0)
    difference = _placements(anomalous, scores_a).minus(_placements(anomalous, scores_b))
    middle, reach = difference.area(), QUANTILE * np.sqrt(difference.variance())
    return middle, (float(max(middle - reach, -1.0)), float(min(middle + reach, 1.0)))


@dataclass(frozen=True)
class _Placements:
    """DeLong's structural components: each sample's share of the other kind that it is on the right side of.

    ``anomaly`` [M] are V10 and ``normal`` [N] are V01 there; a difference of two detectors is the
    difference of their components, which carries their covariance along.
    """

    anomaly: np.ndarray
    normal: np.ndarray

    def area(self) -> float:
        return float(self.anomaly.mean())

    def smaller(self) -> int:
        return min(self.anomaly.size, self.normal.size)

    def variance(self) -> float:
        if self.smaller() < 2:
            return float("inf")
        return float(sum(part.var(ddof=1) / part.size for part in (self.anomaly, self.normal)))

    def minus(self, other: _Placements) -> _Placements:
        return _Placements(self.anomaly - other.anomaly, self.normal - other.normal)


def _placements(anomalous: np.ndarray, scores: np.ndarray) -> _Placements:
    # A rank among all less the rank among one's own kind counts the other kind below; with midranks a tie
    # counts half.
    ranks = rankdata(scores)
    normals_below = ranks[anomalous] - rankdata(scores[anomalous])
    anomalies_below = ranks[~anomalous] - rankdata(scores[~anomalous])
    return _Placements(normals_below / anomalies_below.size, 1 - anomalies_below / normals_below.size)


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # float64, whatever came in: narrower types would make ties of scores that differ.
    scores = np.asarray(scores, dtype=np.float64)
    anomalous = anomalies(labels, scores)
    if anomalous.all() or not anomalous.any():
        raise DataError(
            f"ranking needs normals and anomalies, but the {anomalous.size} samples hold "
            f"{np.count_nonzero(~anomalous)} normals and {np.count_nonzero(anomalous)} anomalies"
        )
    check_finite(scores, "scores")
    return anomalous, scores
