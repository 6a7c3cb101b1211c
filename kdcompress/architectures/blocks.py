"""Convolutional building blocks that fit any image size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from kdcompress.errors import InputError

Norm: TypeAlias = Literal["instance", "batch", "group", "none"]
Size: TypeAlias = tuple[int, int]

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and spread of ImageNet's channels in [0, 1]: what torchvision's weights expect."""


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


def encoder(channels: Sequence[int], innermost: Size, latent: int, norm: Norm) -> nn.Sequential:
    """Return image [N, C, H, W] to latent [N, Z]: halvings, then one convolution over all of the innermost map."""
    return nn.Sequential(*down(channels, norm), nn.Conv2d(channels[-1], latent, innermost), nn.Flatten())


def with_features(network: nn.Sequential, last: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a network makes of images, and, as [N, H, W, C], the map that its last layers make it of."""
    layers = list(network)
    for layer in layers[:-last]:
        x = layer(x)
    features = x.permute(0, 2, 3, 1)
    for layer in layers[-last:]:
        x = layer(x)
    return x, features


def pooled(channels: Sequence[int], size: int, *, bias: bool = True) -> nn.Sequential:
    """Return image [N, C, H, W] to [N, size]: strided convolutions, four pools of what is left, a dense layer."""
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(channels):
        layers += [nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer, affine=bias), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels[-1], size, bias=bias))


def decoder(channels: Sequence[int], sizes: Sequence[Size], latent: int, norm: Norm) -> nn.Sequential:
    """Return latent [N, Z] to image [N, C, H, W] in [-1, 1]: the encoder's way back."""
    # An instance norm on the first map would remove each channel's mean, which is most of what the latent code says
    # at this point; a batch norm keeps the differences between samples.
    first = norm_layer("batch" if norm == "instance" else norm, channels[-1])
    return nn.Sequential(
        nn.Unflatten(1, (latent, 1, 1)),
        nn.ConvTranspose2d(latent, channels[-1], sizes[-1], bias=norm == "none"),
        first,
        nn.ReLU(),
        *up(channels[::-1], sizes[::-1], norm),
        nn.Tanh(),
    )


def prepared(raw: Tensor, size: Size) -> Tensor:
    """Scale uint8 images [N, C, H, W] to [-1, 1] and resize them where their size differs.

    Raises:
        InputError: for images of another type, whose range is not known.
    """
    if raw.dtype != torch.uint8:
        raise InputError(f"images must be uint8 with values from 0 to 255, not {str(raw.dtype).removeprefix('torch.')}")
    x = raw.to(torch.float32) / 127.5 - 1
    if tuple(x.shape[-2:]) == size:
        return x
    return nn.functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


def image_of(family: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (C, H, W).

    Raises:
        InputError: where the input is no image of a size that the families here support.
    """
    image = len(input_shape) == 3 and 1 <= input_shape[0] <= 4
    if image and all(8 <= side <= 256 for side in input_shape[1:]):
        return input_shape[0], input_shape[1], input_shape[2]
    raise InputError(
        f"{family} takes images C x H x W from 1 x 8 x 8 to 4 x 256 x 256, not input of shape {tuple(input_shape)}"
        + (": data.size, from 8 to 256, resizes image files" if image else "")
    )


def shape_of(
    image: tuple[int, int, int], width: float, base: int, depth: int | None, size: int | None
) -> tuple[list[int], list[Size]]:
    """Return the channels and sizes of the maps from the image, resized to ``size``, to the innermost."""
    outer: Size = (image[1], image[2]) if size is None else (size, size)
    levels = depth_for(outer, depth)
    return [image[0], *ladder(base, levels, width)], halved(outer, levels)
