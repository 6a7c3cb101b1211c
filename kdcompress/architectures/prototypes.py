"""A few learned points instead of all training normals: the distance to the nearest is the score."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import scaled
from kdcompress.architectures.rows import RowDetector, row_size
from kdcompress.types import Outputs, Pair

_SHARPNESS = 4.0
"""Of the soft choice of the nearest point at first, for mean squares of coordinates in units of the normals' spread."""


class Prototypes(RowDetector):
    """Points in the space of scaled rows; a softly nearest one is what a row is far from or near to."""

    exact = ("points",)

    def __init__(self, size: int, points: int) -> None:
        super().__init__(size)
        self.points = nn.Linear(size, points, bias=False)
        self.stretch = nn.Parameter(torch.zeros(points))
        self.reach = nn.Parameter(torch.zeros(points))
        self.sharpness = nn.Parameter(torch.full((), math.log(_SHARPNESS)))
        # Which normals it begins with is drawn here, where the seed decides.
        self.drawn = int(torch.randint(2**31 - 1, (), device="cpu"))

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Scale rows by normals, and begin with some of them that lie apart (k-means++)."""
        # scikit-learn takes long to load, and only this needs it.
        from sklearn.cluster import kmeans_plusplus

        found = list(chunks)
        super().adapt(found)
        rows = torch.cat([self.prepare(chunk) for chunk in found])
        wanted = len(self.points.weight)
        _, chosen = kmeans_plusplus(rows.cpu().numpy(), min(wanted, len(rows)), random_state=self.drawn)
        several = torch.from_numpy(chosen).long().repeat(-(-wanted // len(chosen)))[:wanted]
        self.points.weight.copy_(rows[several.to(rows.device)])

    def forward(self, x: Tensor) -> Outputs:
        """Return ``centre_distance`` [N], the mean square of a coordinate's distance from the softly nearest point.

        ``distance`` [N] is the same with a factor and an offset for each point: what the score is made of.
        """
        plain = self._plain(x)
        return {"centre_distance": self._nearest(plain), "distance": self._nearest(self._own(plain))}

    def scored(self, x: Tensor) -> Outputs:
        """Return ``distance`` alone."""
        return {"distance": self._nearest(self._own(self._plain(x)))}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the root of the distance."""
        return (outputs["distance"] + 1e-6).sqrt()

    def _plain(self, x: Tensor) -> Tensor:
        """Return the mean square of a coordinate's distance from each point, [N, P]."""
        # |a - b|^2 = |a|^2 - 2ab + |b|^2: one matrix product.
        squares = x.square().sum(1, keepdim=True) - 2 * self.points(x) + self.points.weight.square().sum(1)
        plain: Tensor = squares.clamp(min=0) / self.size
        return plain

    def _own(self, plain: Tensor) -> Tensor:
        return plain * self.stretch.exp() + self.reach.square()

    def _nearest(self, distances: Tensor) -> Tensor:
        return (torch.softmax(-distances * self.sharpness.exp(), 1) * distances).sum(1)


@ARCHITECTURES.register("prototypes")
def prototypes(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    points: Annotated[int, Field(ge=1, le=65_536)] = 64,
) -> Pair:
    """Distance to the nearest of a few learned points: a memory of normals made small.

    Radial basis functions (Broomhead and Lowe, 1988) with a factor and an offset for each point. Alone it learns points
    that normals are near to. Samples of any shape are rows of numbers, scaled by the training normals.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        width: factor on the number of points.
        points: how many, at width 1.

    Raises:
        InputError: for samples of no or too many numbers.
    """
    return Pair(Prototypes(row_size("prototypes", input_shape), scaled(points, width)))
