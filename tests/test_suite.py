import pytest
import yaml

from kdcompress import suite
from kdcompress.errors import InputError, RecipeError
from kdcompress.scale.tasks import tasks
from tests.recipes import TINY

GRID = {"data.normal_class": [0, 1], "seed": [0, 1, 2]}


def plain(**changes):
    return {**TINY, "grid": GRID, **changes}


def test_cells_are_the_product_with_the_last_axis_fastest():
    cells = suite.parse(plain()).cells
    assert [(one.recipe.data.options["normal_class"], one.recipe.seed) for one in cells] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    assert [one.name for one in cells[:2]] == ["tiny_normal_class-0_seed-0", "tiny_normal_class-0_seed-1"]


def test_a_cell_is_the_recipe_that_one_would_write_by_hand():
    from kdcompress.recipe import parse

    cell = suite.parse(plain()).cells[4]
    by_hand = parse({**TINY, "data": {**TINY["data"], "normal_class": 1}, "seed": 1})
    assert cell.recipe == by_hand


def test_a_grid_runs_over_recipes_from_the_suites_folder_and_shipped_ones(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**TINY, "name": "mine"}))
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump({"engine": {"threads": 1}, "grid": {"recipe": ["mine.yaml", "digits"]}}))
    found = suite.load(str(path))
    assert [one.recipe.name for one in found.cells] == ["mine", "digits"]
    assert [one.recipe.engine.threads for one in found.cells] == [1, 1]
    assert [one.name for one in found.cells] == ["mine", "digits"]
    assert found.name == "both"


def test_sections_of_the_suite_go_over_those_of_its_recipe():
    found = suite.parse({"name": "s", "recipe": "digits", "data": {"normal_class": 3}, "grid": {"seed": [5]}})
    recipe = found.cells[0].recipe
    assert recipe.data.options["normal_class"] == 3
    assert recipe.seed == 5
    assert recipe.teacher is not None


def test_overrides_change_the_suite(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(plain(name="s")))
    found = suite.load(str(path), ["grid.seed=[7]", "engine.threads=2"])
    assert {one.recipe.seed for one in found.cells} == {7}
    assert {one.recipe.engine.threads for one in found.cells} == {2}
    with pytest.raises(RecipeError, match=r"--set seed=3: the grid runs over seed: set grid.seed"):
        suite.load(str(path), ["seed=3"])
    path.write_text("grid: 3")
    with pytest.raises(InputError, match=r"grid: .* not 3"):
        suite.load(str(path), ["seed=3"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": {}}, "grid: .*at least 1"),
        ({"grid": {"seed": []}}, "grid.seed: .*at least 1"),
        ({"grid": {"seed": 3}}, "grid.seed: .*list"),
        ({"grid": {"seed": [1, 1]}}, "grid.seed: 1 stands there twice"),
        ({"grid": {"name": ["a", "b"]}}, "grid.name: cells cannot differ in it"),
        ({"grid": {"seed": list(range(101)), "student.width": [i / 1000 for i in range(1, 101)]}}, "10,100 cells"),
        ({"grid": {"seeed": [1]}}, "unknown key 'seeed'; did you mean 'seed'"),
        ({"togther": 3}, r"^suite: togther: unknown key 'togther'; did you mean 'together'\? \(allowed: .*tuned_on\)$"),
        ({"together": 1}, "^suite: together: "),
        ({"grid": {"recipe": ["nonsense"]}}, "unknown recipe 'nonsense'"),
        ({"grid": {"recipe": [3]}}, "grid.recipe: expected names of recipes, not 3"),
        ({"grid": {"seed.x": [3]}, "seed": 1}, "'x' cannot be set: what is above it is a single value"),
        ({"grid": {"seed": ["many"]}}, "seed: .*integer"),
        ({"recipe": "digits", "grid": {"recipe": ["digits"]}}, "the grid runs over recipes"),
        ({"tuned_on": {"mnist": "all"}}, "tuned_on.mnist: .*list"),
        ({"published": {"mnist": {"source": "x", "student_auroc": 97}}}, "published.mnist.student_auroc: .*1"),
    ],
)
def test_what_is_wrong_is_said(changes, said):
    with pytest.raises(InputError, match=said):
        suite.parse(plain(**changes))


def test_a_problem_of_all_cells_is_said_once_and_each_with_its_file():
    with pytest.raises(InputError, match="unknown key 'sead'; did you mean 'seed'") as error:
        suite.parse(plain(sead=3, controll=True), "s.yaml")
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("s.yaml: ") for line in lines)


def test_what_a_suite_says_wrong_over_its_recipe_is_said_with_the_suites_file():
    wrong = {"name": "s", "recipe": "digits", "grid": {"seed": [1]}, "teacher": {"strategy": {"epocs": 3}}}
    with pytest.raises(InputError, match=r"^s.yaml over .*digits.yaml: teacher.strategy.epocs: unknown key 'epocs'"):
        tasks(suite.parse(wrong, "s.yaml"))
    wrong = {"name": "s", "recipe": "digits", "grid": {"seed": ["x"]}}
    with pytest.raises(InputError, match=r"^s.yaml over .*digits.yaml: seed: input should be a"):
        suite.parse(wrong, "s.yaml")


def test_a_recipe_is_no_suite():
    with pytest.raises(RecipeError, match=r"grid: missing: this is one run; use `kdcompress distill`"):
        suite.parse(TINY)


def test_a_suite_is_no_recipe():
    from kdcompress.recipe import parse

    with pytest.raises(RecipeError, match=r"grid: this is a suite of runs; use `kdcompress benchmark`"):
        parse(plain())


def test_cells_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.yaml").write_text(yaml.safe_dump({**TINY, "name": "same"}))
    grid = {"recipe": ["a/same.yaml", "b/same.yaml"]}
    with pytest.raises(RecipeError, match="two cells would be named same"):
        suite.parse({"name": "s", "grid": grid}, str(tmp_path / "s.yaml"))


def test_names_of_cells_are_names_of_files():
    steps = [[{"teacher": "frozen", "gan": gan, "epochs": 1}] for gan in (False, True)]
    grid = {"strategy.steps": steps, "data.root": ["a/../b", "c d"]}
    names = [one.name for one in suite.parse(plain(grid=grid)).cells]
    assert names == [
        "tiny_steps-1_root-a-..-b",
        "tiny_steps-1_root-c-d",
        "tiny_steps-2_root-a-..-b",
        "tiny_steps-2_root-c-d",
    ]
