"""How each kind of layer loses channels: which of its tensors are cut, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from kdcompress.architectures.channels import Kept, Rule, Side, cut, refused, runs


def rule_of(layer: nn.Module) -> Rule | None:
    """Return how a layer loses channels; None where no rule is known."""
    return next((rule for kind, rule in _RULES if isinstance(layer, kind)), None)


def checked(layer: nn.Module, name: str) -> Rule:
    """Return how a layer loses channels.

    Raises:
        InputError: with the layer's kind and name, where it cannot.
    """
    rule = rule_of(layer)
    if rule is None:
        raise refused(layer, name, f"no rule for such a layer (allowed: {', '.join(KINDS)})")
    if said := rule.unfit(layer):
        raise refused(layer, name, said)
    # A parametrised weight is computed at each call: cutting what it is now would be undone by the next.
    made = [one for one in rule.names(layer) if one not in layer._parameters and one not in layer._buffers]
    if made:
        raise refused(layer, name, f"its {made[0]} is computed from other tensors (take the parametrisation away)")
    return rule


def _depthwise(conv: _ConvNd) -> bool:
    return 1 < conv.groups == conv.in_channels == conv.out_channels


def _unfit_conv(conv: _ConvNd) -> str:
    if conv.groups == 1 or _depthwise(conv):
        return ""
    # Torch-Pruning takes it for a depthwise one and couples inputs with outputs that have nothing in common.
    return "fewer outputs than inputs, in as many groups as outputs" if conv.groups == conv.out_channels else ""


def _narrow_conv(conv: Any, out: Kept, given: Kept) -> None:  # noqa: ANN401
    if _depthwise(conv):
        cut(conv, "weight", 0, out)
        conv.groups, given = len(out), out
    elif conv.groups > 1:
        sides = (runs(out, conv.out_channels, conv.groups), runs(given, conv.in_channels, conv.groups))
        parts = zip(conv.weight.detach().chunk(conv.groups), *(sides[::-1] if conv.transposed else sides), strict=True)
        weight = torch.cat([part[rows][:, columns] for part, rows, columns in parts])
        conv.weight = nn.Parameter(weight, conv.weight.requires_grad)
    else:
        cut(conv, "weight", 1 if conv.transposed else 0, out)
        cut(conv, "weight", 0 if conv.transposed else 1, given)
    cut(conv, "bias", 0, out)
    conv.out_channels, conv.in_channels = len(out), len(given)


def _ignore_conv(conv: Any, side: Side, gone: Sequence[int]) -> None:  # noqa: ANN401
    if side == "out":
        return
    length = conv.in_channels // conv.groups
    rows = conv.out_channels // conv.groups
    for one in gone:
        run, place = divmod(one, length)
        if conv.transposed:
            conv.weight[one] = 0
        else:
            conv.weight[run * rows : (run + 1) * rows, place] = 0


def _narrow_linear(layer: Any, out: Kept, given: Kept) -> None:  # noqa: ANN401
    cut(layer, "weight", 0, out)
    cut(layer, "weight", 1, given)
    cut(layer, "bias", 0, out)
    layer.out_features, layer.in_features = len(out), len(given)


def _ignore_linear(layer: Any, side: Side, gone: Sequence[int]) -> None:  # noqa: ANN401
    if side == "in":
        layer.weight[:, list(gone)] = 0


def _per_channel(count: str, *names: str) -> Callable[[Any, Kept, Kept], None]:
    """Return how a layer with a number for each channel loses some."""

    def narrow(layer: Any, out: Kept, given: Kept) -> None:  # noqa: ANN401
        for name in names:
            cut(layer, name, 0, out)
        setattr(layer, count, len(out))

    return narrow


def _narrow_layer_norm(norm: nn.LayerNorm, out: Kept, given: Kept) -> None:
    cut(norm, "weight", 0, out)
    cut(norm, "bias", 0, out)
    norm.normalized_shape = (len(out),)


def _recurrent(layer: nn.RNNBase) -> list[tuple[int, int, str]]:
    """Return the depth, the direction and the end of the names of each of its cells."""
    ways = ("", "_reverse") if layer.bidirectional else ("",)
    return [(depth, way, f"_l{depth}{end}") for depth in range(layer.num_layers) for way, end in enumerate(ways)]


def _recurrent_names(layer: nn.RNNBase) -> list[str]:
    biases = ("bias_ih", "bias_hh") if layer.bias else ()
    return [f"{one}{end}" for *_, end in _recurrent(layer) for one in ("weight_ih", "weight_hh", *biases)]


def _narrow_recurrent(layer: nn.RNNBase, out: Kept, given: Kept) -> None:
    size, ways = layer.hidden_size, 1 + layer.bidirectional
    kept = runs(out, size * ways, ways)
    for depth, way, end in _recurrent(layer):
        gates = layer.get_parameter(f"weight_hh{end}").shape[0] // size
        rows = [gate * size + one for gate in range(gates) for one in kept[way]]
        cut(layer, f"weight_ih{end}", 0, rows)
        cut(layer, f"weight_ih{end}", 1, out if depth else given)
        cut(layer, f"weight_hh{end}", 0, rows)
        cut(layer, f"weight_hh{end}", 1, kept[way])
        for one in ("bias_ih", "bias_hh") if layer.bias else ():
            cut(layer, f"{one}{end}", 0, rows)
    layer.hidden_size, layer.input_size = len(kept[0]), len(given)


def _ignore_recurrent(layer: nn.RNNBase, side: Side, gone: Sequence[int]) -> None:
    size, ways = layer.hidden_size, 1 + layer.bidirectional
    own = runs(gone, size * ways, ways) if side == "out" else []
    for depth, way, end in _recurrent(layer):
        if side == "out":
            layer.get_parameter(f"weight_hh{end}")[:, own[way]] = 0
        if (depth > 0) == (side == "out"):
            layer.get_parameter(f"weight_ih{end}")[:, list(gone)] = 0


def _norm(count: str, *names: str, blocks: str = "") -> Rule:
    return Rule(
        size=lambda layer, side: int(getattr(layer, count)),
        narrow=_per_channel(count, *names),
        names=lambda layer: names,
        blocks=lambda layer, side: int(getattr(layer, blocks)) if blocks else 1,
    )


_AFFINE = ("weight", "bias")
_RUNNING = ("running_mean", "running_var")
KINDS = (
    "Conv",
    "ConvTranspose",
    "Linear",
    "BatchNorm",
    "InstanceNorm",
    "GroupNorm",
    "LayerNorm",
    "PReLU",
    "LSTM, GRU, RNN",
)
_RULES: tuple[tuple[type[nn.Module], Rule], ...] = (
    (
        _ConvNd,
        Rule(
            size=lambda conv, side: int(conv.out_channels if side == "out" else conv.in_channels),
            narrow=_narrow_conv,
            names=lambda conv: _AFFINE,
            blocks=lambda conv, side: 1 if _depthwise(conv) else int(conv.groups),
            ignore=_ignore_conv,
            unfit=_unfit_conv,
        ),
    ),
    (
        nn.Linear,
        Rule(
            size=lambda layer, side: int(layer.out_features if side == "out" else layer.in_features),
            narrow=_narrow_linear,
            names=lambda layer: _AFFINE,
            ignore=_ignore_linear,
        ),
    ),
    (_BatchNorm, _norm("num_features", *_AFFINE, *_RUNNING)),
    (_InstanceNorm, _norm("num_features", *_AFFINE, *_RUNNING)),
    (nn.GroupNorm, _norm("num_channels", *_AFFINE, blocks="num_groups")),
    (nn.PReLU, _norm("num_parameters", "weight")),
    (
        nn.LayerNorm,
        Rule(
            size=lambda norm, side: int(norm.normalized_shape[-1]),
            narrow=_narrow_layer_norm,
            names=lambda norm: _AFFINE,
            unfit=lambda norm: "" if len(norm.normalized_shape) == 1 else "over more than the channels",
        ),
    ),
    (
        nn.RNNBase,
        Rule(
            size=lambda layer, side: int(
                layer.hidden_size * (1 + layer.bidirectional) if side == "out" else layer.input_size
            ),
            narrow=_narrow_recurrent,
            names=_recurrent_names,
            blocks=lambda layer, side: 1 + layer.bidirectional if side == "out" else 1,
            ignore=_ignore_recurrent,
            unfit=lambda layer: "with a projection" if layer.proj_size else "",
        ),
    ),
)
