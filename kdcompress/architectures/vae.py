"""A variational autoencoder of dense layers: the score is what is lost of the evidence's lower bound."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.rows import RowDetector, dense, halving, row_size
from kdcompress.types import Outputs, Pair

_WIDEST = 10.0
"""Log-variances are kept within this of 0, so that none overflows."""


class Vae(RowDetector):
    """Row to a normal distribution of codes to row; the decoder's noise is Laplace's, of one scale for all numbers."""

    def __init__(self, size: int, hidden: list[int], latent: int, noise: float) -> None:
        super().__init__(size)
        self.noise = noise
        self.trunk = nn.Sequential(*dense([size, *hidden]), nn.LeakyReLU(0.1))
        self.code, self.log_variance = nn.Linear(hidden[-1], latent), nn.Linear(hidden[-1], latent)
        self.decoder = dense([latent, *hidden[::-1], size])

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent`` [N, Z], the mean code, ``reconstruction`` [N, D] and ``divergence`` [N].

        The row is made from a drawn code in training, and from the mean one else, so that scores are no matter of
        chance. ``divergence`` is that of the codes from a standard normal, in the unit of the mean absolute
        reconstruction error.
        """
        found = self.trunk(x)
        mean, log_variance = self.code(found), self.log_variance(found).clamp(-_WIDEST, _WIDEST)
        drawn = mean + (log_variance / 2).exp() * torch.randn_like(mean) if self.training else mean
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return {
            "latent": mean,
            "reconstruction": self.decoder(drawn),
            "divergence": divergence * (self.noise / self.size),
        }

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the negative lower bound at the mean code (Kingma and Welling, ICLR 2014, eq. 3).

        It is times noise / D and without its constant: the mean absolute error, and the divergence beside it.
        """
        return (outputs["reconstruction"] - x).abs().mean(1) + outputs["divergence"]


@ARCHITECTURES.register("vae")
def vae(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=4096)] = 128,
    depth: Annotated[int, Field(ge=1, le=8)] = 2,
    latent: Annotated[int, Field(ge=1, le=4096)] = 8,
    noise: Annotated[float, Field(gt=0, le=10)] = 0.1,
) -> Pair:
    """Variational autoencoder of dense layers, for tables; the score is its negative evidence lower bound.

    Kingma and Welling (ICLR 2014), as An and Cho (2015) use it, with Laplace noise, so that its losses are the absolute
    error that other autoencoders learn, and the divergence of the codes with the same weight. Takes samples of any
    shape as rows of numbers, scaled by the training normals.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        width: factor on every inner layer; the latent size stays.
        base: numbers in the first inner layer at width 1; they halve from layer to layer.
        depth: inner layers of encoder and decoder each.
        latent: size of the latent code.
        noise: scale of the decoder's noise in units of the normals' spread; the less, the less the divergence counts.

    Raises:
        InputError: for samples of no or too many numbers.
    """
    hidden = halving(base, depth, width)
    return Pair(Vae(row_size("vae", input_shape), hidden, latent, noise))
