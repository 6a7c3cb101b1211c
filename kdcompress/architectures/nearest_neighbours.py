"""Nearest neighbours among the training normals: what is far from all of them is an anomaly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import scaled
from kdcompress.architectures.rows import Product, RowDetector, remembered, row_size
from kdcompress.signature import AtMostNormals
from kdcompress.types import Outputs, Pair

_FAR = 1e18
"""Where unused places of the memory lie: no finite row is nearer to them than to a used one."""


class NearestNeighbours(RowDetector):
    """A memory of normals; the score is the mean distance to the nearest of them."""

    fitted = True
    exact = ("memory",)

    def __init__(self, size: int, kept: int, neighbours: int) -> None:
        super().__init__(size)
        self.neighbours = neighbours
        # Until it is calibrated, places at random: scores differ, as an untrained network's do.
        self.memory = Product(torch.randn(kept, size))

    def forward(self, x: Tensor) -> Outputs:
        """Return ``distance`` [N], the mean distance to the nearest normals."""
        # |a - b|^2 = |a|^2 - 2ab + |b|^2: one matrix product. Its rounding is what a distance of 0 comes out as.
        squares = x.square().sum(1, keepdim=True) - 2 * self.memory(x) + self.memory.weight.square().sum(1)
        nearest = squares.topk(self.neighbours, dim=1, largest=False).values
        return {"distance": nearest.clamp(min=0).sqrt().mean(1)}

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Keep training normals: all, or as many as there is room for, evenly from their whole."""
        rows = remembered("nearest_neighbours", chunks, len(self.memory.weight), self.neighbours)
        self.memory.weight.fill_(_FAR / self.size)
        self.memory.weight[: len(rows)].copy_(rows)

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean distance to the nearest normals (Ramaswamy et al., SIGMOD 2000; its mean form)."""
        return outputs["distance"]


@ARCHITECTURES.register("nearest_neighbours")
def nearest_neighbours(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    kept: Annotated[int, Field(ge=1, le=1_000_000), AtMostNormals()] = 4096,
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 5,
) -> Pair:
    """Distance to the nearest of the training normals, which it keeps; nothing to train.

    Samples of any shape are rows of numbers, scaled by the training normals. It is fitted by the strategy ``fitted``;
    where there are more normals than room, the same number of them is left out between those that are kept.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        width: factor on the normals that are kept.
        kept: normals that are kept at most, at width 1.
        neighbours: of which the mean distance is taken.

    Raises:
        InputError: for samples of no or too many numbers.
    """
    room = max(scaled(kept, width), neighbours)
    return Pair(NearestNeighbours(row_size("nearest_neighbours", input_shape), room, neighbours))
