"""Which layers stay in float: those that cost most of the scores' order, until it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MOST_MEASURED = 24
"""Layers that are measured one by one; where there are more, neighbours are measured together."""


@dataclass(frozen=True)
class Choice:
    """Which layers are in eight bits, and what that was found by.

    Attributes:
        layers: in eight bits, in order.
        kept: of the scores' order, as a rank correlation.
        costs: by layer, what it alone in float gives back; empty where nothing had to be.
    """

    layers: tuple[str, ...]
    kept: float
    costs: dict[str, float] = field(default_factory=dict)


def choose(layers: Sequence[str], kept_by: Callable[[Sequence[str]], float], wanted: float) -> Choice:
    """Leave layers in float, the one that costs most first, until a rank correlation is reached.

    Each layer is measured once and the order then stays: at most 2 x `MOST_MEASURED` trials, and one.

    Args:
        layers: that can be in eight bits.
        kept_by: layers in eight bits to the rank correlation of their scores with those in float.
        wanted: rank correlation.
    """
    whole = kept_by(layers)
    if whole >= wanted:
        return Choice(tuple(layers), whole)
    costs = costs_of(layers, kept_by, whole)
    left, kept = list(layers), whole
    best = Choice(tuple(layers), whole, costs)
    for group in sorted(_groups(layers), key=lambda one: -costs[one[0]]):
        left = [one for one in left if one not in group]
        if not left:
            break
        kept = kept_by(left)
        if kept > best.kept:
            best = Choice(tuple(left), kept, costs)
        if kept >= wanted:
            break
    return best


def costs_of(layers: Sequence[str], kept_by: Callable[[Sequence[str]], float], whole: float) -> dict[str, float]:
    """Return what each layer in float gives back where all others are in eight bits; ``whole`` is kept by all."""
    if len(layers) == 1:
        return {layers[0]: 1 - whole}
    costs = {}
    for group in _groups(layers):
        found = kept_by([one for one in layers if one not in group]) - whole
        costs.update(dict.fromkeys(group, found))
    return costs


def _groups(layers: Sequence[str]) -> list[Sequence[str]]:
    size = -(-len(layers) // MOST_MEASURED)
    return [layers[start : start + size] for start in range(0, len(layers), size)]
