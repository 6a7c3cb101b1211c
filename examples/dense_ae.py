"""An architecture of your own: a dense autoencoder for data of any shape.

kdcompress profile dense_ae --input 1,8,8 --plugin examples/dense_ae.py
"""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

import kdcompress as kd


class DenseAe(kd.Detector):
    """Input to latent and back; the score is the mean squared error of the reconstruction."""

    def __init__(self, shape: tuple[int, ...], hidden: int, latent: int) -> None:
        super().__init__()
        size = math.prod(shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, size))
        self.shape = shape

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 data to [0, 1]."""
        return raw.float() / 255

    def forward(self, x: Tensor) -> kd.Outputs:
        """Return ``latent`` and ``reconstruction``."""
        latent = self.encoder(x)
        return {"latent": latent, "reconstruction": self.decoder(latent).unflatten(1, self.shape)}

    def score_outputs(self, x: Tensor, outputs: kd.Outputs) -> Tensor:
        """Return the mean squared error [N]."""
        return (outputs["reconstruction"] - x).square().flatten(1).mean(dim=1)


@kd.ARCHITECTURES.register("dense_ae")
def dense_ae(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    hidden: Annotated[int, Field(ge=1)] = 128,
    latent: Annotated[int, Field(ge=1)] = 16,
) -> kd.Pair:
    """Dense autoencoder; the score is the reconstruction error.

    Args:
        input_shape: of one raw sample.
        width: factor on the hidden layers' units.
        hidden: units of the hidden layers at width 1.
        latent: size of the latent code.
    """
    return kd.Pair(DenseAe(input_shape, max(1, round(hidden * width)), latent))
