import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kdcompress"

# Imports go down only; members of one layer do not import each other.
LAYERS = [
    {"errors"},
    {"disk", "memory", "registry", "seeding", "signals", "document"},
    {"signature", "results", "deployment", "plugins", "library", "pinned", "pt2archive"},
    {"lineage"},
    {"recipe", "contents", "product"},
    {"rundir", "suite"},
    {"suitedir", "space"},
    {"searchdir"},
    {"types", "queries", "fingerprint"},
    {"stage"},
    {"architectures", "data", "losses", "profiling"},
    {"bundle", "strategies", "engine", "evaluation", "students"},
    {"resolve", "environment", "reporting", "planning", "teachers"},
    {"outcome", "specimens", "schema"},
    {"training"},
    {"start"},
    {"pipeline"},
    {"scale", "exporting", "wrapping"},
    {"api", "prediction"},
    {"cli", "contracts"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))
LAZY = {"__init__"}  # the package itself imports its public names when they are first used


def unit(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path):
    """Return the dotted names of everything that a module imports at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        yield from names


def ours(path):
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "kdcompress" and len(parts) > 1 and parts[1] in LEVEL:
            yield parts[1]


def test_every_module_has_a_layer():
    assert {unit(path) for path in MODULES} - LAZY == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    own = unit(path)
    if own in LAZY:
        return
    wrong = {other for other in ours(path) if other != own and LEVEL[other] >= LEVEL[own]}
    assert not wrong, f"{own} imports {sorted(wrong)}"


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("click", {"cli", "__main__"}),
        ("thop", {"profiling"}),
        ("fvcore", {"profiling"}),
        ("torchvision", {"data", "architectures"}),
        ("pandas", {"data"}),
        ("rich", {"cli"}),
        ("pytest", {"contracts"}),
        ("matplotlib", {"reporting"}),
        ("jinja2", {"reporting"}),
        ("torch_pruning", {"architectures"}),
        ("skops", {"architectures"}),
        ("optuna", {"scale"}),
        ("ray", {"scale"}),
        ("onnx", {"exporting"}),
        ("onnxruntime", {"exporting", "architectures"}),
    ],
)
def test_a_library_stays_where_it_belongs(library, allowed):
    users = {unit(path) for path in MODULES if any(name.split(".")[0] == library for name in imported(path))}
    assert users <= allowed
    assert users, f"nothing imports {library}: the rule is out of date"


@pytest.mark.parametrize(
    "name",
    [
        "errors",
        "registry",
        "seeding",
        "signature",
        "results",
        "deployment",
        "recipe",
        "contents",
        "product",
        "rundir",
        "reporting",
        "plugins",
        "library",
        "lineage",
        "pinned",
        "pt2archive",
        "suite",
        "suitedir",
    ],
)
def test_what_must_start_fast_does_not_import_torch(name):
    paths = [path for path in MODULES if unit(path) == name]
    assert paths
    for path in paths:
        assert not [one for one in imported(path) if one.split(".")[0] in {"torch", "sklearn"}], path
