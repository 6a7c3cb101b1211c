import pytest

from kdcompress.exporting.search import MOST_MEASURED, choose, costs_of


def by_sum(costs, calls=None):
    """Return the rank correlation where what each layer costs adds up."""

    def kept_by(names):
        if calls is not None:
            calls.append(tuple(names))
        return 1 - sum(costs[name] for name in names)

    return kept_by


def test_where_nothing_is_lost_nothing_is_measured():
    calls = []
    found = choose(("a", "b"), by_sum({"a": 0.004, "b": 0.005}, calls), 0.99)
    assert (found.layers, found.kept, found.costs) == (("a", "b"), pytest.approx(0.991), {})
    assert calls == [("a", "b")]


def test_the_costliest_go_first_and_no_more_than_needed():
    costs = {"a": 0.004, "b": 0.3, "c": 0.001, "d": 0.1, "e": 0.003}
    found = choose(tuple(costs), by_sum(costs), 0.99)
    assert found.layers == ("a", "c", "e")
    assert found.kept == pytest.approx(0.992)
    assert found.costs == pytest.approx(costs)


def test_what_cannot_be_kept_is_the_best_of_all_trials_and_never_empty():
    costs = {"a": 0.3, "b": 0.2}
    found = choose(tuple(costs), by_sum(costs), 0.99)
    assert found.layers == ("b",)
    found = choose(("a",), by_sum(costs), 0.99)
    assert (found.layers, found.costs) == (("a",), {"a": pytest.approx(0.3)})
    # One costs where the other is in float: both in eight bits are best.
    found = choose(("a", "b"), lambda names: 0.9 if len(names) == 2 else 0.5, 0.99)
    assert (found.layers, found.kept) == (("a", "b"), 0.9)


def test_many_layers_take_a_bounded_number_of_trials():
    costs = {f"{index}": 0.5 if index == 70 else 0.0 for index in range(100)}
    calls = []
    found = choose(tuple(costs), by_sum(costs, calls), 0.99)
    assert len(calls) <= 2 * MOST_MEASURED + 1
    assert "70" not in found.layers
    assert len(found.layers) >= 95, "its neighbours only go with it"
    every = costs_of(tuple(costs), by_sum(costs), 0.5)
    assert every["70"] == max(every.values()) == pytest.approx(0.5)
