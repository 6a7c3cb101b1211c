"""Scores of a detector, and what can be concluded from them."""

from __future__ import annotations

from kdcompress.evaluation.checks import check_scores
from kdcompress.evaluation.fidelity import fidelity
from kdcompress.evaluation.metrics import (
    auroc,
    auroc_interval,
    average_precision,
    fpr_at_tpr,
    paired_difference,
)
from kdcompress.evaluation.scoring import outputs, score
from kdcompress.evaluation.summary import evaluate
from kdcompress.evaluation.thresholds import threshold

__all__ = [
    "auroc",
    "auroc_interval",
    "average_precision",
    "check_scores",
    "evaluate",
    "fidelity",
    "fpr_at_tpr",
    "outputs",
    "paired_difference",
    "score",
    "threshold",
]
