"""Encoder, decoder, encoder, with a critic: the detector family of GANomaly and P-KDGAN."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import Norm, Size, decoder, down, encoder, image_of, prepared, shape_of
from kdcompress.types import Critic, Detector, Outputs, Pair


class EdeGan(Detector):
    """Image to latent to image to latent; the score is the mean squared distance of the two latents."""

    def __init__(self, channels: list[int], sizes: list[Size], latent: int, norm: Norm) -> None:
        super().__init__()
        self.encoder = encoder(channels, sizes[-1], latent, norm)
        self.decoder = decoder(channels, sizes, latent, norm)
        self.second_encoder = encoder(channels, sizes[-1], latent, norm)
        self.size = sizes[0]

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent``, ``latent_of_reconstruction`` [N, Z] and ``reconstruction`` [N, C, H, W] in [-1, 1]."""
        latent = self.encoder(x)
        reconstruction = self.decoder(latent)
        return {
            "latent": latent,
            "reconstruction": reconstruction,
            "latent_of_reconstruction": self.second_encoder(reconstruction),
        }

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared distance of the two latents (Akcay et al., GANomaly, 2018, eq. 5, squared)."""
        return (outputs["latent"] - outputs["latent_of_reconstruction"]).square().mean(dim=1)


class EdeCritic(Critic):
    """A strided convolutional discriminator; its features are the innermost map."""

    def __init__(self, channels: list[int], innermost: Size, norm: Norm) -> None:
        super().__init__()
        self.features = nn.Sequential(*down(channels, norm))
        self.logit = nn.Sequential(nn.Conv2d(channels[-1], 1, innermost), nn.Flatten(0))

    def forward(self, x: Tensor, outputs: Outputs) -> Outputs:
        """Judge the input and its reconstruction."""
        real = self.features(x)
        fake = self.features(outputs["reconstruction"])
        return {
            "real_logit": self.logit(real),
            "fake_logit": self.logit(fake),
            "real_features": real,
            "fake_features": fake,
        }


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

    Raises:
        InputError: for input that is no image of a supported size.
    """
    channels, sizes = shape_of(image_of("ede_gan", input_shape), width, base, depth, size)
    detector = EdeGan(channels, sizes, latent, norm)
    return Pair(detector, EdeCritic(channels, sizes[-1], norm))
