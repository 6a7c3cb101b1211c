import pytest
import yaml

from kdcompress import space as spaces
from kdcompress.errors import InputError, RecipeError
from kdcompress.recipe import parse
from kdcompress.space import Budget, Range
from tests.recipes import TINY


def written(folder, **search):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**TINY, "name": "mine", "search": search}))
    return str(path)


def ends(first, last, **more):
    return Range.model_validate({"from": first, "to": last, **more})


def test_whole_ends_make_whole_numbers():
    assert [ends(1, 9).rounded(value) for value in (1.2, 6.7)] == [1, 7]
    assert not ends(1.0, 9).whole


@pytest.mark.parametrize(("drawn", "kept"), [(0.00123456, 0.00123), (0.98765, 0.988), (0.0004, 0.00045), (2.0, 1.004)])
def test_numbers_keep_three_digits_and_stay_within_the_range(drawn, kept):
    assert ends(0.00045, 1.004).rounded(drawn) == kept


def test_a_value_takes_its_place_in_the_recipe(tmp_path):
    found = spaces.load(written(tmp_path, **{"strategy.epochs": [1, 2]}), ["seed=7"])
    assert found.recipe({"strategy.epochs": 2}) == parse(
        {**TINY, "name": "mine", "seed": 7, "strategy": {**TINY["strategy"], "epochs": 2}}
    )


def test_keys_may_be_nested(tmp_path):
    nested = {"strategy": {"epochs": [1, 2], "steps": {0: {"learning_rate": {"from": 0.1, "to": 0.2}}}}}
    found = spaces.load(written(tmp_path, **nested)).axes
    assert found == {"strategy.epochs": (1, 2), "strategy.steps.0.learning_rate": ends(0.1, 0.2)}


def test_a_size_takes_the_place_of_another(tmp_path):
    student = spaces.load(written(tmp_path, **{"student.macs": [9, 10]})).recipe({"student.macs": 9}).student
    assert student.target == ("macs", 9.0)
    assert student.width is None


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"strategy.epochs": 3}, r"search\.strategy\.epochs: expected a list, or"),
        ({"strategy.epochs": [3]}, r"search\.strategy\.epochs: .*at least 2"),
        ({"strategy.epochs": {"from": 3, "to": 1}}, "from 3 to 1 is no range"),
        ({"strategy.epochs": {"from": 0, "to": 1, "scale": "log"}}, "log begins above 0"),
        ({"strategy.epochs": {"from": 1, "tu": 3}}, r"unknown key .tu.*did you mean .to"),
        ({"data.normal_class": [3, 4]}, r"search\.data\.normal_class: is not varied \(allowed: keys of student"),
        ({"studnet.latent": [3, 4]}, "is not varied.*did you mean 'student'"),
        ({"teacher.strategy.epochs": [3, 4]}, r"search\.teacher\.strategy\.epochs: is not varied"),
        ({"student.latent": [3, 4, 3]}, r"search\.student\.latent: a value stands there twice"),
        ({"student.latent": [3, 4], "student": {"latent": [5, 6]}}, r"search\.student\.latent: stands there twice"),
        ({"student": ["a", "b"]}, r"search\.student: is not varied"),
        ({"student.macs": [1, 2], "student.width": [0.1, 1]}, "give only one of student.macs, student.width"),
        ({}, "search: expected keys"),
    ],
)
def test_what_cannot_be_searched_is_named(tmp_path, search, said):
    with pytest.raises(RecipeError, match=said):
        spaces.load(written(tmp_path, **search))


def test_a_recipe_with_a_search_is_no_run(tmp_path):
    with pytest.raises(InputError, match="search: this is a search over settings; use `kdcompress search`"):
        parse({**TINY, "search": {"student.width": [0.1, 1]}})


def test_a_suite_is_no_search(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({**TINY, "name": "mine", "grid": {"seed": [0, 1]}}))
    with pytest.raises(RecipeError, match="use `kdcompress benchmark`"):
        spaces.load(str(path))


def test_the_fingerprint_follows_what_counts(tmp_path):
    search = {"strategy.epochs": [1, 2]}
    found = spaces.load(written(tmp_path, **search)).fingerprint(Budget(macs=10))
    assert found == spaces.load(written(tmp_path, **search), ["description=other"]).fingerprint(Budget(macs=10))
    others = [
        spaces.load(written(tmp_path, **search)).fingerprint(Budget(macs=11)),
        spaces.load(written(tmp_path, **search), ["seed=1"]).fingerprint(Budget(macs=10)),
        spaces.load(written(tmp_path, **{"strategy.epochs": [1, 3]})).fingerprint(Budget(macs=10)),
    ]
    assert len({found, *others}) == 4
