"""What a detector learns from another about a batch: how its samples lie to each other.

Nothing is projected: each side is compared with itself, so the two may be of any sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcompress.losses import LOSSES
from kdcompress.stage import Loss, Side

_APART = 1e-12
"""Squared distances below this share of their mean are rounding: such samples are one."""


# Dataclasses, so that equal settings give equal stages.
@dataclass(frozen=True)
class _Distances:
    """Huber's loss of the distances of all pairs of samples, each side's in units of its mean distance.

    RKD-D (Park et al., CVPR 2019, eq. 6): the same where an output is scaled, turned or shifted.
    """

    output: str

    def __call__(self, own: Side, other: Side | None) -> Tensor:
        mine, theirs = (_in_units(_geometry(one)[1]) for one in _vectors(self.output, own, other))
        return F.smooth_l1_loss(mine, theirs).to(own.outputs[self.output].dtype)


@dataclass(frozen=True)
class _Angles:
    """Huber's loss of the cosines of the angles that any three samples make: RKD-A (Park et al., CVPR 2019, eq. 9)."""

    output: str

    def __call__(self, own: Side, other: Side | None) -> Tensor:
        mine, theirs = (_cosines(one) for one in _vectors(self.output, own, other))
        return F.smooth_l1_loss(mine, theirs).to(own.outputs[self.output].dtype)


@dataclass(frozen=True)
class _Similarity:
    """Squared distance of each sample's products with all samples, made a vector of unit length, in [0, 4].

    SPKD (Tung and Mori, ICCV 2019, eq. 4) times the size of the batch, so that it does not go with it.
    """

    output: str

    def __call__(self, own: Side, other: Side | None) -> Tensor:
        mine, theirs = (_unit(one @ one.T) for one in _vectors(self.output, own, other))
        return (mine - theirs).square().sum(1).mean()


def distances(output: str) -> Loss:
    """Return the loss of the distances between samples, by one of the two sides' outputs."""
    return Loss(_Distances(output), shared=(output,))


def angles(output: str) -> Loss:
    """Return the loss of the angles that samples make, by one of the two sides' outputs."""
    return Loss(_Angles(output), shared=(output,))


def similarity(output: str) -> Loss:
    """Return the loss of the products between samples, by one of the two sides' outputs."""
    return Loss(_Similarity(output), shared=(output,))


distil_distances = LOSSES.register("distil_distances")(distances("latent"))
"""Of latents."""
distil_angles = LOSSES.register("distil_angles")(angles("latent"))
"""Of latents."""
distil_similarity = LOSSES.register("distil_similarity")(similarity("latent"))
"""Of latents."""


def _vectors(output: str, own: Side, other: Side | None) -> tuple[Tensor, Tensor]:
    assert other is not None, "the engine checks that a distillation term has another side"
    return own.outputs[output].flatten(1), other.outputs[output].flatten(1)


def _geometry(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the products and the distances [N, N] of vectors [N, Z] from their mean, in float64: they cancel."""
    x = x.double()
    x = x - x.mean(0)
    products = x @ x.T
    sizes = products.diagonal()
    squares = sizes[:, None] + sizes - 2 * products
    apart = squares > _APART * squares.mean()
    # The root's gradient at 0 is infinite: it is not taken there.
    return products, torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)


def _in_units(distances: Tensor) -> Tensor:
    unit = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / unit.clamp(min=torch.finfo(distances.dtype).tiny)


def _cosines(x: Tensor) -> Tensor:
    """Return the cosines [N, N, N] of the angles at the second of three vectors [N, Z]; 0 where two are one."""
    products, distances = _geometry(x)
    # (a - b)(c - b) = ac - ab - bc + bb
    found = products[:, None, :] - products[:, :, None] - products[None] + products.diagonal()[:, None]
    lengths = distances[:, :, None] * distances[None]
    apart = lengths > 0
    return torch.where(apart, found / torch.where(apart, lengths, 1.0), 0.0)


def _unit(rows: Tensor) -> Tensor:
    """Return rows of unit length; one that is next to nothing beside the others is no direction, and stays short."""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.maximum(lengths, 1e-4 * lengths.detach().mean()).clamp(min=1e-12)
