"""One pass to a point near a centre: the distance is the score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import image_of, ladder, pooled, prepared, scaled, with_features
from kdcompress.architectures.rows import RowDetector, dense, row_size
from kdcompress.types import Detector, Outputs, Pair

_APART = 0.1
"""No coordinate of the centre is nearer to 0: a network of zeros would reach it."""


class _Sphere(nn.Module):
    """The squared distance of points [N, Z] from a centre, mean over Z."""

    centre: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.full((size,), _APART))

    def forward(self, points: Tensor) -> Tensor:
        return (points - self.centre).square().mean(1)

    def settle(self, points: Tensor) -> None:
        centre = points.double().mean(0)
        away = torch.where(centre < 0, -_APART, _APART).to(centre.dtype)
        self.centre.copy_(torch.where(centre.abs() < _APART, away, centre))


class _RowSvdd(RowDetector):
    """Rows to a point."""

    def __init__(self, size: int, hidden: list[int], latent: int) -> None:
        super().__init__(size)
        self.network, self.sphere = dense([size, *hidden, latent], bias=False), _Sphere(latent)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent`` [N, Z] and its ``centre_distance`` [N], that from the centre."""
        latent = self.network(x)
        return {"latent": latent, "centre_distance": self.sphere(latent)}

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Scale rows by normals, and put the centre where the untrained network takes them in the mean."""
        found = list(chunks)
        super().adapt(found)
        self.sphere.settle(torch.cat([self.network(self.prepare(chunk)) for chunk in found]))

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the distance from the centre (Ruff et al., ICML 2018, eq. 5)."""
        return outputs["centre_distance"]


class _ImageSvdd(Detector):
    """Images to a point."""

    def __init__(self, channels: list[int], size: tuple[int, int], latent: int) -> None:
        super().__init__()
        self.size = size
        self.network = pooled(channels, latent, bias=False)
        self.sphere = _Sphere(latent)

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent`` [N, Z] and its ``centre_distance`` [N], that from the centre.

        ``features`` [N, H, W, C] are the innermost map.
        """
        latent, features = with_features(self.network, 3, x)
        return {"latent": latent, "centre_distance": self.sphere(latent), "features": features}

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Put the centre where the untrained network takes normals in the mean."""
        self.sphere.settle(torch.cat([self.network(self.prepare(chunk)) for chunk in chunks]))

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the distance from the centre (Ruff et al., ICML 2018, eq. 5)."""
        return outputs["centre_distance"]


@ARCHITECTURES.register("deep_svdd")
def deep_svdd(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=4096)] = 64,
    depth: Annotated[int, Field(ge=1, le=7)] = 3,
    latent: Annotated[int, Field(ge=1, le=4096)] = 32,
    size: Annotated[int, Field(ge=8, le=256)] | None = None,
) -> Pair:
    """One pass to a point; the score is its distance from a centre.

    Deep SVDD (Ruff et al., ICML 2018), in its one-class form: no biases, and the centre is where the untrained network
    takes the normals in the mean. Convolutions for images, dense layers for everything else.

    Args:
        input_shape: (C, H, W) of raw uint8 images, or of one row, e.g. (D,).
        width: factor on every inner layer; the latent size stays.
        base: channels of the first level at width 1, doubling up to eight times; numbers in each dense layer.
        depth: levels, each halving the map; inner dense layers.
        latent: size of the point.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input of a shape that is not supported.
    """
    if len(input_shape) != 3:
        hidden = [scaled(base, width)] * depth
        return Pair(_RowSvdd(row_size("deep_svdd", input_shape), hidden, latent))
    channels, height, breadth = image_of("deep_svdd", input_shape)
    outer = (height, breadth) if size is None else (size, size)
    return Pair(_ImageSvdd([channels, *ladder(base, depth, width)], outer, latent))
