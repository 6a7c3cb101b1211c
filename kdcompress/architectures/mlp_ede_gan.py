"""Encoder, decoder, encoder of dense layers, with a critic: the detector family of P-KDGAN for tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.ede import EdeCritic, distance, passed, whiten
from kdcompress.architectures.rows import RowDetector, dense, halving, row_size
from kdcompress.types import Outputs, Pair


class MlpEdeGan(RowDetector):
    """Row to latent to row to latent; the score is the mean squared distance of the two latents."""

    def __init__(self, size: int, hidden: list[int], latent: int) -> None:
        super().__init__(size)
        self.encoder = dense([size, *hidden, latent])
        self.decoder = dense([latent, *hidden[::-1], size])
        self.second_encoder = dense([size, *hidden, latent])

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent``, ``latent_of_reconstruction`` [N, Z] and ``reconstruction`` [N, D]."""
        return passed(self, self.encoder(x))

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Turn the score into a Mahalanobis distance of z1 - z2 from that of normals, as `EdeGan.calibrate` does."""
        whiten(self, chunks)

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared distance of the two latents (Akcay et al., GANomaly, 2018, eq. 5, squared)."""
        return distance(outputs).mean(1)


@ARCHITECTURES.register("mlp_ede_gan")
def mlp_ede_gan(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=4096)] = 128,
    depth: Annotated[int, Field(ge=1, le=8)] = 2,
    latent: Annotated[int, Field(ge=1, le=4096)] = 32,
) -> Pair:
    """P-KDGAN's detector of dense layers, for tables; the score is the distance of the two latents.

    Encoder, decoder, encoder with a critic: GANomaly (Akcay et al., ACCV 2018), as P-KDGAN (Zhang et al., IJCAI 2020)
    uses it, with dense layers in place of convolutions. Takes samples of any shape as rows of numbers, scaled by the
    training normals.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        width: factor on every inner layer; the latent size stays.
        base: numbers in the first inner layer at width 1; they halve from layer to layer.
        depth: inner layers of encoders and decoder each.
        latent: size of the latent code.

    Raises:
        InputError: for samples of no or too many numbers.
    """
    size = row_size("mlp_ede_gan", input_shape)
    hidden = halving(base, depth, width)
    detector = MlpEdeGan(size, hidden, latent)
    features = nn.Sequential(*dense([size, *hidden]), nn.LeakyReLU(0.1))
    logit = nn.Sequential(nn.Linear(hidden[-1], 1), nn.Flatten(0))
    return Pair(detector, EdeCritic(features, logit))
