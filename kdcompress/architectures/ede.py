"""What encoder-decoder-encoder detectors of all inputs have in common: their passes, and how a fit goes into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from kdcompress.architectures.whitening import covariance, inverse_root
from kdcompress.types import Critic, Outputs

_MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


class Paths(Protocol):
    """A network from input to latent to input to latent."""

    encoder: nn.Sequential
    decoder: nn.Sequential
    second_encoder: nn.Sequential

    def __call__(self, x: Tensor) -> Outputs:
        """Return at least both latents of prepared input."""


@dataclass(frozen=True)
class Maps:
    """What both latents go through, [Z, Z] in float64, and the way back of the first."""

    one: Tensor
    other: Tensor
    back: Tensor


def passed(paths: Paths, latent: Tensor) -> dict[str, Tensor]:
    """Return what follows from the first latent: reconstruction and second latent beside it."""
    reconstruction = paths.decoder(latent)
    return {
        "latent": latent,
        "reconstruction": reconstruction,
        "latent_of_reconstruction": paths.second_encoder(reconstruction),
    }


def both(outputs: Iterable[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor] | None:
    """Return both latents [N, Z] of all chunks in float64, or None where there is nothing to fit to.

    That is where the two never differ, as in a network that has collapsed, or for a single sample.
    """
    pairs = [(out["latent"].double(), out["latent_of_reconstruction"].double()) for out in outputs]
    first, second = (torch.cat(side) for side in zip(*pairs, strict=True))
    return (first, second) if len(first) >= 2 and (first - second).var(dim=0).any() else None


def distance(outputs: Outputs) -> Tensor:
    """Return the squared differences of the two latents, [N, Z] (Akcay et al., GANomaly, 2018, eq. 5, squared)."""
    return (outputs["latent"] - outputs["latent_of_reconstruction"]).square()


def whiten(detector: Paths, chunks: Iterable[Tensor]) -> None:
    """Send both latents through W with W C W^T = I, where C is the covariance of their difference over normals."""
    latents = both(map(detector, chunks))
    if latents is not None:
        one, back = inverse_root(covariance(latents[0] - latents[1]))
        fold(detector, Maps(one, one, back), *latents)


def fold(paths: Paths, maps: Maps, first: Tensor, second: Tensor) -> Tensor:
    """Put maps of the latents into the layers around them, and return where the first now has its mean, [Z].

    The first latent gets a mean variance of 1 by a common factor, the second the first's mean. The maps go into the
    weights of the layers before the latents, the inverse into those of the decoder's first layer: the same arithmetic,
    and the same reconstructions.

    Args:
        paths: the network, changed in place.
        maps: of the latents.
        first: the first latents of normals, [N, Z] in float64.
        second: the second ones.
    """
    spread = (first @ maps.one.T).var(dim=0).mean().sqrt()
    one, other, back = maps.one / spread, maps.other / spread, maps.back * spread
    centre: Tensor = one @ first.mean(0)
    for path, to, offset in ((paths.encoder, one, 0.0), (paths.second_encoder, other, centre - other @ second.mean(0))):
        last = _maps(path)[-1]
        assert last.bias is not None
        last.weight.copy_((to @ last.weight.double().flatten(1)).view_as(last.weight))
        last.bias.copy_(to @ last.bias.double() + offset)
    begin = _maps(paths.decoder)[0]
    weight = begin.weight.double()
    # A transposed convolution has its inputs first, a dense layer last.
    found = weight @ back if isinstance(begin, nn.Linear) else back.T @ weight.flatten(1)
    begin.weight.copy_(found.view_as(begin.weight))
    return centre


def _maps(path: nn.Sequential) -> list[nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d]:
    return [layer for layer in path if isinstance(layer, _MAPS)]


class EdeCritic(Critic):
    """A discriminator by the innermost features of input and reconstruction."""

    def __init__(self, features: nn.Sequential, logit: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.logit = logit

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
