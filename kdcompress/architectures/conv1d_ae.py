"""A convolutional autoencoder along time: the reconstruction error is the score."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.windows import WindowDetector, decoder, encoder, levels_of
from kdcompress.types import Outputs, Pair


class Conv1dAe(WindowDetector):
    """Window to latent to window; the score is the mean squared error of the scaled window."""

    def __init__(self, channels: list[int], lengths: list[int], latent: int) -> None:
        super().__init__(channels[0])
        self.encoder = encoder(channels, lengths, latent)
        self.decoder = decoder(channels, lengths, latent)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent`` [N, Z] and ``reconstruction`` [N, C, L]."""
        latent = self.encoder(x)
        return {"latent": latent, "reconstruction": self.decoder(latent)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared reconstruction error (Sakurada and Yairi, MLSDA 2014)."""
        return (outputs["reconstruction"] - x).square().flatten(1).mean(1)


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
    channels, lengths = levels_of("conv1d_ae", input_shape, width, base, depth)
    return Pair(Conv1dAe(channels, lengths, latent))
