"""An autoencoder of dense layers: the reconstruction error is the score."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.rows import RowDetector, dense, halving, row_size
from kdcompress.types import Outputs, Pair


class MlpAe(RowDetector):
    """Row to latent to row; the score is the mean squared error of the scaled row."""

    def __init__(self, size: int, hidden: list[int], latent: int) -> None:
        super().__init__(size)
        self.encoder = dense([size, *hidden, latent])
        self.decoder = dense([latent, *hidden[::-1], size])

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent`` [N, Z] and ``reconstruction`` [N, D]."""
        latent = self.encoder(x)
        return {"latent": latent, "reconstruction": self.decoder(latent)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared reconstruction error (Sakurada and Yairi, MLSDA 2014)."""
        return (outputs["reconstruction"] - x).square().mean(1)


@ARCHITECTURES.register("mlp_ae")
def mlp_ae(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=4096)] = 128,
    depth: Annotated[int, Field(ge=1, le=8)] = 2,
    latent: Annotated[int, Field(ge=1, le=4096)] = 8,
) -> Pair:
    """Autoencoder of dense layers, for tables; the score is the reconstruction error.

    Takes samples of any shape as rows of numbers, scaled by the training normals. The narrow latent is what keeps
    anomalies from being copied.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        width: factor on every inner layer; the latent size stays.
        base: numbers in the first inner layer at width 1; they halve from layer to layer.
        depth: inner layers of encoder and decoder each.
        latent: size of the latent code.

    Raises:
        InputError: for samples of no or too many numbers.
    """
    hidden = halving(base, depth, width)
    return Pair(MlpAe(row_size("mlp_ae", input_shape), hidden, latent))
