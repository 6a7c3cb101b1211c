"""Rank correlation and agreement of two detectors."""

from __future__ import annotations

import numpy as np
import pytest

from kdcompress.errors import DataError, ScoreError
from kdcompress.evaluation.fidelity import fidelity
from kdcompress.results import Fidelity

TEACHER = np.array([1.0, 2, 3, 4])


def test_a_student_that_ranks_and_decides_alike_is_faithful():
    assert fidelity(TEACHER, TEACHER**3, 2.5, 2.5**3) == Fidelity(pytest.approx(1.0), 1.0)


def test_a_reversed_student_is_the_opposite():
    assert fidelity(TEACHER, -TEACHER, 2.5, -2.5) == Fidelity(pytest.approx(-1.0), 0.0)


def test_spearman_is_pearson_of_midranks():
    student = np.array([5.0, 5, 7, 6])
    expected = np.corrcoef([1, 2, 3, 4], [1.5, 1.5, 4, 3])[0, 1]
    assert fidelity(TEACHER, student, 0, 0).spearman == pytest.approx(expected, abs=1e-12)


def test_agreement_counts_decisions_at_each_ones_own_threshold():
    # Teacher: no, no, yes, yes. Student: no, yes, yes, no. A score at the threshold is no anomaly.
    agreement = fidelity(TEACHER, np.array([10.0, 40, 30, 20]), 2, 20).decision_agreement
    assert agreement == 0.5


def test_scores_without_ranks_are_refused_by_name():
    with pytest.raises(ScoreError, match="student: all 4 scores are 2"):
        fidelity(TEACHER, np.full(4, 2.0), 0, 0)
    with pytest.raises(ScoreError, match="teacher: 1 of 4 scores are not finite"):
        fidelity(np.array([1, np.nan, 2, 3]), TEACHER, 0, 0)


@pytest.mark.parametrize(("teacher", "student"), [(TEACHER, TEACHER[:3]), (TEACHER[:1], TEACHER[:1])])
def test_scores_that_cannot_be_compared_are_refused(teacher, student):
    with pytest.raises(DataError, match="must both be .* of the same samples, at least two"):
        fidelity(teacher, student, 0, 0)
