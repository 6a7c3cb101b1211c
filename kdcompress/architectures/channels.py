"""What is said of channels that layers lose, and how a tensor loses some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from kdcompress.errors import InputError

Side: TypeAlias = Literal["out", "in"]
Kept: TypeAlias = Sequence[int]
"""Channels that stay, ascending."""


@dataclass(frozen=True)
class Rule:
    """What a kind of layer does with its channels.

    Attributes:
        size: number of channels on a side.
        blocks: number of equal runs of a side's channels that all have to keep equally many.
        narrow: leaves the channels of both sides that are given; a layer whose sides are one looks at ``out`` alone.
        ignore: makes a layer deaf to channels that it reads, its own state among them.
        unfit: says what this rule cannot do with a layer; an empty string where it can.
        names: of the tensors that are cut.
    """

    size: Callable[[Any, Side], int]
    narrow: Callable[[Any, Kept, Kept], None]
    names: Callable[[Any], Sequence[str]]
    blocks: Callable[[Any, Side], int] = lambda layer, side: 1
    ignore: Callable[[Any, Side, Sequence[int]], None] = lambda layer, side, gone: None
    unfit: Callable[[Any], str] = lambda layer: ""


def refused(layer: nn.Module, name: str, why: str) -> InputError:
    """Return the error for a layer that cannot be narrowed."""
    return InputError(f"cannot narrow {type(layer).__name__} '{name}': {why}")


def cut(layer: nn.Module, name: str, dim: int, kept: Kept) -> None:
    """Leave the given slices of one of a layer's tensors."""
    old: Tensor | None = getattr(layer, name)
    if old is None:
        return
    new = old.detach().index_select(dim, torch.tensor(list(kept), device=old.device))
    setattr(layer, name, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)


def long(parameter: Tensor) -> int:
    """Return the one dimension of a parameter that has channels; -1 where there are several."""
    long = [dim for dim, size in enumerate(parameter.shape) if size > 1]
    return long[0] if len(long) == 1 else -1


def runs(kept: Kept, size: int, count: int) -> list[list[int]]:
    """Return what is kept of each of some equal runs, counted from the run's own first channel."""
    length = size // count
    return [[one - run * length for one in kept if one // length == run] for run in range(count)]
