"""What detectors of rows of numbers have in common: their scaling, and dense layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from kdcompress.architectures.blocks import scaled
from kdcompress.errors import InputError
from kdcompress.types import Detector

LARGEST = 65_536
"""Numbers in one row, at most."""


class RowDetector(Detector):
    """A detector of samples of any shape as rows of numbers [N, D], scaled by mean and spread of the normals."""

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def prepare(self, raw: Tensor) -> Tensor:
        """Flatten to rows [N, D] and scale: mean 0 and standard deviation 1 over the training normals."""
        return (raw.flatten(1).to(torch.float32) - self.mean) / self.scale

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Take mean and spread from training normals; what never varies among them keeps its unit."""
        rows = torch.cat([chunk.flatten(1).double() for chunk in chunks])
        spread = rows.std(0, correction=0)
        constant = spread <= 1e-9 * rows.abs().amax(0)
        self.mean.copy_(rows.mean(0))
        self.scale.copy_(torch.where(constant, torch.ones_like(spread), spread))


def evenly(samples: Tensor, most: int) -> Tensor:
    """Return all samples, or as many as are wanted, evenly from their whole."""
    if len(samples) <= most:
        return samples
    return samples[torch.linspace(0, len(samples) - 1, most, device=samples.device).round().long()]


def remembered(family: str, chunks: Iterable[Tensor], room: int, neighbours: int) -> Tensor:
    """Return the normals that a memory keeps: all, or as many as there is room for, evenly from their whole.

    Raises:
        InputError: where there are fewer than the neighbours that are asked for.
    """
    normals = torch.cat([chunk.clone() for chunk in chunks])
    if len(normals) < neighbours:
        raise InputError(
            f"{family}: {neighbours} neighbours need as many normals, there are {len(normals)} "
            f"(allowed: 1 to {len(normals)})"
        )
    return evenly(normals, room)


class Product(nn.Linear):
    """A matrix product with what no optimiser moves: counted as any other, but its matrix [out, in] is a buffer."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix.shape[1], matrix.shape[0], bias=False)
        del self.weight
        self.register_buffer("weight", matrix)


def row_size(family: str, input_shape: tuple[int, ...]) -> int:
    """Return D, the numbers in one sample.

    Raises:
        InputError: where there are none or too many.
    """
    size = math.prod(input_shape)
    if input_shape and 1 <= size <= LARGEST:
        return size
    raise InputError(f"{family} takes samples of 1 to {LARGEST:,} numbers, not input of shape {tuple(input_shape)}")


def halving(base: int, depth: int, width: float) -> list[int]:
    """Return the sizes of inner layers: halved from layer to layer, then scaled, and at least 1."""
    return [scaled(max(1, base >> level), width) for level in range(depth)]


def dense(sizes: Sequence[int], *, bias: bool = True) -> nn.Sequential:
    """Return dense layers from size to size with leaky ReLUs in between, none at the end."""
    layers: list[nn.Module] = []
    for inner, outer in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.LeakyReLU(0.1)] if layers else []
        layers.append(nn.Linear(inner, outer, bias=bias))
    return nn.Sequential(*layers)
