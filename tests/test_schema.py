import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from kdcompress import plugins, recipe, signature
from kdcompress.__main__ import main
from kdcompress.architectures import ARCHITECTURES
from kdcompress.data import DATASETS
from kdcompress.schema import schema
from kdcompress.start import resolve_written
from kdcompress.strategies import STRATEGIES
from tests.plugin_files import clean
from tests.recipes import TINY

__all__ = ["clean"]
ROOT = Path(__file__).parent.parent
DIGITS = {"data": {"name": "digits"}, "teacher": {"recipe": "teacher-digits"}, "student": {"name": "ede_gan"}}


@pytest.fixture(scope="module")
def validator():
    found = schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def changed(path, value):
    """Return the tiny recipe with one value set, or one key removed where it is None."""
    plain = copy.deepcopy(TINY)
    *above, last = path.split(".")
    place = plain
    for key in above:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return plain


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(validator, path):
    validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_suite_is_valid(validator, path):
    validator.validate(yaml.safe_load(path.read_text()))


def test_only_a_suite_may_leave_out_what_its_recipe_says(validator):
    grid = {"recipe": ["digits"], "seed": [0, 1]}
    validator.validate({"grid": grid, "tuned_on": {"digits": [0]}})
    validator.validate({"grid": grid, "student": {"score": "joint"}, "data": {"normal_class": 3}, "strategy": {}})
    with pytest.raises(jsonschema.ValidationError, match="'grid' is a dependency of 'tuned_on'"):
        validator.validate({**DIGITS, "tuned_on": {"digits": [0]}})
    with pytest.raises(jsonschema.ValidationError, match="'data' is a required property"):
        validator.validate({"student": DIGITS["student"]})
    with pytest.raises(jsonschema.ValidationError, match="3 is not of type 'array'"):
        validator.validate({"grid": {"seed": 3}})


@pytest.mark.parametrize("name", ["digits", "mnist", "teacher-digits"])
def test_a_resolved_recipe_is_valid(validator, name):
    resolved, _ = resolve_written(recipe.load(name), "r.yaml")
    validator.validate(yaml.safe_load(resolved.to_yaml()))


@pytest.mark.parametrize(
    "plain",
    [
        TINY,
        DIGITS,
        {**DIGITS, "teacher": {"recipe": "teacher-digits", "strategy": {"epochs": 3}}},
        {**DIGITS, "teacher": {"bundle": "big.safetensors"}},
        {**DIGITS, "strategy": {"name": "sequence", "steps": [{"name": "hint", "epochs": 3}, {"name": "response"}]}},
        {**DIGITS, "plugins": ["a.py", {"file": "b.py", "sha256": "0" * 64}]},
        {**DIGITS, "student": {"name": "conv_ae", "params": 1000, "norm": "none"}},
    ],
    ids=str,
)
def test_what_a_recipe_may_say_is_valid(validator, plain):
    validator.validate(plain)
    recipe.parse({"name": "r", **plain})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("dta", {}, "'dta' was unexpected"),
        ("data.name", "digts", "'digts' is not one of"),
        ("data.trian", 80, "'trian' was unexpected"),
        ("data.train", "many", "'many' is not of type 'integer'"),
        ("student.name", "ede_gun", "'ede_gun' is not one of"),
        ("student.macs", 5, "should not be valid"),
        ("student.width", 0, "0 is not valid under any"),
        ("student.norm", "layer", "'layer' is not one of"),
        ("teacher.bundel", "x", "'bundel' was unexpected"),
        ("teacher.architecture.baes", 6, "'baes' was unexpected"),
        ("teacher.strategy.epochs", 0, "0 is less than the minimum"),
        ("strategy.steps.0.teacher", "frosen", "'frosen' is not one of"),
        ("strategy.steps.0.epoch", 2, "'epoch' was unexpected"),
        ("strategy.steps", [], "should be non-empty"),
        ("strategy", {"epochs": 3}, "'name' is a required property"),
        ("engine.precision", "fp16", "'fp16' is not one of"),
        ("strategy", {"name": "sequence", "steps": [{"name": "hnt"}]}, "'hnt' is not one of"),
        ("strategy", {"name": "sequence", "steps": [{"epochs": 3}]}, "'name' is a required property"),
        ("strategy", {"name": "sequence", "steps": [{"name": "hint", "epoch": 3}]}, "'epoch' was unexpected"),
        ("plugins", ["x.py", 3], "3 is not valid"),
        ("teacher", {}, "is not valid under any"),
    ],
)
def test_a_typo_is_not(validator, path, value, said):
    with pytest.raises(jsonschema.ValidationError, match=said):
        validator.validate(changed(path, value))


def test_every_option_of_every_thing_is_in_it_with_default_and_description():
    found = schema()["$defs"]
    for place, registry in (
        ("data", DATASETS),
        ("architecture", ARCHITECTURES),
        ("student", ARCHITECTURES),
        ("strategy", STRATEGIES),
    ):
        assert found[place]["properties"]["name"]["enum"] == list(registry)
        for name in registry:
            options = found[f"{place}.{name}"]["properties"]
            offered = signature.options(registry[name])
            required = {option.name for option in offered if option.default == "required"}
            # A student may take from its teacher what it is made of.
            asked = set() if place == "student" else required
            assert asked == set(found[f"{place}.{name}"].get("required", ())) - {"name"}
            given = {key: {"sha256": "0" * 64, "bytes": 1} if key == "file" else "x" for key in required}
            whole = signature.model_of(registry[name]).model_validate(given)
            defaults = whole.model_dump(mode="json")
            assert set(options) >= set(defaults)
            for option in offered:
                if (place, option.name) != ("student", "width"):
                    assert option.name in required or options[option.name]["default"] == defaults[option.name]
                    assert options[option.name]["description"] == option.description


def test_a_plug_in_adds_to_it(clean, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["schema", "--plugin", str(ROOT / "examples" / "three_step.py")])
    printed = json.loads(capsys.readouterr().out)
    valid = {**DIGITS, "strategy": {"name": "three_step", "epochs": 2}}
    jsonschema.Draft202012Validator(printed).validate(valid)
    assert plugins.owner("strategy", "three_step") is not None
    with pytest.raises(jsonschema.ValidationError, match="'epoch' was unexpected"):
        jsonschema.Draft202012Validator(printed).validate({**DIGITS, "strategy": {"name": "three_step", "epoch": 2}})
