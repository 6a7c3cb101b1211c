import numpy as np
import pytest
from sklearn.metrics import roc_curve

from kdcompress.reporting import curves
from tests.reporting.fake_runs import make_scores


@pytest.mark.parametrize("decimals", [1, 3, 12])
def test_roc_points_are_those_of_scikit_learn(decimals):
    scores = make_scores(normals=200, anomalies=300)
    rounded = np.round(scores["student"], decimals)  # few decimals make ties
    false, true = curves.roc_points(scores["labels"], rounded)
    expected_false, expected_true, _ = roc_curve(scores["labels"], rounded, drop_intermediate=True)
    np.testing.assert_allclose(false, expected_false, rtol=0, atol=1e-15)
    np.testing.assert_allclose(true, expected_true, rtol=0, atol=1e-15)


def test_the_area_under_a_perfect_curve_is_one():
    false, true = curves.roc_points(np.array([0, 1, 0, 1]), np.array([0.1, 0.8, 0.2, 0.9]))
    assert np.trapezoid(true, false) == 1


def test_equal_scores_are_one_step():
    false, true = curves.roc_points(np.array([0, 1, 0, 1]), np.ones(4))
    assert false.tolist() == true.tolist() == [0, 1]


def test_every_sample_is_in_a_bin_and_outliers_are_counted_as_beyond():
    scores = make_scores()["student"].copy()
    scores[-10:] = 1e9
    labels = make_scores()["labels"]
    bins = curves.histogram(labels, scores, threshold=0.05)
    assert bins.normal.sum() == pytest.approx(1)
    assert bins.anomaly.sum() == pytest.approx(1)
    assert bins.edges[-1] < 1
    assert bins.beyond == pytest.approx(np.mean((scores < bins.edges[0]) | (scores > bins.edges[-1])))
    assert bins.beyond >= 10 / scores.size


def test_a_threshold_beyond_the_quantiles_widens_the_axis():
    labels, scores = np.zeros(100), np.linspace(1, 2, 100)
    assert curves.histogram(labels, scores, threshold=7.0).edges[-1] == 7.0


def test_normals_alone_have_no_histogram_of_anomalies():
    assert curves.histogram(np.zeros(5), np.arange(5.0)).anomaly is None


@pytest.mark.parametrize("constant", [0.0, 3.0, -2.0])
def test_constant_scores_still_have_a_range(constant):
    bins = curves.histogram(np.array([0, 1]), np.full(2, constant))
    assert bins.edges[0] < constant < bins.edges[-1]
    assert bins.normal.sum() == 1


def test_scores_over_decades_get_a_logarithmic_axis_and_negative_ones_never():
    decades = np.geomspace(1e-6, 1.0, 500)
    labels = np.arange(500) % 2
    assert curves.histogram(labels, decades).logarithmic
    assert not curves.histogram(labels, decades - 0.5).logarithmic


def test_rates_are_those_of_scores_above_the_threshold():
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.5, 0.5, 0.9])
    assert curves.rates_at(labels, scores, 0.5) == (0.0, 0.5)
