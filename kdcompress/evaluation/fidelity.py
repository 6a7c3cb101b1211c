"""How closely a student follows its teacher, whether or not the teacher is right."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from kdcompress.errors import DataError
from kdcompress.evaluation.checks import check_scores
from kdcompress.results import Fidelity


def fidelity(
    teacher_scores: np.ndarray, student_scores: np.ndarray, teacher_threshold: float, student_threshold: float
) -> Fidelity:
    """Compare two detectors' scores [N] of the same samples; needs no labels.

    The rank correlation, in [-1, 1], gives ties their mean rank. Scores of the two may have different scales:
    decisions are compared at each one's own threshold.

    Raises:
        DataError: the two do not score the same number of samples, or fewer than two.
        ScoreError: scores are not finite or all the same, so that they have no ranks.
    """
    if teacher_scores.shape != student_scores.shape or teacher_scores.size < 2:
        raise DataError(
            f"teacher scores {teacher_scores.shape} and student scores {student_scores.shape} "
            "must both be [N] of the same samples, at least two"
        )
    check_scores(teacher_scores, "teacher")
    check_scores(student_scores, "student")
    agree = (teacher_scores > teacher_threshold) == (student_scores > student_threshold)
    return Fidelity(
        spearman=float(spearmanr(teacher_scores, student_scores).statistic),
        decision_agreement=float(agree.mean()),
    )
