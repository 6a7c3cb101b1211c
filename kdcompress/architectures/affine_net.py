"""A network that tells which random affine map was applied to a row: one that it cannot tell is an anomaly."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.answers import unlikelihood
from kdcompress.architectures.blocks import scaled
from kdcompress.architectures.rows import Product, RowDetector, dense, row_size
from kdcompress.seeding import derive
from kdcompress.types import Outputs, Pair


class AffineNet(RowDetector):
    """Row to the log-odds of each map, for each map of it; all passes are part of the score."""

    def __init__(self, size: int, maps: int, projected: int, hidden: list[int]) -> None:
        super().__init__(size)
        # Drawn by what the maps are and nothing else: a student tells the same maps apart as its teacher.
        drawn = np.random.default_rng(derive(0, "affine_net", size, maps, projected)).standard_normal
        self.maps = Product(torch.tensor(drawn((maps * projected, size)) / size**0.5, dtype=torch.float32))
        self.count = maps
        self.network = nn.Sequential(*dense([projected, *hidden]), nn.LeakyReLU(0.1))
        self.head = nn.Linear(hidden[-1], maps)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``logits`` [N, T, T]: what the network says, last, to each of T maps; ``features`` [N, T, C]."""
        features = self.network(self.maps(x).unflatten(1, (self.count, -1)))
        return {"logits": self.head(features), "features": features}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean negative log-likelihood of the right maps (Bergman and Hoshen, ICLR 2020, eq. 7)."""
        return unlikelihood(outputs["logits"])


@ARCHITECTURES.register("affine_net")
def affine_net(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=4096)] = 64,
    depth: Annotated[int, Field(ge=1, le=8)] = 2,
    maps: Annotated[int, Field(ge=2, le=1024)] = 32,
    projected: Annotated[int, Field(ge=1, le=1024)] = 32,
) -> Pair:
    """Dense network that tells which random affine map was applied to a row; the score is how badly it does.

    GOAD (Bergman and Hoshen, ICLR 2020) with a softmax over the maps in place of its distances to their centres. A
    score needs a pass for each map, and all are counted, the maps too. Samples of any shape are rows of numbers, scaled
    by the training normals. The maps depend on ``maps``, ``projected`` and the size of a row alone.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        width: factor on every inner layer.
        base: numbers in each inner layer at width 1.
        depth: inner layers.
        maps: number of random maps.
        projected: numbers that a map makes of a row.

    Raises:
        InputError: for samples of no or too many numbers.
    """
    hidden = [scaled(base, width)] * depth
    return Pair(AffineNet(row_size("affine_net", input_shape), maps, projected, hidden))
