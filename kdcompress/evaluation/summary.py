"""Everything that is said of one detector's scores."""

from __future__ import annotations

import numpy as np

from kdcompress.evaluation.checks import anomalies, check_finite, check_scores
from kdcompress.evaluation.metrics import auroc, auroc_interval, average_precision, fpr_at_tpr
from kdcompress.evaluation.thresholds import chosen, false_alarms
from kdcompress.results import Evaluation


def evaluate(
    scores: np.ndarray,
    labels: np.ndarray,
    validation_scores: np.ndarray,
    *,
    false_positive_rate: float | None = None,
    quantile: float | None = None,
    limit: float | None = None,
    what: str = "detector",
) -> Evaluation:
    """Evaluate test scores [N] against labels [N]; the threshold comes from validation normals [n] alone.

    It is chosen by a wanted false positive rate or by a quantile, one of the two, or it is the ``limit`` that is given.

    Ranking figures are None where the test set lacks anomalies or normals, a rate at the threshold where it
    lacks the kind that the rate is of. ``what`` names the detector in errors, e.g. ``"student"``.

    Raises:
        DataError: labels are not 0 or 1, or there are no validation normals.
        ScoreError: scores are not finite, or the test scores are all the same.
    """
    scores = np.asarray(scores, dtype=np.float64)
    anomalous = anomalies(labels, scores)
    check_scores(scores, what)
    check_finite(validation_scores, f"{what} on validation normals")
    limit = chosen(validation_scores, false_positive_rate, quantile) if limit is None else limit
    both = bool(anomalous.any() and not anomalous.all())
    return Evaluation(
        auroc=auroc(labels, scores) if both else None,
        auroc_ci95=auroc_interval(labels, scores) if both else None,
        average_precision=average_precision(labels, scores) if both else None,
        fpr_at_95tpr=fpr_at_tpr(labels, scores) if both else None,
        distinct_scores=int(np.unique(scores).size),
        threshold=limit,
        fpr_at_threshold=_share_above(scores[~anomalous], limit),
        tpr_at_threshold=_share_above(scores[anomalous], limit),
        false_alarms=false_alarms(validation_scores, limit),
    )


def _share_above(scores: np.ndarray, limit: float) -> float | None:
    return float((scores > limit).mean()) if scores.size else None
