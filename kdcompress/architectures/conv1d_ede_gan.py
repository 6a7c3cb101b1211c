"""Encoder, decoder, encoder along time, with a critic: the detector family of P-KDGAN for series."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.ede import EdeCritic, distance, passed, whiten
from kdcompress.architectures.windows import WindowDetector, decoder, down, encoder, levels_of
from kdcompress.types import Outputs, Pair


class Conv1dEdeGan(WindowDetector):
    """Window to latent to window to latent; the score is the mean squared distance of the two latents."""

    def __init__(self, channels: list[int], lengths: list[int], latent: int) -> None:
        super().__init__(channels[0])
        self.encoder = encoder(channels, lengths, latent)
        self.decoder = decoder(channels, lengths, latent)
        self.second_encoder = encoder(channels, lengths, latent)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent``, ``latent_of_reconstruction`` [N, Z] and ``reconstruction`` [N, C, L]."""
        return passed(self, self.encoder(x))

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Turn the score into a Mahalanobis distance of z1 - z2 from that of normals, as `EdeGan.calibrate` does."""
        whiten(self, chunks)

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared distance of the two latents (Akcay et al., GANomaly, 2018, eq. 5, squared)."""
        return distance(outputs).mean(1)


@ARCHITECTURES.register("conv1d_ede_gan")
def conv1d_ede_gan(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=1024)] = 32,
    latent: Annotated[int, Field(ge=1, le=4096)] = 8,
    depth: Annotated[int, Field(ge=1, le=15)] | None = None,
) -> Pair:
    """P-KDGAN's detector along time, for series; the score is the distance of the two latents.

    Encoder, decoder, encoder with a critic: GANomaly (Akcay et al., ACCV 2018), as P-KDGAN (Zhang et al., IJCAI 2020)
    uses it, for windows C x L of 8 points or more, each channel scaled by the training normals. A row of numbers is
    one channel, and samples of more dimensions are read line by line.

    Args:
        input_shape: of one raw window, (C, L).
        width: factor on every inner channel; the latent size and the window's channels stay.
        base: channels of the first level at width 1; they double from level to level up to eight times.
        latent: size of the latent code.
        depth: number of halvings; unset, the length is halved until it is below 6.

    Raises:
        InputError: for windows that are too short or too large.
    """
    channels, lengths = levels_of("conv1d_ede_gan", input_shape, width, base, depth)
    detector = Conv1dEdeGan(channels, lengths, latent)
    features = nn.Sequential(*down(channels))
    logit = nn.Sequential(nn.Conv1d(channels[-1], 1, lengths[-1]), nn.Flatten(0))
    return Pair(detector, EdeCritic(features, logit))
