"""How much each channel of a network counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdcompress.architectures import layer_rules
from kdcompress.architectures.coupling import Channel, Coupling
from kdcompress.architectures.tracing import Recurrent, Trace, traced


def importance(network: nn.Module, coupling: Coupling) -> dict[Channel, float]:
    """Return how much each channel of a network counts: Torch-Pruning's group magnitude, L2.

    Its mean over the layers that make the channel; of recurrent layers, which Torch-Pruning does not weigh, the
    magnitude of the channel's own gates.
    """
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    trace = traced(network, torch.rand(coupling.given, generator=torch.Generator().manual_seed(0)))
    weigh = GroupMagnitudeImportance(p=2)
    found: dict[tuple[str, int], float] = {}
    for module in trace.roots():
        if isinstance(module, Recurrent):
            values: Tensor | None = _gates(module.layer)
        else:
            pruner = trace.graph.get_pruner_of_module(module)
            every = list(range(pruner.get_out_channels(module)))
            group = trace.graph.get_pruning_group(module, pruner.prune_out_channels, every)
            group.items[:] = [item for item in group.items if _weighable(trace, item)]
            values = weigh(group)
        if values is not None:
            found |= {(trace.names[module], index): float(value) for index, value in enumerate(values)}
    weighed = {}
    for channel in (one for family in coupling.families for one in family):
        own = [found[layer, index] for layer, side, index in channel if side == "out" and (layer, index) in found]
        weighed[channel] = sum(own) / max(1, len(own))
    return weighed


def _weighable(trace: Trace, item: Any) -> bool:  # noqa: ANN401
    """Say whether Torch-Pruning can weigh a layer of a group: it stops at some that it need not look at."""
    module = item.dep.layer
    if not isinstance(module, nn.Module) or (rule := layer_rules.rule_of(module)) is None:
        return False
    side = trace.side(item.dep.pruning_fn)
    grouped = isinstance(module, nn.modules.conv._ConvNd) and module.transposed and module.groups > 1 and side == "out"
    # Beyond its last channel where it has one, which goes to all of another layer's.
    return not grouped and max(item.idxs, default=-1) < rule.size(module, side)


def _gates(layer: nn.RNNBase) -> Tensor:
    """Return the squared magnitude of each channel's gates, of mean 1."""
    ends = [name.removeprefix("weight_hh") for name, _ in layer.named_parameters() if name.startswith("weight_hh")]
    last = [end for end in ends if end.removesuffix("_reverse") == f"_l{layer.num_layers - 1}"]
    rows = [
        torch.cat([layer.get_parameter(f"{one}{end}") for one in ("weight_ih", "weight_hh")], 1).square().sum(1)
        for end in last
    ]
    values = torch.cat([one.view(-1, layer.hidden_size).sum(0) for one in rows]).detach()
    return values / values.mean()
