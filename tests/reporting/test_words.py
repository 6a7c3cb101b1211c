"""A row is told from the others by its label, which says no more than that."""

import pytest

from kdcompress.reporting.words import Row, labels, short


def said(*places, recipes="plain", data="mnist"):
    """Return the labels of rows at the places; recipes and data sets of each, or of all."""
    recipes, data = ([one] * len(places) if isinstance(one, str) else one for one in (recipes, data))
    return labels([Row(*one) for one in zip(recipes, data, places, strict=True)], places)


def section(teacher, strategy="fitted", **student):
    taught = {"architecture": {"name": teacher}, "strategy": {"name": strategy}}
    return {"teacher": taught, "student": {**student, "macs": 2000}}


def test_what_all_rows_have_is_left_out():
    widths = [{"student.width": width, "strategy.epochs": 3} for width in (0.5, 0.25)]
    assert said(*widths) == ["width 0.5", "width 0.25"]
    assert said(*({**one, "recipe": "a"} for one in widths)) == ["width 0.5", "width 0.25"]


def test_names_stand_alone():
    assert said({"strategy.name": "hint"}, {"strategy.name": "latent"}) == ["hint", "latent"]


@pytest.mark.parametrize("place", [{}, {"recipe": "a"}, {"student.width": 0.5}, {"data.name": "mnist"}])
def test_a_single_row_has_the_recipes_name(place):
    assert said(place) == ["plain"]


def test_recipes_are_named_where_the_grid_runs_over_them():
    places = [{"recipe": f"{name}.yaml", "student.width": w} for name in "ab" for w in (1, 2)]
    assert said(*places, recipes=["a", "a", "b", "b"]) == ["a, width 1", "a, width 2", "b, width 1", "b, width 2"]
    assert said(*places[::2], recipes=["a", "b"]) == ["a", "b"]


def test_data_sets_have_tables_of_their_own_and_are_not_in_labels():
    names = "mnist", "cifar10"
    assert said(*({"data.name": one} for one in names), data=names) == ["plain", "plain"]
    assert said(*({"data": {"name": one, "most": 9}} for one in names), data=names) == ["plain", "plain"]
    places = [{"data.name": one, "strategy.name": name} for one in names for name in ("hint", "latent")]
    assert said(*places, data=["mnist", "mnist", "cifar10", "cifar10"]) == ["hint", "latent"] * 2


def test_of_sections_only_what_differs_is_said():
    assert said(
        section("forest", name="prototypes"),
        section("forest", name="deep_svdd", latent=8),
        section("neighbours", name="prototypes"),
    ) == ["forest, prototypes", "forest, deep_svdd latent 8", "neighbours, prototypes"]
    assert said({"teacher": section("forest")["teacher"]}, {"teacher": {"bundle": None}}) == [
        "forest fitted",
        "bundle null",
    ]


def test_a_section_with_nothing_of_its_own_is_told_by_what_all_have():
    assert said({"student": {"name": "vae", "macs": 9}}, {"student": {"name": "vae", "macs": 9, "latent": 8}}) == [
        "vae macs 9",
        "latent 8",
    ]
    assert said({"student": {}}, {"student": {"latent": 8}}) == ["student {}", "latent 8"]


def test_words_that_could_be_anothers_are_whole_keys():
    grid = [{"teacher.latent": a, "student.latent": b, "student.width": 1 / b} for a, b in ((8, 4), (4, 8))]
    assert said(*grid) == [
        "teacher.latent 8, student.latent 4, width 0.25",
        "teacher.latent 4, student.latent 8, width 0.125",
    ]
    # A name is a setting of its own kind where no other has it.
    assert said({"a.name": "x", "b.name": "y"}, {"a.name": "y", "b.name": "x"})[0] == "a.name x, b.name y"
    assert said({"a.name": "x", "b.name": "y"}, {"a.name": "w", "b.name": "z"})[0] == "x, y"


@pytest.mark.parametrize(
    ("places", "found"),
    [
        (({"a.b": 0.12341}, {"a.b": 0.12342}), ["a.b 0.12341", "a.b 0.12342"]),
        (({"a.b": 4}, {"a.b": "4"}), ["a.b 4", 'a.b "4"']),
        (({"recipe": "one/x.yaml"}, {"recipe": "two/x.yaml"}), ['recipe "one/x.yaml"', 'recipe "two/x.yaml"']),
        (({"a": {"x": "y" * 90}}, {"a": {"x": "y" * 91}}), [f'a {{"x": "{"y" * count}"}}' for count in (90, 91)]),
    ],
)
def test_no_two_rows_are_called_the_same(places, found):
    assert said(*places) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "none"),
        (["noise"], "noise"),
        (["noise", "mixes"], "noise + mixes"),
        ([1, 2], "[1, 2]"),
        (0.123456, "0.1235"),
        (None, "null"),
        ({"architecture": {"name": "forest"}, "strategy": {"name": "fitted", "at": [1, 2]}}, "forest fitted at [1, 2]"),
        ({}, "{}"),
        ("x" * 61, "x" * 57 + "..."),
    ],
)
def test_values_are_written_as_one_reads_them(value, text):
    assert short(value) == text
