"""What a detector learns from another, sample by sample: P-KDGAN's K_l (Zhang, Chen, Sun, IJCAI 2020), and others.

Each compares the two sides' outputs after the stage's projections. The side that a term is not on has no gradient from
it: an update differentiates its own parts only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcompress.losses import LOSSES
from kdcompress.stage import Side, loss


def _other(side: Side | None) -> Side:
    assert side is not None, "the engine checks that a distillation term has another side"
    return side


@LOSSES.register("distil_latent")
@loss(shared=("latent",))
def distil_latent(own: Side, other: Side | None) -> Tensor:
    """L2 between the two detectors' latents z1."""
    return F.mse_loss(own.aligned["latent"], _other(other).aligned["latent"])


@LOSSES.register("distil_reconstruction")
@loss(shared=("reconstruction",))
def distil_reconstruction(own: Side, other: Side | None) -> Tensor:
    """L1 between the two detectors' reconstructions."""
    return F.l1_loss(own.aligned["reconstruction"], _other(other).aligned["reconstruction"])


@LOSSES.register("distil_latent_of_reconstruction")
@loss(shared=("latent_of_reconstruction",))
def distil_latent_of_reconstruction(own: Side, other: Side | None) -> Tensor:
    """L2 between the two detectors' latents z2 of their reconstructions."""
    return F.mse_loss(own.aligned["latent_of_reconstruction"], _other(other).aligned["latent_of_reconstruction"])


@LOSSES.register("distil_features")
@loss(shared=("features",))
def distil_features(own: Side, other: Side | None) -> Tensor:
    """L2 between the two detectors' inner features [N, ..., C], each channel in units of the other side's spread.

    The hint of Romero et al. (FitNets, ICLR 2015). A channel that hardly varies counts no more than its share. Maps
    [N, H, W, C] of two sizes are averaged to the smaller one first.
    """
    mine, theirs = _of_one_size(own.aligned["features"], _other(other).aligned["features"])
    variance = theirs.flatten(0, -2).var(0, correction=0)
    spread = torch.maximum(variance, 1e-3 * variance.mean()).clamp(min=torch.finfo(variance.dtype).tiny)
    return ((mine - theirs).square() / spread).mean()


@LOSSES.register("distil_attention")
@loss(shared=("features",))
def distil_attention(own: Side, other: Side | None) -> Tensor:
    """Squared distance of the two detectors' attention maps, each of unit length, in [0, 2].

    Attention (Zagoruyko and Komodakis, ICLR 2017) is where in an inner map [N, H, W, C] the squares are, mean over
    channels. Of two sizes, both are averaged to the smaller one.
    """
    maps = _of_one_size(*(side.aligned["features"].square().mean(-1, keepdim=True) for side in (own, _other(other))))
    mine, theirs = (F.normalize(one.flatten(1)) for one in maps)
    return (mine - theirs).square().sum(1).mean()


def _of_one_size(mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps [N, H, W, C] of the smaller of two heights and widths, and of vectors [N, P, C] the first ones.

    What is of one size is left as it is.
    """
    if mine.shape[1:-1] == theirs.shape[1:-1]:
        return mine, theirs
    if mine.ndim == theirs.ndim == 3:
        count = min(mine.shape[1], theirs.shape[1])
        return mine[:, :count], theirs[:, :count]
    (high, wide), (other_high, other_wide) = mine.shape[1:-1], theirs.shape[1:-1]
    size = (min(high, other_high), min(wide, other_wide))
    mine, theirs = (F.adaptive_avg_pool2d(one.movedim(-1, 1), size).movedim(1, -1) for one in (mine, theirs))
    return mine, theirs


@LOSSES.register("distil_score")
@loss(shared=("score",))
def distil_score(own: Side, other: Side | None) -> Tensor:
    """One less the correlation of the two detectors' scores over the batch, in [0, 2].

    A correlation leaves both scores their own unit and offset (Cao et al., PKD, NeurIPS 2022). Before it each score is
    brought to sign(s) log(1 + |s| / m), m the batch's median of |s|: or the few largest would decide alone.
    """
    mine, theirs = (_standard(_compressed(side.aligned["score"])) for side in (own, _other(other)))
    return 1 - (mine * theirs).mean()


@LOSSES.register("distil_map")
@loss(shared=("anomaly_map",))
def distil_map(own: Side, other: Side | None) -> Tensor:
    """One less the correlation of the two detectors' anomaly maps [N, 1, H, W] over all places of a batch, in [0, 2].

    Each is compressed as scores are in ``distil_score``.
    """
    maps = (side.aligned["anomaly_map"].flatten() for side in (own, _other(other)))
    mine, theirs = (_standard(_compressed(one)) for one in maps)
    return 1 - (mine * theirs).mean()


def _compressed(score: Tensor) -> Tensor:
    sizes = score.detach().abs()
    # Where most scores are 0, as distances of rows that stand there several times, their mean is the unit.
    unit = torch.maximum(sizes.median(), 1e-3 * sizes.mean()).clamp(min=torch.finfo(score.dtype).tiny)
    return score.sign() * (score.abs() / unit).log1p()


def _standard(values: Tensor) -> Tensor:
    centred = values - values.mean()
    return centred / (centred.square().mean() + torch.finfo(values.dtype).eps).sqrt()
