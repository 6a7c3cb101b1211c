"""The threshold keeps its promise on normals, by counting and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from kdcompress.errors import DataError, InputError, ScoreError
from kdcompress.evaluation.thresholds import threshold


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
