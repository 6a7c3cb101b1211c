"""Networks of the user's own, by the names that recipes use (no torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from kdcompress.registry import Registry

if TYPE_CHECKING:
    from torch import nn

ModuleBuilder: TypeAlias = "Callable[..., nn.Module]"
"""``build() -> nn.Module``, or ``build(width=1.0) -> nn.Module`` for one that can be narrowed."""

MODULES: Registry[ModuleBuilder] = Registry("module", {})
