"""The curves behind the plots, in numpy: a report must not wait for scikit-learn to import."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

BINS = 40
CLIPPED = (0.005, 0.995)
LOG_FROM = 30.0
"""Scores whose high and low quantile are further apart than this factor are shown on a logarithmic axis."""


def roc_points(labels: Array, scores: Array) -> tuple[Array, Array]:
    """Return false and true positive rates from (0, 0) to (1, 1), without points on a straight line.

    Equal scores are one step, so that ties are neither for nor against the detector.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], labels[order] == 1
    last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true = np.cumsum(hits)[last_of_ties]
    false = last_of_ties + 1 - true
    corner = np.ones(len(true), dtype=bool)
    corner[1:-1] = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    return np.append(0, false[corner] / false[-1]), np.append(0, true[corner] / true[-1])


@dataclass(frozen=True, eq=False)
class Histogram:
    """Shares of normals and of anomalies by bin; what lies beyond the edges is counted in the outermost bins.

    ``beyond`` is the share of all samples that lie there.
    """

    edges: Array
    normal: Array
    anomaly: Array | None
    logarithmic: bool
    beyond: float


def histogram(labels: Array, scores: Array, threshold: float | None = None) -> Histogram:
    """Bin scores between their outer quantiles, so that a few outliers do not squash the rest."""
    finite = np.isfinite(scores)
    labels, scores = labels[finite], scores[finite]
    low, high = _range(scores, threshold)
    logarithmic = bool(scores.min() > 0 and low > 0 and high / low > LOG_FROM)
    edges = np.geomspace(low, high, BINS + 1) if logarithmic else np.linspace(low, high, BINS + 1)
    inside = np.clip(scores, edges[0], edges[-1])
    anomalies = inside[labels == 1]
    return Histogram(
        edges,
        _shares(inside[labels == 0], edges),
        _shares(anomalies, edges) if len(anomalies) else None,
        logarithmic,
        float(np.mean((scores < edges[0]) | (scores > edges[-1]))),
    )


def _range(scores: Array, threshold: float | None) -> tuple[float, float]:
    low, high = (float(value) for value in np.quantile(scores, CLIPPED))
    if threshold is not None and np.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    if high > low:
        return low, high
    pad = abs(low) / 10 or 0.5
    return low - pad, high + pad


def _shares(values: Array, edges: Array) -> Array:
    counts, _ = np.histogram(values, edges)
    return np.asarray(counts / max(len(values), 1))


def rates_at(labels: Array, scores: Array, threshold: float) -> tuple[float, float]:
    """Return the false and the true positive rate of ``score > threshold``."""
    flagged = scores > threshold
    return float(flagged[labels == 0].mean()), float(flagged[labels == 1].mean())
