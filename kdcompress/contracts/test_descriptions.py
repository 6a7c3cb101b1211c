"""What every registered thing must say of itself."""

import pytest

from kdcompress.architectures import ARCHITECTURES
from kdcompress.contracts.conftest import names
from kdcompress.data import DATASETS
from kdcompress.losses import LOSSES
from kdcompress.profiling import COUNTERS
from kdcompress.strategies import STRATEGIES

REGISTRIES = [ARCHITECTURES, DATASETS, LOSSES, COUNTERS, STRATEGIES]


def pytest_generate_tests(metafunc):
    found = [(registry, name) for registry in REGISTRIES for name in names(registry, metafunc.config)]
    ids = [f"{registry.kind}-{name}" for registry, name in found]
    metafunc.parametrize(("registry", "name"), found, ids=ids)


def test_the_description_is_one_line(registry, name):
    text = registry.describe(name)
    assert 10 < len(text) < 110, "the first line of the docstring, or register(name, description)"
    assert "\n" not in text


def test_it_is_found_by_its_name(registry, name):
    assert registry[name] is not None
    assert name in registry
    assert name in set(registry)
    with pytest.raises(Exception, match="is registered already"):
        registry.register(name)(object())
