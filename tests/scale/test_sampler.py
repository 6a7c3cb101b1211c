import pytest

from kdcompress.scale import sampler
from kdcompress.searchdir import Trial
from kdcompress.space import Range

AXES = {"strategy.rate": Range.model_validate({"from": 1e-4, "to": 1.0, "scale": "log"}), "student.kind": ("a", ["b"])}


def trial(number, values, worth):
    return Trial(name=f"trial-{number + 1:03d}", values=values, state="done", student=worth)


def searched(axes, count, worth):
    """Return the trials of a search for the largest worth."""
    found = []
    for number in range(count):
        values = sampler.drawn(axes, found, number)
        if values is None:
            break
        found.append(trial(number, values, worth(values)))
    return found


def test_values_lie_in_the_space():
    for one in searched(AXES, 12, lambda values: values["strategy.rate"]):
        assert 1e-4 <= one.values["strategy.rate"] <= 1
        assert one.values["student.kind"] in ("a", ["b"])


def test_the_same_trials_lead_to_the_same_next_one():
    before = searched(AXES, 5, lambda values: values["strategy.rate"])
    assert sampler.drawn(AXES, before, 5) == sampler.drawn(AXES, before, 5)
    assert sampler.drawn(AXES, before, 5) != sampler.drawn(AXES, before, 6)


def test_nothing_is_tried_twice_and_a_small_space_comes_to_an_end():
    axes = {"student.latent": (4, 8, 16), "strategy.gan": (True, False)}
    found = [one.values for one in searched(axes, 50, lambda values: 0.5)]
    assert len(found) == 6
    assert all(values not in found[:place] for place, values in enumerate(found))


def test_every_value_of_a_list_is_tried_in_the_end():
    assert len(searched({"student.latent": tuple(range(20))}, 40, lambda values: -values["student.latent"])) == 20


def test_it_finds_the_best_of_a_simple_hill():
    def worth(values):
        return -abs(values["strategy.rate"] - 0.3)

    axes = {"strategy.rate": Range.model_validate({"from": 0.0, "to": 1.0})}
    late = [one.values["strategy.rate"] for one in searched(axes, 30, worth)][-10:]
    # Ten draws without regard to what was found would be 0.29 away in the mean.
    assert sum(abs(value - 0.3) for value in late) / len(late) < 0.15


def test_refused_settings_are_avoided():
    """Nine in ten of the space are refused."""
    axes = {"strategy.rate": Range.model_validate({"from": 0.0, "to": 1.0})}
    found = []
    for number in range(40):
        values = sampler.drawn(axes, found, number)
        good = values["strategy.rate"] < 0.1
        state = {"state": "done", "student": 0.5} if good else {"state": "refused", "why": "over"}
        found.append(Trial(name=f"trial-{number + 1:03d}", values=values, **state))
    assert sum(one.state == "done" for one in found[-20:]) > 6


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(Exception, match=r"pip install 'kdcompress\[search\]'"):
        sampler.check()
