"""A convolutional autoencoder along time: the reconstruction error is the score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import ladder
from kdcompress.architectures.rows import RowDetector, row_size
from kdcompress.errors import InputError
from kdcompress.types import Outputs, Pair

_SHORTEST = 8


class Conv1dAe(RowDetector):
    """Window to latent to window; the score is the mean squared error of the scaled window."""

    def __init__(self, channels: list[int], lengths: list[int], latent: int) -> None:
        super().__init__(channels[0])
        inward = [*_down(channels), nn.Conv1d(channels[-1], latent, lengths[-1]), nn.Flatten()]
        outward = [
            nn.Unflatten(1, (latent, 1)),
            nn.ConvTranspose1d(latent, channels[-1], lengths[-1], bias=False),
            nn.BatchNorm1d(channels[-1]),
            nn.ReLU(),
            *_up(channels[::-1], lengths[::-1]),
        ]
        self.encoder, self.decoder = nn.Sequential(*inward), nn.Sequential(*outward)

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale windows [N, C, L]: mean 0 and standard deviation 1 of each channel over the training normals."""
        return (_windows(raw).to(torch.float32) - self.mean[:, None]) / self.scale[:, None]

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Take mean and spread of each channel from training normals, over all points of their windows."""
        super().adapt(_windows(chunk).transpose(1, 2).flatten(0, 1) for chunk in chunks)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent`` [N, Z] and ``reconstruction`` [N, C, L]."""
        latent = self.encoder(x)
        return {"latent": latent, "reconstruction": self.decoder(latent)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared reconstruction error (Sakurada and Yairi, MLSDA 2014)."""
        return (outputs["reconstruction"] - x).square().flatten(1).mean(1)


def _windows(raw: Tensor) -> Tensor:
    """Return samples as [N, C, L]: a row [N, D] is one channel, and what has more dimensions is read line by line."""
    return raw.unsqueeze(1) if raw.ndim == 2 else raw.flatten(2)


def _down(channels: Sequence[int]) -> list[nn.Module]:
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


@ARCHITECTURES.register("conv1d_ae")
def conv1d_ae(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=1024)] = 32,
    latent: Annotated[int, Field(ge=1, le=4096)] = 8,
    depth: Annotated[int, Field(ge=1, le=15)] | None = None,
) -> Pair:
    """Convolutional autoencoder for windows of a series; the score is the reconstruction error.

    Windows C x L of 8 points or more, each channel scaled by the training normals. A row of numbers is one channel, and
    samples of more dimensions are read line by line. The narrow latent is what keeps it from copying anomalies.

    Args:
        input_shape: of one raw window, (C, L).
        width: factor on every inner channel; the latent size and the window's channels stay.
        base: channels of the first level at width 1; they double from level to level up to eight times.
        latent: size of the latent code.
        depth: number of halvings; unset, the length is halved until it is below 6.

    Raises:
        InputError: for windows that are too short or too large.
    """
    row_size("conv1d_ae", input_shape)
    channels, length = (1, input_shape[0]) if len(input_shape) == 1 else (input_shape[0], math.prod(input_shape[1:]))
    if length < _SHORTEST:
        raise InputError(f"conv1d_ae takes windows C x L of {_SHORTEST} points or more, not {channels} x {length}")
    deepest = int(math.log2(length)) - 1
    levels = max(1, math.floor(math.log2(length / 3))) if depth is None else depth
    if levels > deepest:
        raise InputError(f"depth {levels} is too much for windows of {length} points (allowed: 1 to {deepest})")
    lengths = [length >> level for level in range(levels + 1)]
    return Pair(Conv1dAe([channels, *ladder(base, levels, width)], lengths, latent))
