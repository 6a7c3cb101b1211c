"""What scores and labels must be before anything is concluded from them."""

from __future__ import annotations

import numpy as np

from kdcompress.errors import DataError, ScoreError

SHOWN = 5


def check_finite(scores: np.ndarray, what: str) -> None:
    """Raise ScoreError where scores [N] of ``what`` hold NaN or infinity; it says how many and which."""
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        which = ", ".join(map(str, bad[:SHOWN])) + (", ..." if bad.size > SHOWN else "")
        raise ScoreError(
            f"{what}: {bad.size} of {scores.size} scores are not finite (samples {which}); "
            "check that the data are finite and that its weights are: those of a training that diverged are not"
        )


def check_scores(scores: np.ndarray, what: str) -> None:
    """Raise ScoreError where scores [N] of ``what``, e.g. ``"student"``, are not finite or all the same.

    A single sample has no spread to judge and passes.
    """
    check_finite(scores, what)
    if scores.size > 1 and np.ptp(scores) == 0:
        raise ScoreError(
            f"{what}: all {scores.size} scores are {float(scores[0]):g}, so they rank nothing: the detector "
            "has collapsed; train it longer or at a lower learning rate, or give it more width"
        )


def anomalies(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return which of N samples are anomalies, as a boolean mask.

    Raises:
        DataError: there is not one label, 0 (normal) or 1 (anomaly), for each score; labels of -1 and +1
            would otherwise be read the wrong way round without a word.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.shape != np.shape(scores):
        raise DataError(f"labels {labels.shape} and scores {np.shape(scores)} must both be [N], one for each sample")
    values = np.unique(labels)
    if not np.isin(values, (0, 1)).all():
        raise DataError(f"labels must be 0 (normal) or 1 (anomaly), not {values[:SHOWN].tolist()}")
    return labels.astype(bool)
