import copy

import pytest
import yaml

from kdcompress.document import overridden, parse
from kdcompress.errors import RecipeError

PLAIN = {"seed": 0, "strategy": {"name": "p", "steps": [{"epochs": 20}, {"epochs": 3}]}, "teacher": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2\nb: 3", "line 2, column 2: expected ',' or ']'"),
        ("a:\n\t- b", "line 2, column 1: found character"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: expected a single document in the stream, but found another"),
        ("a: *b", "line 1, column 4: found undefined alias"),
        ("a: {b: 1, c: 2, b: 3}", "line 1, column 17: duplicate key 'b'"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: duplicate key 'a'"),
        ("1: a\n0x1: b", "line 2, column 1: duplicate key '1'"),
        ("? [1, 2]\n: 3", "line 1, column 3: a key must be a word"),
        ("{a: 1}: 3", "line 1, column 1: a key must be a word"),
        ("a: 2020-13-45", "line 1, column 4: cannot read it: month must be"),
        ("a: !!float x", "line 1, column 4: cannot read it: could not convert"),
        ("a: !!bool x", "line 1, column 4: cannot read it"),
        ("a: !!timestamp x", "line 1, column 4: cannot read it"),
        ("a: !!binary x", "line 1, column 4: failed to decode base64"),
        ("a: 1" + "0" * 5000, "line 1, column 4: cannot read it: Exceeds the limit"),
        ("a: !!python/object/apply:os.system [exit 1]", "line 1, column 4: could not determine a constructor"),
        ("a: b\nc: \0", r"line 2: YAML does not allow the character '\x00'"),
        ("[" * 5000, "too deeply nested"),
    ],
)
def test_text_that_is_no_yaml_is_named_with_its_place(text, said):
    with pytest.raises(RecipeError) as caught:
        parse(text, "a.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith(said)
    assert "\n" not in problem
    assert str(caught.value) == f"a.yaml: {problem}"


@pytest.mark.parametrize(
    "text",
    ["", "null", "a: [1, {b: c}]", "x: &x {a: 1}\ny: {<<: *x, b: 2}", "a: &a [1]\nb: *a", "- 1e-3\n- 0.1", "é: ü"],
)
def test_other_text_means_what_it_means_to_anybody_else(text):
    assert parse(text, "a.yaml") == yaml.safe_load(text)


def test_a_merged_key_may_be_overridden():
    assert parse("x: &x {a: 1}\ny: {<<: *x, a: 2}", "a.yaml")["y"] == {"a": 2}


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=3", ["seed"], 3),
        ("strategy.steps.0.epochs=5", ["strategy", "steps", 0, "epochs"], 5),
        ("strategy.steps.1={epochs: 7}", ["strategy", "steps", 1], {"epochs": 7}),
        ("strategy.steps=[]", ["strategy", "steps"], []),
        ("strategy.name=a=b", ["strategy", "name"], "a=b"),
        ("strategy.averaging=", ["strategy", "averaging"], None),
        ("engine.threads=1", ["engine", "threads"], 1),
        ("teacher.strategy.epochs=2", ["teacher", "strategy", "epochs"], 2),
        ("data='8'", ["data"], "8"),
    ],
)
def test_an_override_sets_one_value_and_leaves_the_rest(override, path, value):
    before = copy.deepcopy(PLAIN)
    changed = overridden(PLAIN, override)
    assert before == PLAIN
    place = changed
    for part in path[:-1]:
        place = place[part]
    assert place[path[-1]] == value
    assert {key: changed[key] for key in PLAIN if key != path[0]} == {k: v for k, v in PLAIN.items() if k != path[0]}


def test_an_override_does_not_reach_what_an_anchor_shares():
    plain = parse("a: &a {x: 1}\nb: *a", "a.yaml")
    assert overridden(plain, "a.x=2") == {"a": {"x": 2}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("foo", "expected KEY=VALUE, e.g."),
        ("", "expected KEY=VALUE, e.g."),
        ("=3", "expected KEY=VALUE, e.g."),
        ("a..b=3", "expected KEY=VALUE, e.g."),
        (".a=3", "expected KEY=VALUE, e.g."),
        ("a.=3", "expected KEY=VALUE, e.g."),
        ("strategy.steps.2.epochs=3", "'2' is no place in a list of 2"),
        ("strategy.steps.-1.epochs=3", "'-1' is no place in a list of 2"),
        ("strategy.steps.²=3", "'²' is no place in a list of 2"),
        ("strategy.steps.first=3", "'first' is no place in a list of 2"),
        ("strategy.steps." + "9" * 5000 + "=3", "no place in a list of 2"),
        ("seed.x=1", "'x' cannot be set: what is above it is a single value"),
        ("strategy.name.x.y=1", "'x' cannot be set: what is above it is a single value"),
        ("seed=[1", "line 1, column 3: expected"),
        ("seed={a: 1, a: 2}", "duplicate key 'a'"),
        ("seed=*x", "undefined alias"),
        ("seed=\0", "YAML does not allow"),
    ],
)
def test_a_bad_override_is_named(override, said):
    with pytest.raises(RecipeError) as caught:
        overridden(PLAIN, override)
    assert caught.value.where == f"--set {override}"
    assert len(caught.value.problems) == 1
    assert said in caught.value.problems[0]
