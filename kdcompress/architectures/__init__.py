"""Families of detectors, each buildable at any width."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from kdcompress.registry import Entry, Registry

if TYPE_CHECKING:
    from kdcompress.types import Pair

Architecture: TypeAlias = "Callable[..., Pair]"
"""``build(input_shape, *, width=1.0, **options) -> Pair``; the keyword-only options come from recipes."""

ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    {
        "conv_ae": Entry(
            "kdcompress.architectures.conv_ae:conv_ae",
            "Convolutional autoencoder; the score is the reconstruction error.",
        ),
        "ede_gan": Entry(
            "kdcompress.architectures.ede_gan:ede_gan",
            "Encoder, decoder, encoder with a critic; the score is the distance of the two latents.",
        ),
        "transform_net": Entry(
            "kdcompress.architectures.transform_net:transform_net",
            "Residual network that tells how an image was transformed; the score is how badly it does.",
        ),
    },
)
