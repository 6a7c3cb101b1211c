"""AUROC and friends against closed forms, scikit-learn and a plain DeLong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from kdcompress.errors import DataError, ScoreError
from kdcompress.evaluation.metrics import (
    auroc,
    auroc_interval,
    average_precision,
    fpr_at_tpr,
    paired_difference,
)

ROUNDING = 1e-12  # float64 sums of a few hundred terms
Z = 1.959963984540054  # the 97.5 % point of the normal distribution


def _sample(seed, normals=70, anomalies=30, decimals=None):
    """Labels in random order and two correlated score vectors; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], [normals, anomalies]))
    shared = rng.normal(size=labels.size) + labels
    a, b = (shared + rng.normal(size=labels.size) * 0.7 for _ in range(2))
    return (labels, a, b) if decimals is None else (labels, a.round(decimals), b.round(decimals))


def _reference_components(labels, scores):
    """V10 and V01 of DeLong et al. (1988), pair by pair."""

    def psi(anomaly, normal):
        return 1.0 if anomaly > normal else 0.5 if anomaly == normal else 0.0

    anomalies, normals = scores[labels == 1], scores[labels == 0]
    v10 = [sum(psi(x, y) for y in normals) / len(normals) for x in anomalies]
    v01 = [sum(psi(x, y) for x in anomalies) / len(anomalies) for y in normals]
    return v10, v01


def _reference_covariance(labels, scores_a, scores_b):
    """S = S10 / m + S01 / n, a 2 x 2 matrix."""
    (a10, a01), (b10, b01) = _reference_components(labels, scores_a), _reference_components(labels, scores_b)
    return np.cov(a10, b10) / len(a10) + np.cov(a01, b01) / len(a01)


def test_auroc_of_three_against_two_by_hand():
    # Pairs won by anomalies 2, 3 against normals 1, 2, 2.5: 1 + 1/2 + 0 and 1 + 1 + 1.
    assert auroc(np.array([0, 0, 0, 1, 1]), np.array([1, 2, 2.5, 2, 3])) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("decimals", [None, 0])
def test_auroc_and_average_precision_are_those_of_scikit_learn(decimals):
    labels, scores, _ = _sample(0, decimals=decimals)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=ROUNDING)
    expected = average_precision_score(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(expected, abs=ROUNDING)


def test_a_monotone_transform_changes_no_ranking_figure():
    labels, scores, _ = _sample(1, decimals=1)
    for metric in (auroc, average_precision, fpr_at_tpr, auroc_interval):
        assert metric(labels, np.exp(3 * scores)) == metric(labels, scores)


def test_scores_far_outside_the_unit_interval_keep_their_order():
    # A sigmoid, as torchmetrics applies it, would tie all of these.
    labels, scores = np.array([0, 0, 1, 1]), np.array([1e6, 2e6, 3e6, 4e6])
    assert auroc(labels, scores) == 1.0


def test_scores_that_differ_only_in_float64_are_no_ties():
    labels, scores = np.array([0, 0, 1, 1]), 1 + np.arange(4) * 1e-12
    assert auroc(labels, scores) == 1.0


def test_negated_scores_mirror_the_auroc():
    labels, scores, _ = _sample(2, decimals=1)
    assert auroc(labels, -scores) == pytest.approx(1 - auroc(labels, scores), abs=ROUNDING)


def test_fpr_at_tpr_by_hand():
    # 20 anomalies 1..20; finding 19 of them means a threshold of 2, which flags two of the four normals.
    labels = np.repeat([1, 0], [20, 4])
    scores = np.array([*range(1, 21), 0.5, 1.5, 2.5, 30])
    assert fpr_at_tpr(labels, scores) == 0.5
    assert fpr_at_tpr(labels, scores, tpr=1.0) == 0.75
    assert fpr_at_tpr(labels, scores, tpr=0.05) == 0.25


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [None, 0])
def test_fpr_at_tpr_is_the_best_over_all_thresholds(seed, decimals):
    labels, scores, _ = _sample(seed, decimals=decimals)
    flagged = [scores >= limit for limit in scores]
    reached = [f[labels == 0].mean() for f in flagged if f[labels == 1].mean() >= 0.95]
    assert fpr_at_tpr(labels, scores) == pytest.approx(min(reached), abs=ROUNDING)


def test_fpr_at_tpr_flags_tied_scores_together():
    assert fpr_at_tpr(np.array([0, 0, 1, 1]), np.array([1.0, 2, 2, 3])) == 0.5


def test_fpr_at_tpr_sees_thresholds_on_a_straight_stretch_of_the_curve():
    # One normal and one anomaly at each score: the curve is the diagonal.
    assert fpr_at_tpr(np.tile([0, 1], 4), np.repeat([1.0, 2, 3, 4], 2), tpr=0.5) == 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [None, 0])
def test_interval_is_delongs_on_the_logit_scale(seed, decimals):
    labels, scores, _ = _sample(seed, decimals=decimals)
    area = roc_auc_score(labels, scores)
    error = np.sqrt(_reference_covariance(labels, scores, scores)[0, 0]) / (area * (1 - area))
    expected = expit(logit(area) - Z * error), expit(logit(area) + Z * error)
    assert auroc_interval(labels, scores) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [None, 0])
def test_paired_difference_is_delongs_with_its_covariance(seed, decimals):
    labels, a, b = _sample(seed, decimals=decimals)
    contrast = np.array([1, -1])
    error = np.sqrt(contrast @ _reference_covariance(labels, a, b) @ contrast)
    difference, interval = paired_difference(labels, a, b)
    assert difference == pytest.approx(roc_auc_score(labels, a) - roc_auc_score(labels, b), abs=ROUNDING)
    assert interval == pytest.approx((difference - Z * error, difference + Z * error), abs=ROUNDING)


def test_interval_of_five_samples_by_hand():
    # V10 = (1/2, 1), V01 = (1, 3/4, 1/2) for the first test's scores: variances 1/8 and 1/16.
    variance = (1 / 8) / 2 + (1 / 16) / 3
    reach = Z * np.sqrt(variance) / (0.75 * 0.25)
    expected = expit(np.log(3) - reach), expit(np.log(3) + reach)
    interval = auroc_interval(np.array([0, 0, 0, 1, 1]), np.array([1, 2, 2.5, 2, 3]))
    assert interval == pytest.approx(expected, abs=ROUNDING)


def test_interval_covers_the_true_auroc_about_95_times_in_100():
    # Normals N(0, 1), anomalies N(2.3, 1): the true AUROC is Phi(2.3 / sqrt 2).
    truth, rng, trials = norm.cdf(2.3 / np.sqrt(2)), np.random.default_rng(0), 1000
    labels = np.repeat([0, 1], [60, 40])
    covered = 0
    for _ in range(trials):
        low, high = auroc_interval(labels, rng.normal(size=100) + 2.3 * labels)
        covered += low <= truth <= high
    # Three standard errors of a share of 0.95 in 1000 trials are 0.021.
    assert covered / trials == pytest.approx(0.95, abs=0.021)


def test_paired_interval_covers_the_true_difference_about_95_times_in_100():
    # a and b are equally good, so the true difference is 0.
    trials = 600
    covered = sum(low <= 0 <= high for low, high in (paired_difference(*_sample(s))[1] for s in range(trials)))
    # Three standard errors of a share of 0.95 in 600 trials are 0.027.
    assert covered / trials == pytest.approx(0.95, abs=0.027)


def test_paired_interval_is_narrower_than_the_unpaired_one():
    labels, a, b = _sample(4)
    _, (low, high) = paired_difference(labels, a, b)
    variances = [_reference_covariance(labels, s, s)[0, 0] for s in (a, b)]
    assert high - low < 2 * Z * np.sqrt(sum(variances))


def test_more_samples_narrow_the_interval():
    low, high = auroc_interval(*_sample(5)[:2])
    lower, higher = auroc_interval(*_sample(5, normals=7000, anomalies=3000)[:2])
    assert higher - lower < (high - low) / 5


@pytest.mark.parametrize(("normals", "anomalies"), [(40, 10), (10, 40)])
def test_perfect_separation_is_not_certainty(normals, anomalies):
    labels = np.repeat([0, 1], [normals, anomalies])
    scores = np.arange(50.0)
    bound = 0.025 ** (1 / 10)
    assert auroc_interval(labels, scores) == pytest.approx((bound, 1.0))
    assert auroc_interval(labels, -scores) == pytest.approx((0.0, 1 - bound))


def test_with_one_sample_of_a_kind_nothing_is_known():
    labels, a, b = np.array([0, 0, 0, 1]), np.array([1.0, 2, 4, 3]), np.array([1.0, 2, 4, 0])
    assert auroc_interval(labels, a) == (0.0, 1.0)
    assert paired_difference(labels, a, b) == (pytest.approx(2 / 3), (-1.0, 1.0))


def test_identical_scores_differ_by_nothing():
    labels, a, _ = _sample(6)
    assert paired_difference(labels, a, a.copy()) == (0.0, (0.0, 0.0))
    assert paired_difference(labels, a, 5 * a - 2) == (0.0, (0.0, 0.0))
    assert paired_difference(np.array([0, 1]), np.array([1.0, 0]), np.array([1.0, 0])) == (0.0, (0.0, 0.0))


def test_swapping_a_and_b_negates_the_difference():
    labels, a, b = _sample(7, decimals=1)
    difference, (low, high) = paired_difference(labels, a, b)
    assert paired_difference(labels, b, a) == (-difference, (-high, -low))


def test_paired_interval_stays_within_minus_one_and_one():
    labels = np.array([0, 0, 1, 1])
    _, (low, high) = paired_difference(labels, np.array([0.0, 1, 2, 3]), np.array([3.0, 0, 2, 1]))
    assert -1 <= low < high <= 1


ALL_METRICS = [auroc, average_precision, fpr_at_tpr, auroc_interval, lambda y, s: paired_difference(y, s, s)]


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_every_metric_refuses_what_cannot_be_ranked(metric):
    scores = np.array([0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="3 normals and 0 anomalies"):
        metric(np.zeros(3), scores)
    with pytest.raises(DataError, match="0 normals and 3 anomalies"):
        metric(np.ones(3), scores)
    with pytest.raises(DataError, match=r"0 \(normal\) or 1 \(anomaly\), not \[-1, 1\]"):
        metric(np.array([-1, 1, 1]), scores)
    with pytest.raises(DataError, match=r"labels \(2,\) and scores \(3,\)"):
        metric(np.array([0, 1]), scores)
    with pytest.raises(ScoreError, match=r"1 of 3 scores are not finite \(samples 1\)"):
        metric(np.array([0, 1, 1]), np.array([0, np.nan, 1]))
