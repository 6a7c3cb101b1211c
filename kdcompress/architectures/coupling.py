"""Which channels of a network stay or go as one, and which of those can stand in for each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn

from kdcompress.architectures import layer_rules
from kdcompress.architectures.channels import Side, long, refused
from kdcompress.architectures.tracing import At, Recurrent, Trace, traced
from kdcompress.errors import InputError

Place: TypeAlias = tuple[str, Side, int]
"""A layer's or a parameter's name, a side of it, and the channel there."""
Channel: TypeAlias = tuple[Place, ...]
"""Everything that stays or goes as one."""
Gone: TypeAlias = Mapping[tuple[str, Side], Sequence[int]]
"""The channels that are cut, by the layer and the side."""


@dataclass(frozen=True)
class Coupling:
    """What can be cut from a network: it depends on how the network is built, and not on its weights.

    Attributes:
        families: channels that have their places in the same layers: whichever of a family are cut, what is left has
            the same shape.
        shapes: of the network's outputs without the batch.
        state: the shapes in its state dict.
        given: the shape of an example input.
    """

    families: tuple[tuple[Channel, ...], ...]
    shapes: Mapping[str, tuple[int, ...]]
    state: Mapping[str, tuple[int, ...]]
    given: tuple[int, ...]

    def gone(self, width: float, importance: Mapping[Channel, float] | None = None) -> Gone:
        """Return what is cut at a width: of each family the least important, or the last."""
        found: dict[tuple[str, Side], list[int]] = defaultdict(list)
        for family in self.families:
            count = kept(len(family), width)
            ranked: Sequence[Channel] = family
            if importance is not None:
                # Sorting is stable: the first of equals stay.
                ranked = sorted(family, key=lambda channel: -importance[channel])
            for layer, side, index in (place for channel in ranked[count:] for place in channel):
                found[layer, side].append(index)
        return found


def kept(count: int, width: float) -> int:
    """Return how many of some channels stay at a width: one at least, and no more than there are."""
    return min(count, max(1, round(count * width)))


def coupled(network: nn.Module, x: Tensor) -> Coupling:
    """Return what can be cut from a network, by Torch-Pruning's dependency graph.

    Raises:
        InputError: with the layer's kind and name, where it cannot be cut, or nothing can.
    """
    owners = Counter(id(one) for module in network.modules() for one in module._parameters.values() if one is not None)
    for name, module in network.named_modules():
        if shared := [one for one in module._parameters.values() if one is not None and owners[id(one)] > 1]:
            what = next(key for key, one in module._parameters.items() if one is shared[0])
            raise refused(module, name, f"its {what} is shared with another layer")
    trace = traced(network, x)
    families: dict[Any, list[Channel]] = defaultdict(list)
    runs = {name: _runs(module) for module, name in trace.names.items()}
    for channel in _channels(trace):
        families[_kind(runs, channel)].append(channel)
    if not any(len(family) > 1 for family in families.values()):
        unknown = [
            f"{type(module).__name__} '{name}'" if name else f"{type(module).__name__}'s own parameters"
            for name, module in network.named_modules()
            if layer_rules.rule_of(module) is None and any(True for _ in module.parameters(recurse=False))
        ]
        raise InputError(
            "nothing to narrow: every channel is one of the input or of an output that has to keep its shape "
            f"({', '.join(trace.shapes)}){'; no rule for ' + ', '.join(unknown) if unknown else ''}"
        )
    state = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    ordered = sorted(tuple(sorted(family)) for family in families.values())
    return Coupling(tuple(ordered), trace.shapes, state, tuple(x.shape))


class _Union:
    """Sets that grow together."""

    def __init__(self) -> None:
        self.above: dict[Any, Any] = {}

    def top(self, one: Any) -> Any:  # noqa: ANN401
        self.above.setdefault(one, one)
        while self.above[one] != one:
            self.above[one] = one = self.above[self.above[one]]
        return one

    def join(self, one: Any, other: Any) -> None:  # noqa: ANN401
        self.above[self.top(one)] = self.top(other)


def _channels(trace: Trace) -> list[Channel]:
    """Return what stays or goes as one, without what the input and the outputs fix.

    Each edge of the graph maps each channel by itself: a group of Torch-Pruning's names one only of several channels of
    its root that meet in one channel of another layer.
    """
    nodes, sets, seen = trace.graph.module2node, _Union(), set()
    size = {id(module): _size(trace, module) for module in nodes}
    for root in trace.roots():
        count = size[id(root)]["out"]
        handler = trace.graph.get_pruner_of_module(root).prune_out_channels
        waiting = [(nodes[root], handler, list(range(count)))] if count > 1 else []
        while waiting:
            node, function, indices = waiting.pop()
            here = (id(node.module), trace.side(function))
            indices = [one for one in indices if (*here, one) not in seen]
            seen |= {(*here, one) for one in indices}
            for one in indices:
                sets.top((*here, one))
            for edge in node.dependencies if indices else ():
                there = (id(edge.target.module), trace.side(edge.handler))
                # What has one channel gives it to all of another's, and none of them is its own.
                if not edge.is_triggered_by(function) or size[there[0]].get(there[1]) == 1:
                    continue
                mapped: Any = [At(one, one) for one in indices]
                for mapping in edge.index_mapping:
                    mapped = mapping(mapped) if mapping is not None else mapped
                for one in mapped:
                    sets.join((*here, one.root_idx), (*there, one.idx))
                waiting.append((edge.target, edge.handler, [one.idx for one in mapped]))
    return _places(trace, sets, size)


def _places(trace: Trace, sets: _Union, size: Mapping[int, Mapping[str, int]]) -> list[Channel]:
    modules = {id(module): module for module in trace.graph.module2node}
    together: dict[Any, list[tuple[Any, Side, int]]] = defaultdict(list)
    for own, side, index in list(sets.above):
        together[sets.top((own, side, index))].append((modules[own], side, index))
    found = []
    for places in together.values():
        if any(trace.fixed(module) for module, *_ in places):
            continue
        named = []
        for module, side, index in places:
            if module not in trace.names:
                continue
            _check(trace, module, side, index, size[id(module)])
            named.append((trace.names[module], side, index))
        found.append(tuple(sorted(named)))
    return found


def _size(trace: Trace, module: Any) -> dict[str, int]:  # noqa: ANN401
    """Return the number of channels on each side of a layer, of a parameter, of nothing else."""
    if isinstance(module, nn.Parameter):
        return {"out": module.numel() if long(module) >= 0 else -1}
    layer = module.layer if isinstance(module, Recurrent) else module
    rule = layer_rules.rule_of(layer) if module in trace.names else None
    return {side: rule.size(layer, side) for side in ("out", "in")} if rule is not None else {}


def _check(trace: Trace, module: Any, side: Side, index: int, size: Mapping[str, int]) -> None:  # noqa: ANN401
    """Raise an InputError where a layer that would lose channels cannot."""
    name = trace.names[module]
    if isinstance(module, nn.Parameter):
        above, _, last = name.rpartition(".")
        if size["out"] < 0:
            owner = trace.network.get_submodule(above)
            raise refused(owner, above, f"its {last} of shape {tuple(module.shape)} is read by no layer with a rule")
        layer: nn.Module = trace.network.get_submodule(above)
    else:
        layer = module.layer if isinstance(module, Recurrent) else module
        layer_rules.checked(layer, name)
    if not 0 <= index < size[side]:
        raise refused(
            layer,
            name,
            f"it has {size[side]} channels there, and Torch-Pruning takes them for more: what lies before it moves "
            "channels in a way that is not followed",
        )


def _runs(module: Any) -> dict[Side, int]:  # noqa: ANN401
    """Return the number of channels in each group of a layer's, on both sides; none for what has no rule."""
    layer = module.layer if isinstance(module, Recurrent) else module
    rule = layer_rules.rule_of(layer)
    if rule is None:
        return {}
    return {
        "out": rule.size(layer, "out") // rule.blocks(layer, "out"),
        "in": rule.size(layer, "in") // rule.blocks(layer, "in"),
    }


def _kind(runs: Mapping[str, Mapping[Side, int]], channel: Channel) -> Any:  # noqa: ANN401
    """Return what channels that can stand in for each other have in common: how many places in which layers."""
    found = Counter(
        (name, side, index // runs[name][side] if side in runs[name] else 0) for name, side, index in channel
    )
    return frozenset(found.items())
