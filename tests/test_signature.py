import math
from dataclasses import dataclass
from typing import Annotated, Literal

import pydantic
import pytest
from pydantic import Field

from kdcompress import signature

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Inner:
    share: Share = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    many: tuple[Inner, ...] = (Inner(0.25),)


def build(
    shape: tuple[int, ...],
    *,
    count: Annotated[int, Field(ge=1, le=7)] | None = None,
    rate: Share = 1e-3,
    scale: float = 2,
    norm: Literal["instance", "batch", "none"] = "none",
    layout: bool | Literal["auto"] = "auto",
    either: int | Inner = 0,
    sizes: int | list[int] = 1,
    steps: Annotated[tuple[Outer, ...], Field(min_length=1)] = (Outer(),),
    outer: Outer = Outer(),
) -> None:
    """Build.

    More words.

    Args:
        shape: of the input.
        count: how many,
            in two lines.
        rate: of it: all.

    Raises:
        Nothing: ever.
    """


@dataclass(frozen=True)
class Pair:
    pair: tuple[str, str]


@dataclass(frozen=True)
class Single:
    single: str


def formed(*, of: str | Pair | Single = "a") -> None:
    pass


def needy(*, size: int) -> None:
    pass


def problems(options, builder=build):
    with pytest.raises(pydantic.ValidationError) as caught:  # noqa: PT011 - the message is what the tests look at
        signature.resolved(builder, options)
    return signature.problems(caught.value, "thing", options, signature.keys(builder, "thing"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "thing.count: input should be greater than or equal to 1, not 0"),
        ({"count": 8}, "thing.count: input should be less than or equal to 7, not 8"),
        ({"count": 1.5}, "thing.count: input should be a valid integer, not 1.5"),
        ({"count": "x"}, "thing.count: input should be a valid integer, not 'x'"),
        ({"count": [1]}, "thing.count: input should be a valid integer, not a list"),
        ({"count": 10**400}, "thing.count: input should be less than or equal to 7, not so large a number"),
        ({"rate": None}, "thing.rate: input should be a valid number, not null"),
        ({"rate": math.nan}, "thing.rate: input should be a finite number, not nan"),
        ({"rate": math.inf}, "thing.rate: input should be a finite number, not inf"),
        ({"scale": "inf"}, "thing.scale: input should be a finite number, not 'inf'"),
        ({"scale": 10**400}, "thing.scale: input should be a valid number, not so large a number"),
        ({"norm": False}, "thing.norm: input should be 'instance', 'batch' or 'none', not false"),
        (
            {"norm": "instnce"},
            "thing.norm: input should be 'instance', 'batch' or 'none', not 'instnce'; did you mean 'instance'?",
        ),
        ({"layout": "x"}, "thing.layout: input should be a valid boolean or 'auto', not 'x'"),
        (
            {"either": "x"},
            "thing.either: input should be a valid integer or a mapping of keys such as {share: x}, not 'x'",
        ),
        ({"either": {"share": 2}}, "thing.either.share: input should be less than 1, not 2"),
        ({"either": {"shre": 0.5}}, "thing.either.shre: unknown key 'shre'; did you mean 'share'? (allowed: share)"),
        ({"sizes": "x"}, "thing.sizes: input should be a valid integer or a list, not 'x'"),
        ({"sizes": [1, "x"]}, "thing.sizes.1: input should be a valid integer, not 'x'"),
        ({"steps": []}, "thing.steps: input should have at least 1 in its list, not 0"),
        ({"steps": 3}, "thing.steps: input should be a list, not 3"),
        ({"steps": [3]}, "thing.steps.0: input should be a mapping of keys, not 3"),
        ({"steps": ["x"]}, "thing.steps.0: input should be a mapping of keys such as {inner: x}, not 'x'"),
        (
            {"steps": [{"innr": {}}]},
            "thing.steps.0.innr: unknown key 'innr'; did you mean 'inner'? (allowed: inner, many)",
        ),
        (
            {"steps": [{}, {"many": [{}, {"share": math.inf}]}]},
            "thing.steps.1.many.1.share: input should be a finite number, not inf",
        ),
        (
            {"outer": {"many": [{"shares": 1}]}},
            "thing.outer.many.0.shares: unknown key 'shares'; did you mean 'share'? (allowed: share)",
        ),
        ({"outer": {"inner": {"share": 1}}}, "thing.outer.inner.share: input should be less than 1, not 1"),
        ({"outer": {3: 4}}, "thing.outer.3: keys should be strings, not 3"),
        ({"norm": "x" * 500}, f"thing.norm: input should be 'instance', 'batch' or 'none', not '{'x' * 56}..."),
    ],
)
def test_a_problem_is_named_for_a_reader_of_recipes(options, said):
    assert problems(options) == [said]


def test_an_unknown_key_lists_what_there_is():
    (said,) = problems({"raet": 0.1})
    assert said.startswith("thing.raet: unknown key 'raet'; did you mean 'rate'? (allowed: count, rate, scale, norm, ")


def test_what_is_missing_is_named():
    assert problems({}, needy) == ["thing.size: missing"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pair": ["a", "b"], "single": "c"}, "thing.of: give one of pair, single"),
        ({}, "thing.of: give one of pair, single"),
        ({"singel": "c"}, "thing.of.singel: unknown key 'singel'; did you mean 'single'? (allowed: pair, single)"),
        ({"single": 3}, "thing.of.single: input should be a valid string, not 3"),
    ],
)
def test_of_several_forms_one_is_asked_for(given, said):
    assert problems({"of": given}, formed) == [said]


def test_every_problem_is_named_once():
    found = problems({"count": 0, "rate": 0, "x": 1, "steps": [{"inner": {"share": 3}}, {"y": 1}]})
    assert [one.partition(":")[0] for one in found] == [
        *("thing.count", "thing.rate", "thing.steps.0.inner.share", "thing.steps.1.y", "thing.x"),
    ]


def test_no_message_speaks_of_classes():
    wrong = {name: object() for name in ("count", "rate", "norm", "layout", "either", "sizes", "steps", "outer")}
    text = "\n".join(problems(wrong)).replace(str(wrong), "")
    assert not any(word in text for word in ("Inner", "Outer", "tuple", "dictionary", "instance of", "constrained"))


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"rate": "1e-3"}, {"rate": 0.001}),
        ({"scale": 2}, {}),
        ({"scale": 2.0}, {"scale": "2"}),
        ({"count": "5"}, {"count": 5}),
        ({"outer": {"inner": {"share": 0.5}}}, {"outer": {}}),
        ({"outer": Outer()}, {}),
        ({"steps": [Outer()]}, {"steps": ({"many": [{"share": "0.25"}]},)}),
        ({"count": None}, {}),
    ],
)
def test_two_spellings_of_one_thing_resolve_to_the_same_bytes(options, same):
    assert repr(signature.resolved(build, options)) == repr(signature.resolved(build, same))


def test_resolving_twice_changes_nothing():
    once = signature.resolved(build, {"steps": [{}, {}], "rate": 0.25})
    assert signature.resolved(build, once) == once


def test_resolved_holds_every_option_and_nothing_from_the_pipeline():
    assert list(signature.resolved(build, {})) == signature.keys(build, "")[""]
    assert "shape" not in signature.resolved(build, {})


def test_arguments_are_the_objects_that_the_annotations_name():
    found = signature.arguments(build, {"steps": [{"inner": {"share": 0.75}}], "either": {"share": 0.1}})
    assert found["steps"] == (Outer(Inner(0.75)),)
    assert found["either"] == Inner(0.1)
    assert found["outer"] == Outer()
    assert found["count"] is None


def test_options_are_not_changed():
    options = {"steps": [{"inner": {"share": "0.5"}}]}
    signature.resolved(build, options)
    assert options == {"steps": [{"inner": {"share": "0.5"}}]}


def test_options_are_spelled_as_in_a_recipe():
    found = {one.name: one for one in signature.options(build)}
    assert found["count"] == signature.Option("count", "int (>= 1, <= 7)", "unset", "how many, in two lines.")
    assert found["rate"] == signature.Option("rate", "float (> 0, < 1)", "0.001", "of it: all.")
    assert found["norm"].annotation == "instance | batch | none"
    assert found["layout"].annotation == "bool | auto"
    assert found["steps"].annotation == "list of {inner, many} (length >= 1)"
    assert found["outer"].default == "{inner: {share: 0.5}, many: [{share: 0.25}]}"
    assert "shape" not in found
    assert [one.default for one in signature.options(needy)] == ["required"]


def test_an_option_that_came_later_is_left_out_at_its_default():
    """So the digests of runs from before it stay."""

    def build(*, size: int = 1, score: Annotated[str, signature.Later()] = "old") -> None:
        pass

    assert signature.resolved(build, {}) == {"size": 1}
    assert signature.resolved(build, {"score": "old"}) == {"size": 1}
    assert signature.resolved(build, {"score": "new"}) == {"size": 1, "score": "new"}
    assert signature.arguments(build, {}) == {"size": 1, "score": "old"}
