"""The kinds of things that recipes name, without importing any of them."""

from __future__ import annotations

from typing import Any

from kdcompress import library
from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.modules import MODULES
from kdcompress.data import DATASETS
from kdcompress.errors import InputError, unknown
from kdcompress.losses import LOSSES
from kdcompress.profiling import COUNTERS
from kdcompress.registry import Registry
from kdcompress.strategies import STRATEGIES

REGISTRIES: dict[str, Registry[Any]] = {
    "architectures": ARCHITECTURES,
    "data": DATASETS,
    "strategies": STRATEGIES,
    "losses": LOSSES,
    "modules": MODULES,
    "counters": COUNTERS,
}
KINDS = ("recipes", *REGISTRIES)
_SINGULAR = {
    "recipe": "recipes",
    "dataset": "data",
    "datasets": "data",
    "architecture": "architectures",
    "strategy": "strategies",
    "loss": "losses",
    "module": "modules",
    "counter": "counters",
}


def kind_of(name: str) -> str:
    """Return the kind of a name in singular or plural.

    Raises:
        InputError: where there is no such kind.
    """
    kind = _SINGULAR.get(name, name)
    if kind not in KINDS:
        raise InputError(unknown("kind", name, KINDS))
    return kind


def described(kind: str) -> dict[str, str]:
    """Return the names of a kind with their one-line descriptions."""
    if kind == "recipes":
        return {name: str(library.read(path).get("description", "")) for name, path in library.shipped().items()}
    return {name: REGISTRIES[kind].describe(name) for name in REGISTRIES[kind]}
