"""Strided convolutions in another arithmetic: the same function of the same weights, faster where channels are few.

A convolution with kernel 4, stride 2 and padding 1 over [N, C, H, W] is one with kernel 2 and stride 1 over
[N, 4 C, H / 2 + 1, W / 2 + 1], in which each block of 2 x 2 pixels has become one pixel of four times the channels
(space to depth). The multiplications are the same. But processors compute in blocks of 8 or 16 channels, and oneDNN's
kernels for the gradient of a strided convolution, which is also the transposed convolution's forward pass, are several
times slower on few channels than those of a plain one.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# As many as a processor without AVX-512 computes at once.
_FEW = 8

_Module = TypeVar("_Module", bound=nn.Module)


def by_groups(x: Tensor, weight: Tensor) -> Tensor:
    """Map each block of [N, G * from] by its own [G, from, to]; much faster than a grouped convolution."""
    if len(weight) == 1:
        return x @ weight[0]
    return torch.bmm(x.unflatten(1, (len(weight), -1)).transpose(0, 1), weight).transpose(0, 1).flatten(1)


class FoldedConv2d(nn.Conv2d):
    """A convolution: halving a map, it folds it first; over all of its input it is a linear map."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what the plain convolution returns."""
        if tuple(x.shape[2:]) == self.kernel_size and self.padding == (0, 0) and self.dilation == (1, 1):
            weight = self.weight.flatten(1).unflatten(0, (self.groups, -1)).transpose(1, 2)
            found = by_groups(x.flatten(1), weight)
            return (found if self.bias is None else found + self.bias)[:, :, None, None]
        if not _halves(self):
            return super().forward(x)
        # An odd row or column at the end is in reach of no kernel but for the padding that it stands in for.
        bottom, right = (1 - side % 2 for side in x.shape[2:])
        folded = F.pixel_unshuffle(F.pad(x, (1, right, 1, bottom)), 2)
        # [O, C, 2 y + v, 2 x + u] to [O, C (v, u), y, x]: v and u are now channels.
        weight = self.weight.unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(0, 1, 3, 5, 2, 4)
        return F.conv2d(folded, weight.flatten(1, 3), self.bias)


class FoldedConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution: doubling a map, it unfolds it last; from one pixel it is a linear map."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return what the plain transposed convolution returns."""
        if tuple(x.shape[2:]) == (1, 1) and self.padding == self.output_padding == (0, 0) and self.dilation == (1, 1):
            weight = self.weight.flatten(1).unflatten(0, (self.groups, -1))
            found: Tensor = by_groups(x.flatten(1), weight).unflatten(1, (self.out_channels, *self.kernel_size))
        elif output_size is None and _halves(self):
            # [C, O, 2 y + v, 2 x + u] to [O (v, u), C, y, x], the taps turned round: a convolution walks backwards.
            weight = self.weight.unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(1, 3, 5, 0, 2, 4)
            unfolded = F.pixel_shuffle(F.conv2d(x, weight.flatten(0, 2).flip(2, 3), padding=1), 2)
            height, width = (2 * side + odd for side, odd in zip(x.shape[2:], self.output_padding, strict=True))
            found = unfolded[:, :, 1 : 1 + height, 1 : 1 + width]
        else:
            return super().forward(x, output_size)
        return found if self.bias is None else found + self.bias[:, None, None]


def _halves(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    # Measured, grouped convolutions gain nothing from it, and those of more channels lose.
    few = min(layer.in_channels, layer.out_channels) <= _FEW and layer.groups == 1
    return few and shape == ((4, 4), (2, 2), (1, 1), (1, 1)) and layer.padding_mode == "zeros"


_FOLDED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: FoldedConv2d,
    nn.ConvTranspose2d: FoldedConvTranspose2d,
}


def folded(module: _Module) -> _Module:
    """Return a twin of a module that shares its weights and buffers: training the one trains the other.

    Layers of exactly ``nn.Conv2d`` and ``nn.ConvTranspose2d`` with at most 8 channels on one side are folded; all else,
    and what is frozen for good, with buffers for weights, is as it was.
    """
    shared = [*module.parameters(), *module.buffers()]
    twin = copy.deepcopy(module, {id(tensor): tensor for tensor in shared})
    for path, layer in list(twin.named_modules(remove_duplicate=False)):
        if (kind := _FOLDED.get(type(layer))) is not None and path and isinstance(layer.weight, nn.Parameter):
            parent, _, name = path.rpartition(".")
            with torch.device("meta"):
                other = convolution(layer, kind)
            other.weight, other.bias = layer.weight, layer.bias
            twin.get_submodule(parent).add_module(name, other.train(layer.training))
    return twin


def convolution(layer: Any, kind: type[nn.Module], count: int = 1) -> nn.Module:  # noqa: ANN401 - any convolution
    """Return a new convolution of another kind, with ``count`` times the channels of a given one in as many groups."""
    more = {"output_padding": layer.output_padding} if layer.transposed else {}
    return kind(
        layer.in_channels * count,
        layer.out_channels * count,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups * count,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        **more,
    )
