"""A convolutional autoencoder: the reconstruction error is the score, and there is no critic."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import Norm, Size, decoder, encoder, image_of, prepared, shape_of, with_features
from kdcompress.types import Detector, Outputs, Pair


class ConvAe(Detector):
    """Image to latent to image; the score is the mean squared error of the image."""

    def __init__(self, channels: list[int], sizes: list[Size], latent: int, norm: Norm) -> None:
        super().__init__()
        self.encoder = encoder(channels, sizes[-1], latent, norm)
        self.decoder = decoder(channels, sizes, latent, norm)
        self.size = sizes[0]

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``latent`` [N, Z], ``reconstruction`` [N, C, H, W] in [-1, 1] and ``features`` [N, H, W, C].

        The features are the encoder's innermost map.
        """
        latent, features = with_features(self.encoder, 2, x)
        return {**self._from(latent), "features": features}

    def scored(self, x: Tensor) -> Outputs:
        """Return what `forward` does, without the features."""
        return self._from(self.encoder(x))

    def _from(self, latent: Tensor) -> dict[str, Tensor]:
        return {"latent": latent, "reconstruction": self.decoder(latent)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean squared reconstruction error (Sakurada and Yairi, MLSDA 2014)."""
        return (outputs["reconstruction"] - x).square().flatten(1).mean(dim=1)


@ARCHITECTURES.register("conv_ae")
def conv_ae(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=1024)] = 32,
    latent: Annotated[int, Field(ge=1, le=4096)] = 32,
    depth: Annotated[int, Field(ge=1, le=7)] | None = None,
    norm: Norm = "batch",
    size: Annotated[int, Field(ge=8, le=256)] | None = None,
) -> Pair:
    """Convolutional autoencoder; the score is the reconstruction error.

    Images C x H x W from 1 x 8 x 8 to 4 x 256 x 256. The narrow latent is what keeps it from copying anomalies.

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
    channels, sizes = shape_of(image_of("conv_ae", input_shape), width, base, depth, size)
    return Pair(ConvAe(channels, sizes, latent, norm))
