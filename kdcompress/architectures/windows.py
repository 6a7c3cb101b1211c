"""What detectors of windows of a series have in common: their scaling, and strided convolutions along time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from kdcompress.architectures.blocks import ladder
from kdcompress.architectures.rows import RowDetector, row_size
from kdcompress.errors import InputError

_SHORTEST = 8


class WindowDetector(RowDetector):
    """A detector of windows [N, C, L], each channel scaled by its mean and spread over the normals."""

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale windows [N, C, L]: mean 0 and standard deviation 1 of each channel over the training normals."""
        return (_windows(raw).to(torch.float32) - self.mean[:, None]) / self.scale[:, None]

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Take mean and spread of each channel from training normals, over all points of their windows."""
        super().adapt(_windows(chunk).transpose(1, 2).flatten(0, 1) for chunk in chunks)


def _windows(raw: Tensor) -> Tensor:
    """Return samples as [N, C, L]: a row [N, D] is one channel, and what has more dimensions is read line by line."""
    return raw.unsqueeze(1) if raw.ndim == 2 else raw.flatten(2)


def levels_of(
    family: str, input_shape: tuple[int, ...], width: float, base: int, depth: int | None
) -> tuple[list[int], list[int]]:
    """Return channels and lengths from the window to the innermost map: the length is halved ``depth`` times.

    Unset, until it is below 6.

    Raises:
        InputError: for windows that are too short or too large.
    """
    row_size(family, input_shape)
    channels, length = (1, input_shape[0]) if len(input_shape) == 1 else (input_shape[0], math.prod(input_shape[1:]))
    if length < _SHORTEST:
        raise InputError(f"{family} takes windows C x L of {_SHORTEST} points or more, not {channels} x {length}")
    deepest = int(math.log2(length)) - 1
    levels = max(1, math.floor(math.log2(length / 3))) if depth is None else depth
    if levels > deepest:
        raise InputError(f"depth {levels} is too much for windows of {length} points (allowed: 1 to {deepest})")
    return [channels, *ladder(base, levels, width)], [length >> level for level in range(levels + 1)]


def encoder(channels: Sequence[int], lengths: Sequence[int], latent: int) -> nn.Sequential:
    """Return window [N, C, L] to latent [N, Z]: halvings, then one convolution over all of the innermost map."""
    return nn.Sequential(*down(channels), nn.Conv1d(channels[-1], latent, lengths[-1]), nn.Flatten())


def decoder(channels: Sequence[int], lengths: Sequence[int], latent: int) -> nn.Sequential:
    """Return latent [N, Z] to window [N, C, L]: the encoder's way back."""
    return nn.Sequential(
        nn.Unflatten(1, (latent, 1)),
        nn.ConvTranspose1d(latent, channels[-1], lengths[-1], bias=False),
        nn.BatchNorm1d(channels[-1]),
        nn.ReLU(),
        *_up(channels[::-1], lengths[::-1]),
    )


def down(channels: Sequence[int]) -> list[nn.Module]:
    """Return strided convolutions (kernel 4) through the given channels, each halving the length."""
    layers: list[nn.Module] = []
    for level, (inner, outer) in enumerate(itertools.pairwise(channels)):
        layers.append(nn.Conv1d(inner, outer, 4, 2, 1, bias=level == 0))
        layers += [nn.BatchNorm1d(outer)] if level else []
        layers.append(nn.LeakyReLU(0.2))
    return layers


def _up(channels: Sequence[int], lengths: Sequence[int]) -> list[nn.Module]:
    """Return transposed convolutions (kernel 4) through the given channels and lengths, innermost first."""
    layers: list[nn.Module] = []
    last = len(channels) - 2
    steps = zip(itertools.pairwise(channels), itertools.pairwise(lengths), strict=True)
    for level, ((inner, outer), (short, long)) in enumerate(steps):
        odd = long - 2 * short
        layers.append(nn.ConvTranspose1d(inner, outer, 4, 2, 1, output_padding=odd, bias=level == last))
        if level < last:
            layers += [nn.BatchNorm1d(outer), nn.ReLU()]
    return layers
