"""Scores from which nothing can be concluded are refused with a message that helps."""

from __future__ import annotations

import numpy as np
import pytest

from kdcompress.errors import DataError, ScoreError
from kdcompress.evaluation.checks import anomalies, check_finite, check_scores


def test_the_message_names_arm_number_and_samples():
    with pytest.raises(ScoreError, match=r"student: 2 of 4 scores are not finite \(samples 1, 3\); check"):
        check_finite(np.array([0, np.nan, 1, -np.inf]), "student")


def test_only_the_first_few_samples_are_listed():
    with pytest.raises(ScoreError, match=r"9 of 9 scores are not finite \(samples 0, 1, 2, 3, 4, \.\.\.\)"):
        check_finite(np.full(9, np.inf), "student")


def test_constant_scores_are_refused_with_what_to_do():
    with pytest.raises(ScoreError, match=r"control: all 7 scores are 0\.25.*train it longer"):
        check_scores(np.full(7, 0.25), "control")


def test_non_finite_scores_are_refused_before_they_are_called_constant():
    with pytest.raises(ScoreError, match="not finite"):
        check_scores(np.full(3, np.nan), "teacher")


@pytest.mark.parametrize("scores", [[0.0, 1e-24], [3.0], []])
def test_scores_with_any_spread_or_none_to_judge_pass(scores):
    check_scores(np.array(scores), "student")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_labels_of_any_type_become_a_mask(dtype):
    labels = np.array([0, 1, 1], dtype=dtype)
    assert anomalies(labels, np.zeros(3)).tolist() == [False, True, True]


@pytest.mark.parametrize("labels", [[-1, 1, 1], [0, 1, 2], [0, 0.5, 1]])
def test_labels_of_another_convention_are_refused(labels):
    with pytest.raises(DataError, match=r"must be 0 \(normal\) or 1 \(anomaly\), not \["):
        anomalies(np.array(labels), np.zeros(3))


@pytest.mark.parametrize("labels", [np.zeros(2), np.zeros((3, 1))])
def test_labels_that_do_not_match_the_scores_are_refused(labels):
    with pytest.raises(DataError, match=r"labels \(.*\) and scores \(3,\) must both be \[N\]"):
        anomalies(labels, np.zeros(3))
