"""Which names the contract tests run over: the built-ins', or those of the plug-ins given with ``--plugin``."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdcompress import plugins
from kdcompress.errors import InputError
from kdcompress.plugins import Plugin
from kdcompress.registry import Registry
from kdcompress.signature import required

GIVEN = pytest.StashKey[tuple[Plugin, ...]]()
FOLDER = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what a plug-in author gives."""
    group = parser.getgroup("kdcompress")
    group.addoption("--plugin", action="append", default=[], metavar="FILE", help="test what this plug-in registers")
    group.addoption(
        "--input", default="1,16,16", metavar="SHAPE", help="of a sample, for architectures (uint8 if C,H,W)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the plug-ins."""
    try:
        config.stash[GIVEN] = tuple(plugins.load(file) for file in config.getoption("--plugin"))
    except InputError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is tested."""
    return [
        f"contracts of {one.path}: {', '.join(f'{kind} {name}' for kind, name in one.registered)}"
        for one in config.stash[GIVEN]
    ]


def names(registry: Registry[object], config: pytest.Config) -> list[str]:
    """Return the names of a kind that are tested."""
    given = config.stash[GIVEN]
    if not given:
        return [name for name in sorted(registry.builtins()) if not (callable(one := registry[name]) and required(one))]
    return [name for one in given for kind, name in one.registered if kind == registry.kind]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test over each name of its module's registry, or over those of them that its module wants."""
    registry = getattr(metafunc.module, "REGISTRY", None)
    if registry is None or "name" not in metafunc.fixturenames:
        return
    wanted = getattr(metafunc.function, "wants", lambda name: True)
    found = [name for name in names(registry, metafunc.config) if wanted(name)]
    metafunc.parametrize("name", found, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a plug-in has no part in."""
    if config.stash[GIVEN]:
        items[:] = [one for one in items if FOLDER not in one.path.parents or "name" in _params(one)]


def _params(item: pytest.Item) -> dict[str, object]:
    spec = getattr(item, "callspec", None)
    chosen = dict(spec.params) if spec is not None else {}
    return chosen if isinstance(chosen.get("name"), str) else {}


@pytest.fixture
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """The shape of one raw sample for architectures."""
    return tuple(int(side) for side in request.config.getoption("--input").split(","))
