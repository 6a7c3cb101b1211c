import importlib

import pytest

from kdcompress import signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.data import DATASETS
from kdcompress.losses import LOSSES
from kdcompress.profiling import COUNTERS
from kdcompress.registry import Registry
from kdcompress.strategies import STRATEGIES

REGISTRIES = [ARCHITECTURES, DATASETS, LOSSES, COUNTERS, STRATEGIES]
ENTRIES = [(registry, name) for registry in REGISTRIES for name in registry.builtins()]


@pytest.mark.parametrize(
    ("registry", "name"), ENTRIES, ids=lambda value: value if isinstance(value, str) else value.kind
)
def test_the_table_points_at_what_is_registered(registry, name):
    module, _, attribute = registry.builtins()[name].target.partition(":")
    assert getattr(importlib.import_module(module), attribute) is registry[name]


@pytest.mark.parametrize("registry", [ARCHITECTURES, DATASETS, STRATEGIES], ids=lambda registry: registry.kind)
def test_options_are_read_from_the_source_as_the_signature_has_them(registry):
    unread = Registry(registry.kind, registry.builtins())
    assert {name: unread.options(name) for name in unread} == {
        name: tuple(signature.model_of(registry[name]).model_fields) for name in unread
    }


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_modules_register_nothing_that_is_not_in_the_table(registry):
    for name in registry:
        registry[name]
    assert set(registry) == set(registry.builtins())
