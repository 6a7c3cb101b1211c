"""Layers of several students side by side: each student's block of channels goes through weights of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from kdcompress.architectures.folded import FoldedConv2d, FoldedConvTranspose2d, by_groups, convolution
from kdcompress.errors import InputError

Rule: TypeAlias = Callable[[Any, int], nn.Module]
"""From one layer and K to the layer of K students; its state is that of the K layers, joined along dimension 0."""


class GroupedLinear(nn.Module):
    """K linear maps side by side: [N, K * from] to [N, K * to]."""

    def __init__(self, from_size: int, to_size: int, bias: bool, count: int) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.empty(count * to_size, from_size))
        self.bias = nn.Parameter(torch.empty(count * to_size)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map each block by its own weights."""
        if x.ndim != 2:
            raise InputError(f"a linear layer of several students takes vectors [N, K * Z], not {tuple(x.shape)}")
        found = by_groups(x, self.weight.unflatten(0, (self.count, -1)).transpose(1, 2))
        return found if self.bias is None else found + self.bias


class _InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm by the kernel of group norm, with a group for each channel: the same, in half the time."""

    def forward(self, x: Tensor) -> Tensor:
        if self.track_running_stats:
            found: Tensor = super().forward(x)
            return found
        return nn.functional.group_norm(x.contiguous(), self.num_features, self.weight, self.bias, self.eps)


def _convolution(one: nn.Module, count: int) -> nn.Module:
    return convolution(one, _FASTER.get(type(one), type(one)), count)


def _channel_norm(one: nn.BatchNorm2d | nn.InstanceNorm2d, count: int) -> nn.Module:
    return _FASTER.get(type(one), type(one))(
        one.num_features * count,
        eps=one.eps,
        momentum=one.momentum,
        affine=one.affine,
        track_running_stats=one.track_running_stats,
    )


def _group_norm(one: nn.GroupNorm, count: int) -> nn.Module:
    return nn.GroupNorm(one.num_groups * count, one.num_channels * count, eps=one.eps, affine=one.affine)


def _linear(one: nn.Linear, count: int) -> nn.Module:
    return GroupedLinear(one.in_features, one.out_features, one.bias is not None, count)


def _unflatten(one: nn.Unflatten, count: int) -> nn.Module:
    first, *others = one.unflattened_size
    return nn.Unflatten(one.dim, (first * count, *others))


def _same(one: nn.Module, count: int) -> nn.Module:
    return copy.deepcopy(one)


_FASTER: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: FoldedConv2d,
    nn.ConvTranspose2d: FoldedConvTranspose2d,
    nn.InstanceNorm2d: _InstanceNorm2d,
}

RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution
    ),
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        _channel_norm,
    ),
    nn.GroupNorm: _group_norm,
    nn.Linear: _linear,
    nn.Unflatten: _unflatten,
    # Each element, or each channel, on its own; and flattening, which keeps a student's channels together.
    **dict.fromkeys((nn.Identity, nn.Flatten), _same),
    **dict.fromkeys(
        (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid), _same
    ),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Upsample), _same),
}
"""What the layers become. Exact types: a subclass may compute anything."""
