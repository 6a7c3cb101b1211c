"""Encoder, decoder, encoder, with a critic: the detector family of GANomaly and P-KDGAN."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import (
    Norm,
    Size,
    decoder,
    down,
    encoder,
    image_of,
    prepared,
    shape_of,
    with_features,
)
from kdcompress.architectures.ede import EdeCritic, Maps, both, distance, fold, passed, whiten
from kdcompress.architectures.whitening import canonical
from kdcompress.signature import Later
from kdcompress.types import Detector, Outputs, Pair

Score: TypeAlias = Literal["distance", "joint"]


class EdeGan(Detector):
    """Image to latent to image to latent; the score is the mean squared distance of the two latents."""

    weight_of_sum: Tensor
    centre: Tensor

    def __init__(self, channels: list[int], sizes: list[Size], latent: int, norm: Norm, score: Score) -> None:
        super().__init__()
        self.encoder = encoder(channels, sizes[-1], latent, norm)
        self.decoder = decoder(channels, sizes, latent, norm)
        self.second_encoder = encoder(channels, sizes[-1], latent, norm)
        self.size = sizes[0]
        self.fitted = score == "joint"
        if self.fitted:
            # Until it is calibrated the score is the distance.
            self.register_buffer("weight_of_sum", torch.zeros(latent))
            self.register_buffer("centre", torch.zeros(latent))

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent``, ``latent_of_reconstruction`` [N, Z] and ``reconstruction`` [N, C, H, W] in [-1, 1].

        ``features`` [N, H, W, C] are the first encoder's innermost map.
        """
        latent, features = with_features(self.encoder, 2, x)
        return {**passed(self, latent), "features": features}

    def scored(self, x: Tensor) -> Outputs:
        """Return what `forward` does, without the features."""
        return passed(self, self.encoder(x))

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Turn the score into a Mahalanobis distance from normals: of z1 - z2, or, where it is ``joint``, of (z1, z2).

        Each latent goes through a linear map: for a ``distance`` both through W with W C W^T = I, where C is the
        covariance of z1 - z2 over the normals, and the mean of z1 - z2 is taken off. For a ``joint`` score they go
        through V and W, which leave no covariance but that of like elements, r: the squared Mahalanobis distance of
        both is then the sum of (z1 - z2)^2 / (2 - 2 r) + (z1 + z2)^2 / (2 + 2 r), and the first root goes into the
        maps. All covariances are Ledoit and Wolf's; a common factor gives z1 a mean variance of 1.

        The maps go into the layers around the latents, so that the score keeps its form and its cost.
        """
        if not self.fitted:
            whiten(self, chunks)
            return
        latents = both(map(self, chunks))
        if latents is None:
            return
        first, second = latents
        one, other, back, correlation = canonical(first, second)
        stretch = (2 - 2 * correlation).rsqrt()
        maps = Maps(stretch[:, None] * one, stretch[:, None] * other, back / stretch)
        self.weight_of_sum.copy_((1 - correlation) / (1 + correlation))
        self.centre.copy_(2 * fold(self, maps, first, second))

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared distance of the two latents (Akcay et al., GANomaly, 2018, eq. 5, squared).

        A ``joint`` score adds how far their sum lies from that of normals, weighted by `calibrate`.
        """
        first, second = outputs["latent"], outputs["latent_of_reconstruction"]
        surprise = distance(outputs)
        if self.fitted:
            surprise = surprise + self.weight_of_sum * (first + second - self.centre).square()
        return surprise.mean(dim=1)


@ARCHITECTURES.register("ede_gan")
def ede_gan(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=1024)] = 64,
    latent: Annotated[int, Field(ge=1, le=4096)] = 128,
    depth: Annotated[int, Field(ge=1, le=7)] | None = None,
    norm: Norm = "instance",
    size: Annotated[int, Field(ge=8, le=256)] | None = None,
    score: Annotated[Score, Later()] = "distance",
) -> Pair:
    """Encoder, decoder, encoder with a critic; the score is the distance of the two latents.

    GANomaly (Akcay et al., ACCV 2018), as P-KDGAN (Zhang et al., IJCAI 2020) uses it. Images C x H x W from 1 x 8 x 8
    to 4 x 256 x 256.

    Args:
        input_shape: (C, H, W) of the raw uint8 images.
        width: factor on every inner channel; the latent size and the image's channels stay.
        base: channels of the first level at width 1; they double from level to level up to eight times.
        latent: size of the latent code.
        depth: number of halvings; unset, the map is halved until its shorter side is below 6.
        norm: normalisation after inner convolutions.
        size: side to which images are resized first; unset, they stay as they are.
        score: the distance of the two latents, or, joint, also how unlike those of normals they are: fitted by a stage
            that calibrates.

    Raises:
        InputError: for input that is no image of a supported size.
    """
    channels, sizes = shape_of(image_of("ede_gan", input_shape), width, base, depth, size)
    detector = EdeGan(channels, sizes, latent, norm, score)
    features = nn.Sequential(*down(channels, norm))
    logit = nn.Sequential(nn.Conv2d(channels[-1], 1, sizes[-1]), nn.Flatten(0))
    return Pair(detector, EdeCritic(features, logit))
