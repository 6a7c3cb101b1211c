import subprocess
import sys
import textwrap

import pytest

from kdcompress.errors import InputError
from kdcompress.registry import Entry, Registry, noting
from kdcompress.stage import loss

FRUIT = """
    from {package} import FRUIT

    @FRUIT.register("apple")
    def apple():
        "An apple."
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the name of a package with a registry of one built-in, not yet imported."""
    name = f"fruit_of_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from kdcompress.registry import Entry, Registry\n"
        f"FRUIT = Registry('fruit', {{'apple': Entry('{name}.apple:apple', 'Round.')}})\n"
    )
    (folder / "apple.py").write_text(textwrap.dedent(FRUIT.format(package=name)))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.fixture
def fruit(package):
    return __import__(package).FRUIT


def test_a_built_in_is_imported_when_it_is_used(fruit, package):
    assert list(fruit) == ["apple"]
    assert fruit.describe("apple") == "Round."
    assert "apple" in fruit
    assert len(fruit) == 1
    assert f"{package}.apple" not in sys.modules
    assert fruit["apple"].__doc__ == "An apple."
    assert f"{package}.apple" in sys.modules
    assert fruit["apple"] is sys.modules[f"{package}.apple"].apple


def test_a_name_that_is_looked_for_in_another_place_is_told_where():
    table = Registry("fruit", {}, {"tomato": "a tomato is a vegetable, list vegetables"})
    with pytest.raises(InputError, match=r"unknown fruit 'Tomato' \(allowed: none\); a tomato is a vegetable, list"):
        table["Tomato"]
    with pytest.raises(InputError, match=r"unknown fruit 'leek' \(allowed: none\)$"):
        table["leek"]


def test_a_taken_name_raises(fruit):
    fruit.register("pear", "Green.")(object())
    with pytest.raises(InputError, match="fruit 'pear' is registered already; choose another name"):
        fruit.register("pear")(object())
    assert fruit.describe("pear") == "Green."


@pytest.mark.parametrize("imported", [False, True])
def test_a_plug_in_cannot_take_the_name_of_a_built_in(fruit, imported):
    original = fruit["apple"] if imported else None
    with pytest.raises(InputError, match="fruit 'apple' is registered already"):
        fruit.register("apple")(object())
    assert fruit["apple"].__doc__ == "An apple."
    assert original in (None, fruit["apple"])


@pytest.mark.parametrize("ask", [Registry.__getitem__, Registry.describe])
def test_an_unknown_name_gives_the_nearest_and_the_list(fruit, ask):
    fruit.register("pear")(object())
    with pytest.raises(InputError, match=r"unknown fruit 'aple'; did you mean 'apple'\? \(allowed: apple, pear\)"):
        ask(fruit, "aple")


def test_names_are_sorted_and_counted_once(fruit):
    for name in ("zucchini", "banana"):
        fruit.register(name)(object())
    assert fruit["apple"]
    assert list(fruit) == ["apple", "banana", "zucchini"]
    assert len(fruit) == 3


def test_a_description_is_the_docstrings_first_line_unless_one_is_given():
    table = Registry("thing", {})

    @table.register("documented")
    def documented():
        """One line.

        And more.
        """

    @table.register("said", "Said.")
    def said():
        """Not this."""

    @table.register("bare")
    def bare():
        pass

    assert [table.describe(name) for name in ("documented", "said", "bare")] == ["One line.", "Said.", ""]


def test_register_returns_the_thing_itself():
    thing = object()
    assert Registry("thing", {}).register("x")(thing) is thing


def test_the_lazy_table_cannot_be_changed_from_outside(fruit):
    fruit.builtins()["plum"] = Entry("nowhere:plum", "")
    assert "plum" not in fruit


def test_listing_everything_imports_neither_torch_nor_what_is_listed():
    code = """
        import sys
        from kdcompress.architectures import ARCHITECTURES
        from kdcompress.data import DATASETS
        from kdcompress.losses import LOSSES
        from kdcompress.strategies import STRATEGIES

        tables = (ARCHITECTURES, DATASETS, LOSSES, STRATEGIES)
        assert all(len(table.describe(name)) > 10 for table in tables for name in table)
        modules = {entry.module for table in tables for entry in table.builtins().values()}
        assert modules
        print({"torch", "sklearn", "torchvision", *modules} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_is_registered_meanwhile_is_noted_without_built_ins(fruit):
    with noting() as noted:
        fruit.register("pear")(object())
        assert fruit["apple"]
    fruit.register("plum")(object())
    assert noted == [(fruit, "pear")]


def test_what_a_failing_block_registered_is_taken_back(fruit):
    fruit.register("pear")(object())

    def failing():
        with noting():
            fruit.register("plum")(object())
            return 1 / 0

    with pytest.raises(ZeroDivisionError, match="division"):
        failing()
    assert list(fruit) == ["apple", "pear"]
    fruit.register("plum")(object())


def test_a_record_around_a_function_is_described_by_it():
    table = Registry("loss", {})

    @table.register("mine")
    @loss()
    def mine(own, other):
        """What it does."""

    assert table.describe("mine") == "What it does."
