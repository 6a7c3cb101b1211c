"""One detector's evaluation as a whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kdcompress.errors import DataError, ScoreError
from kdcompress.evaluation import auroc, auroc_interval, average_precision, evaluate, fpr_at_tpr
from kdcompress.evaluation.thresholds import false_alarms
from kdcompress.results import Evaluation

LABELS = np.array([0, 0, 0, 0, 1, 1])
SCORES = np.array([1.0, 2, 3, 6, 5, 5])
VALIDATION = np.array([1.0, 2, 4])


def test_every_field_has_its_meaning():
    # One false alarm (6 > 4) of four normals, both anomalies found; of 8 pairs, 6 are ranked rightly.
    assert evaluate(SCORES, LABELS, VALIDATION, false_positive_rate=0.25) == Evaluation(
        auroc=0.75,
        auroc_ci95=auroc_interval(LABELS, SCORES),
        average_precision=average_precision(LABELS, SCORES),
        fpr_at_95tpr=0.25,
        distinct_scores=5,
        threshold=4.0,
        fpr_at_threshold=0.25,
        tpr_at_threshold=1.0,
        false_alarms=false_alarms(VALIDATION, 4.0),
    )


def test_figures_are_those_of_the_single_functions():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1], [50, 20]))
    scores = rng.normal(size=70) + labels
    found = evaluate(scores, labels, rng.normal(size=40), false_positive_rate=0.1)
    assert found.auroc == auroc(labels, scores)
    assert found.fpr_at_95tpr == fpr_at_tpr(labels, scores)
    assert found.auroc_ci95 is not None
    assert found.auroc_ci95[0] < found.auroc < found.auroc_ci95[1]


def test_a_test_set_without_anomalies_still_has_false_alarms():
    found = evaluate(SCORES, np.zeros(6, dtype=int), VALIDATION, false_positive_rate=0.25)
    assert found == Evaluation(None, None, None, None, 5, 4.0, 0.5, None, false_alarms(VALIDATION, 4.0))


def test_a_test_set_without_normals_still_has_a_detection_rate():
    found = evaluate(SCORES, np.ones(6, dtype=int), VALIDATION, false_positive_rate=0.25)
    assert found == Evaluation(None, None, None, None, 5, 4.0, None, 0.5, false_alarms(VALIDATION, 4.0))


def test_a_score_at_the_threshold_is_no_alarm():
    found = evaluate(np.array([1.0, 4, 4, 5]), np.array([0, 0, 1, 1]), VALIDATION, false_positive_rate=0.25)
    assert (found.threshold, found.fpr_at_threshold, found.tpr_at_threshold) == (4.0, 0.0, 0.5)


def test_the_threshold_depends_on_no_test_score():
    one = evaluate(SCORES, LABELS, VALIDATION, false_positive_rate=0.25)
    other = evaluate(SCORES * 100, LABELS, VALIDATION, false_positive_rate=0.25)
    assert other.threshold == one.threshold


def test_all_numbers_are_plain_python():
    found = evaluate(SCORES, LABELS, VALIDATION, false_positive_rate=0.25)
    for value in (*dataclasses.astuple(found), *found.auroc_ci95):
        assert type(value) in (int, float, tuple)


def test_scores_without_meaning_are_refused_by_the_name_of_the_arm():
    with pytest.raises(ScoreError, match="student: all 6 scores are 1"):
        evaluate(np.ones(6), LABELS, VALIDATION, false_positive_rate=0.25, what="student")
    with pytest.raises(ScoreError, match=r"control: 1 of 6 scores are not finite \(samples 5\)"):
        evaluate(np.array([1, 2, 3, 4, 5, np.inf]), LABELS, VALIDATION, false_positive_rate=0.25, what="control")
    with pytest.raises(ScoreError, match="control on validation normals: 1 of 2 scores are not finite"):
        evaluate(SCORES, LABELS, np.array([0, np.nan]), false_positive_rate=0.25, what="control")


def test_labels_of_another_convention_are_refused():
    with pytest.raises(DataError, match=r"not \[-1, 1\]"):
        evaluate(SCORES, 2 * LABELS - 1, VALIDATION, false_positive_rate=0.25)


def test_a_quantile_and_a_given_limit_are_other_ways_to_a_threshold():
    assert evaluate(SCORES, LABELS, VALIDATION, quantile=0.5).threshold == 2.0
    given = evaluate(SCORES, LABELS, VALIDATION, limit=2.5)
    assert (given.threshold, given.fpr_at_threshold) == (2.5, 0.5)
    assert given.false_alarms == false_alarms(VALIDATION, 2.5)
