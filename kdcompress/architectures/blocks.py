"""Convolutional building blocks that fit any image size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import nn

from kdcompress.errors import InputError

Norm: TypeAlias = Literal["instance", "batch", "group", "none"]
Size: TypeAlias = tuple[int, int]


def scaled(channels: int, width: float) -> int:
    """Scale a number of inner channels, rounded to nearest (halves up) and at least 1."""
    return max(1, math.floor(channels * width + 0.5))


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Return the normalisation of a convolution's output; all kinds but ``none`` have a learned scale and shift."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()


def halved(size: Size, depth: int) -> list[Size]:
    """Return the sizes of the maps from the input to the innermost: each is half of the last, rounded down."""
    sizes = [size]
    for _ in range(depth):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def depth_for(size: Size, depth: int | None) -> int:
    """Return how often to halve a size: as asked, or until its shorter side is below 6.

    Raises:
        InputError: where so many halvings leave a side with less than 2 pixels.
    """
    short = min(size)
    deepest = int(math.log2(short)) - 1
    if depth is None:
        return max(1, math.floor(math.log2(short / 3)))
    if depth > deepest:
        raise InputError(f"depth {depth} is too much for {size[0]} x {size[1]} images (allowed: 1 to {deepest})")
    return depth


def ladder(base: int, depth: int, width: float) -> list[int]:
    """Return the channels of each level: doubled from level to level up to eight times the base, then scaled."""
    return [scaled(base * min(2**level, 8), width) for level in range(depth)]


def down(channels: Sequence[int], norm: Norm) -> list[nn.Module]:
    """Return strided convolutions (kernel 4) through the given channels, each halving the map.

    As in DCGAN (Radford et al., 2016), the first has no normalisation.
    """
    layers: list[nn.Module] = []
    for level, (inner, outer) in enumerate(zip(channels, channels[1:], strict=False)):
        layers.append(nn.Conv2d(inner, outer, 4, 2, 1, bias=level == 0 or norm == "none"))
        if level > 0:
            layers.append(norm_layer(norm, outer))
        layers.append(nn.LeakyReLU(0.2))
    return layers


def up(channels: Sequence[int], sizes: Sequence[Size], norm: Norm) -> list[nn.Module]:
    """Return transposed convolutions (kernel 4) through the given channels and sizes, innermost first.

    Odd sizes get the row and column back that halving them took. The last one is bare: its caller adds the activation.
    """
    layers: list[nn.Module] = []
    last = len(channels) - 2
    for level, (inner, outer) in enumerate(zip(channels, channels[1:], strict=False)):
        small, large = sizes[level], sizes[level + 1]
        odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])
        bias = level == last or norm == "none"
        layers.append(nn.ConvTranspose2d(inner, outer, 4, 2, 1, output_padding=odd, bias=bias))
        if level < last:
            layers += [norm_layer(norm, outer), nn.ReLU()]
    return layers
