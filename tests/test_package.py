import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import kdcompress
from kdcompress import library

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def lines(section, key):
    return [line for line in SETUP[section][key].splitlines() if line]


def test_every_folder_with_code_is_in_the_list_of_packages():
    folders = {path.parent for path in (ROOT / "kdcompress").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(lines("options", "packages")) == names | {"kdcompress.recipes"}


def test_every_shipped_recipe_is_found_by_name():
    assert set(library.shipped()) == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert library.DEFAULT in library.shipped()


def test_pre_commit_runs_the_versions_of_the_test_extra():
    extra = {one.partition("==")[0]: one for one in lines("options.extras_require", "test") if "==" in one}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    pinned = [one for hook in hooks for one in hook.get("additional_dependencies", [])]
    assert pinned
    assert {one.partition("==")[0] for one in pinned} <= set(extra)
    assert all(one == extra[one.partition("==")[0]] for one in pinned)


def test_what_is_imported_is_declared():
    wanted = [
        *lines("options", "install_requires"),
        *lines("options.extras_require", "tables"),
        *lines("options.extras_require", "export"),
        *lines("options.extras_require", "prune"),
        *lines("options.extras_require", "search"),
        *lines("options.extras_require", "skops"),
        *lines("options.extras_require", "ray"),
    ]
    declared = {re.split(r"[><=;\[ ]", one)[0].lower() for one in wanted}
    spelled = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "pydantic_core": "pydantic-core"}
    spelled["onnx_ir"], spelled["torch_pruning"] = "onnxscript", "torch-pruning"
    imports = set()
    for path in (ROOT / "kdcompress").rglob("*.py"):
        if "contracts" in path.parts:
            continue  # tests, which need the extra of that name
        imports |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    foreign = {name for name in imports if name not in sys.stdlib_module_names and name != "kdcompress"}
    assert {spelled.get(name, name).lower() for name in foreign} <= declared


def test_other_extras_have_what_tables_need():
    tables = set(lines("options.extras_require", "tables"))
    assert tables
    assert all(tables <= set(lines("options.extras_require", extra)) for extra in ("test", "all"))


def test_the_agpl_counter_is_not_declared():
    assert "ultralytics" not in (ROOT / "setup.cfg").read_text()


def test_public_names_are_there_and_unknown_ones_are_not():
    assert all(getattr(kdcompress, name) is not None for name in kdcompress.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kdcompress.nothing


def test_importing_the_package_imports_neither_torch_nor_anything_slow():
    code = "import sys, kdcompress; print(sorted({'torch', 'numpy', 'pydantic', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_a_wheel_runs_the_main_job_where_nothing_else_of_this_tree_is(tmp_path):
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(pip, check=True)
    code = f"import sys; sys.path.insert(0, {str(target)!r}); from kdcompress.__main__ import main; main(['distill'])"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    assert list(tmp_path.glob("runs/digits/*/report.html"))
