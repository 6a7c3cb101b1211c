"""The threshold keeps its promise on normals, by counting and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from kdcompress.errors import DataError, InputError, ScoreError
from kdcompress.evaluation.thresholds import at_quantile, chosen, false_alarms, p_values, threshold


@pytest.mark.parametrize(
    ("normals", "rate", "expected"),
    [
        (19, 0.05, 19),  # 1 / (n + 1): just enough normals, none above
        (18, 0.05, 18),  # too few: the highest is all that can be had
        (39, 0.05, 38),
        (99, 0.05, 95),
        (99, 0.29, 71),  # 100 * 0.29 is 28.999999999999996
        (99, 0.07, 93),  # 100 * 0.07 is 7.000000000000001
        (1, 0.5, 1),
        (4, 0.999999999999, 1),
    ],
)
def test_threshold_by_counting(normals, rate, expected):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, normals + 1))
    assert threshold(scores, rate) == expected


@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("normals", [1, 7, 20, 100, 333])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.29, 0.5, 0.9])
def test_at_most_the_rate_of_validation_normals_lies_above(normals, rate, decimals):
    scores = np.random.default_rng(normals).normal(size=normals)
    scores = scores if decimals is None else scores.round(decimals)
    assert (scores > threshold(scores, rate)).sum() <= rate * normals


def test_a_new_normal_lies_above_with_the_rate_that_was_asked_for():
    # 39 exchangeable normals support 2 / 40 exactly; a plain quantile of so few would flag more.
    rng, trials = np.random.default_rng(0), 20_000
    draws = rng.normal(size=(trials, 40))
    flagged = np.mean([draw[-1] > threshold(draw[:-1], 0.05) for draw in draws])
    # Three standard errors of a share of 0.05 in 20000 trials are 0.0046.
    assert flagged == pytest.approx(0.05, abs=0.0046)


def test_threshold_follows_the_scale_of_the_scores():
    scores = np.random.default_rng(1).normal(size=50)
    assert threshold(8 * scores - 4, 0.1) == 8 * threshold(scores, 0.1) - 4


def test_the_scores_are_left_in_their_order():
    scores = np.array([3.0, 1, 2])
    threshold(scores, 0.5)
    assert scores.tolist() == [3, 1, 2]


@pytest.mark.parametrize("rate", [0, 1, -0.1, 5, float("nan")])
def test_a_rate_outside_zero_and_one_is_refused(rate):
    with pytest.raises(InputError, match="false_positive_rate: .* must lie between 0 and 1"):
        threshold(np.arange(3.0), rate)


def test_no_normals_and_broken_scores_are_refused():
    with pytest.raises(DataError, match="no validation normals"):
        threshold(np.array([]), 0.05)
    with pytest.raises(ScoreError, match=r"validation normals: 1 of 3 .* \(samples 0\)"):
        threshold(np.array([np.nan, 1, 2]), 0.05)


@pytest.mark.parametrize(
    ("quantile", "expected"), [(0.5, 50), (0.95, 95), (0.951, 96), (0.29, 29), (0.001, 1), (0.999, 100)]
)
def test_a_quantile_is_the_smallest_score_that_so_many_do_not_exceed(quantile, expected):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 101))
    assert at_quantile(scores, quantile) == expected
    assert (scores <= expected).mean() >= quantile


def test_the_interval_of_a_chosen_threshold_covers_the_rate_of_new_normals():
    # Normals are uniform, so that the true rate at a threshold t is 1 - t.
    rng, trials = np.random.default_rng(0), 4_000
    covered, rates = 0, []
    for draw in rng.random((trials, 60)):
        limit = threshold(draw, 0.1)
        found = false_alarms(draw, limit)
        covered += found.rate_ci95[0] <= 1 - limit <= found.rate_ci95[1]
        rates.append(1 - limit)
        assert found.above == (draw > limit).sum()
    # Three standard errors of a share of 0.95 in 4000 trials are 0.0103.
    assert covered / trials == pytest.approx(0.95, abs=0.0103)
    assert found.rate == pytest.approx(np.mean(rates), abs=0.003)
    assert (found.normals, found.smallest_rate) == (60, 1 / 61)


@pytest.mark.parametrize("above", [0, 3, 40])
def test_the_interval_of_a_given_threshold_is_that_of_clopper_and_pearson(above):
    found = false_alarms(np.r_[np.zeros(40 - above), np.ones(above)], 0.5)
    exact = binomtest(above, 40).proportion_ci(method="exact")
    assert found.rate == above / 40
    assert found.rate_ci95 == pytest.approx((exact.low, exact.high))


def test_p_values_of_new_normals_are_no_smaller_than_they_say():
    rng, level = np.random.default_rng(0), 0.05
    found = np.array([p_values(draw[:-1], draw[-1:])[0] for draw in rng.normal(size=(20_000, 40))])
    assert (found <= level).mean() == pytest.approx(level, abs=0.0046)
    assert found.min() == 1 / 40
    assert p_values(np.array([1.0, 2, 2, 3]), np.array([0.0, 2, 4])).tolist() == [1, 0.8, 0.2]


def test_a_score_is_beyond_the_threshold_of_a_rate_where_its_p_value_is_at_most_that_rate():
    scores, new = np.random.default_rng(2).normal(size=(2, 99))
    for rate in (0.05, 0.1, 0.5):
        assert ((p_values(scores, new) <= rate + 1e-12) == (new > threshold(scores, rate))).all()


def test_one_way_to_a_threshold_is_asked_for():
    scores = np.arange(1.0, 100)
    assert chosen(scores, 0.05, None) == threshold(scores, 0.05)
    assert chosen(scores, None, 0.9) == at_quantile(scores, 0.9)
    for rate, quantile in ((None, None), (0.1, 0.9)):
        with pytest.raises(InputError, match="give one of false_positive_rate, quantile"):
            chosen(scores, rate, quantile)
    with pytest.raises(InputError, match="quantile: 1.5 must lie between 0 and 1"):
        at_quantile(scores, 1.5)
