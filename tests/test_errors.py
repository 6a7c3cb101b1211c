import pickle

import pytest

from kdcompress import errors
from kdcompress.errors import (
    BundleError,
    DataError,
    InputError,
    KdcompressError,
    RecipeError,
    ScoreError,
    near,
    unknown,
)

KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]


@pytest.mark.parametrize(
    ("name", "allowed", "guess"),
    [
        ("mnits", ["mnist", "cifar10"], "mnist"),
        ("MNIST", ["mnist", "cifar10"], "mnist"),
        ("ede-gan", ["ede_gan", "conv_ae"], "ede_gan"),
        ("mnist", ["MNIST"], "MNIST"),
    ],
)
def test_the_nearest_name_is_guessed_as_it_is_spelled(name, allowed, guess):
    assert near(name, allowed) == f"; did you mean '{guess}'?"


@pytest.mark.parametrize(("name", "allowed"), [("zzz", ["mnist"]), ("mnist", []), ("", ["mnist"])])
def test_nothing_is_guessed_where_nothing_is_near(name, allowed):
    assert near(name, allowed) == ""


def test_unknown_lists_what_there_is_in_order():
    assert unknown("loss", "fist", ["second", "first"]) == (
        "unknown loss 'fist'; did you mean 'first'? (allowed: first, second)"
    )
    assert unknown("loss", "x", []) == "unknown loss 'x' (allowed: none)"


def test_a_name_of_a_megabyte_does_not_fill_the_screen():
    assert len(unknown("loss", "x" * 1_000_000, ["l1"])) < 200


@pytest.mark.parametrize(
    ("kind", "code"), [(InputError, 2), (DataError, 2), (BundleError, 2), (ScoreError, 1), (KdcompressError, 1)]
)
def test_exit_codes_tell_wrong_input_from_the_rest(kind, code):
    assert kind("x").exit_code == code


def test_a_recipe_error_says_where_at_every_problem():
    error = RecipeError("a.yaml", ["seed: missing", "data: missing"])
    assert str(error) == "a.yaml: seed: missing\na.yaml: data: missing"
    assert error.exit_code == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_travels_between_processes(kind):
    error = kind("a.yaml", ["one", "two"]) if kind is RecipeError else kind("what")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)
